//! What became of static pods, kept on the node's disk, so that a kubelet that starts anew goes on without the API: a file
//! each, named by the pod's uid.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use coracle_api::Object as _;
use k8s_openapi::api::core::v1::{Pod, PodStatus};

/// The folder, among those of a node.
const DIR: &str = "static-pods";

/// The folder of a node's statuses.
#[derive(Clone, Debug)]
pub struct Saved {
    dir: PathBuf,
}

impl Saved {
    /// Below the node's own folder; made when it is first written to.
    pub fn new(root: &Path) -> Self {
        Self { dir: root.join(DIR) }
    }

    /// What became of a pod so far, as a new kubelet goes on from it: what the node itself had it come to is over, since
    /// it was for a shutdown, or for a lack that is to be seen anew. Blocks.
    pub fn read(&self, uid: &str) -> Option<PodStatus> {
        let bytes = fs::read(self.file(uid)).ok()?;
        match Pod::decode(&bytes) {
            Ok(pod) => pod.status.map(resumed),
            Err(error) => {
                tracing::warn!(uid, %error, "what became of a static pod cannot be read: it starts anew");
                None
            }
        }
    }

    /// Keeps what became of a pod; whoever reads sees this or what was before. Blocks.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, uid: &str, pod: &Pod) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let part = self.dir.join(format!(".{uid}"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&pod.encode())?;
        file.sync_all()?;
        fs::rename(part, self.file(uid))
    }

    /// Forgets a pod. Blocks.
    pub fn remove(&self, uid: &str) {
        if let Err(error) = fs::remove_file(self.file(uid))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(uid, %error, "cannot forget a static pod");
        }
    }

    /// Forgets all pods that are not known. Blocks.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) {
        for file in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = file.file_name();
            let name = name.to_string_lossy();
            // One that is being written is its pod's, too.
            if !is_known(name.trim_start_matches('.')) {
                self.remove(&name);
            }
        }
    }

    fn file(&self, uid: &str) -> PathBuf {
        self.dir.join(uid)
    }
}

/// Containers keep what became of them.
fn resumed(mut status: PodStatus) -> PodStatus {
    let is_the_nodes = status.reason.take().is_some_and(|reason| !reason.is_empty());
    status.message = None;
    if is_the_nodes {
        status.phase = Some("Pending".to_owned());
        status.conditions.iter_mut().for_each(|all| all.retain(|condition| condition.type_ != "DisruptionTarget"));
    }
    status
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(status: &str) -> Pod {
        Pod::decode(format!(r#"{{"status":{status}}}"#).as_bytes()).unwrap()
    }

    fn status(json: &str) -> PodStatus {
        pod(json).status.unwrap()
    }

    #[test]
    fn what_was_kept_is_read_again_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let saved = Saved::new(dir.path());
        assert_eq!(saved.read("a"), None);
        let done = pod(r#"{"phase":"Succeeded","podIP":"127.64.0.1"}"#);
        for uid in ["a", "b"] {
            saved.write(uid, &done).unwrap();
        }
        let done = done.status.unwrap();
        assert_eq!(saved.read("a"), Some(done.clone()));
        // A part that was being written was swept away, and what it was to say was lost.
        let parts = [".a", ".b"].map(|part| dir.path().join(DIR).join(part));
        parts.iter().for_each(|part| fs::write(part, "").unwrap());
        saved.sweep(|uid| uid == "b");
        assert_eq!((saved.read("a"), saved.read("b")), (None, Some(done)));
        assert_eq!(parts.map(|part| part.exists()), [false, true]);
        saved.remove("b");
        assert_eq!(saved.read("b"), None);
        fs::write(dir.path().join(DIR).join("c"), "{").unwrap();
        assert_eq!(saved.read("c"), None);
    }

    #[test]
    fn what_the_node_had_it_come_to_is_over() {
        let table = [
            (r#"{"phase":"Failed"}"#, r#"{"phase":"Failed"}"#),
            (r#"{"phase":"Running","reason":""}"#, r#"{"phase":"Running"}"#),
            (
                r#"{"phase":"Failed","reason":"Terminated","message":"x","startTime":"2026-01-01T00:00:00Z",
                "conditions":[{"type":"Ready","status":"False"},{"type":"DisruptionTarget","status":"True"}]}"#,
                r#"{"phase":"Pending","startTime":"2026-01-01T00:00:00Z","conditions":[{"type":"Ready","status":"False"}]}"#,
            ),
        ];
        for (before, after) in table {
            assert_eq!(resumed(status(before)), status(after), "{before}");
        }
    }
}
