//! The static pods of a node: what each name stands for now, and what it is to stand for next. To the pods' workers it is
//! what the API server is for all others: it marks a pod as deleted, keeps its status, and forgets it when it is told.
//!
//! Of a name one pod runs at a time: other words in a file make another pod, which begins when the one before has ended.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_api::Object as _;
use coracle_client::{Key, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::saved::Saved;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct StaticPods {
    shared: Arc<Shared>,
}

struct Shared {
    names: Mutex<HashMap<Key, Name>>,
    saved: Saved,
    touched: WorkQueue<Key>,
}

/// What a name stands for.
struct Name {
    pod: Arc<Pod>,
    /// The pod is forgotten, and its worker is yet to end.
    is_gone: bool,
    next: Option<Arc<Pod>>,
}

/// What has to be done about a change of the folder.
#[derive(Debug, Default)]
pub struct Changes {
    /// Pods that begin.
    pub begun: Vec<Arc<Pod>>,
    /// Pods that are to end.
    pub ended: Vec<Arc<Pod>>,
}

impl StaticPods {
    /// No pods yet; statuses are kept below the node's folder.
    pub fn new(root: &Path) -> Self {
        let shared = Shared { names: Mutex::default(), saved: Saved::new(root), touched: WorkQueue::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The names of which the API is to be told.
    pub fn touched(&self) -> &WorkQueue<Key> {
        &self.shared.touched
    }

    /// Takes what the folder says now, by distinct names; what it says no more is deleted, as of `now`. Blocks, to read
    /// what became of those that begin before this kubelet.
    pub fn set(&self, wanted: Vec<Pod>, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        let mut wanted: HashMap<Key, Pod> = wanted.into_iter().map(|pod| (Key::of(&pod), pod)).collect();
        let mut names = self.names();
        for (key, name) in names.iter_mut() {
            let wanted = wanted.remove(key);
            let is_same = wanted.as_ref().is_some_and(|wanted| wanted.metadata.uid == name.pod.metadata.uid);
            match name.is_ending() {
                false if is_same => {}
                false => {
                    name.pod = Arc::new(deleted(&name.pod, now));
                    name.next = wanted.map(Arc::new);
                    changes.ended.push(name.pod.clone());
                    self.shared.touched.add(key.clone());
                }
                true => name.next = wanted.map(Arc::new),
            }
        }
        for (key, pod) in wanted {
            changes.begun.push(self.begin(&mut names, key, &pod));
        }
        changes
    }

    /// The pod that a name stands for, until its end.
    pub fn get(&self, key: &Key) -> Option<Arc<Pod>> {
        self.names().get(key).filter(|name| !name.is_gone).map(|name| name.pod.clone())
    }

    /// All that [`StaticPods::get`] gives.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        self.names().values().filter(|name| !name.is_gone).map(|name| name.pod.clone()).collect()
    }

    /// Whether the pod of this name and uid is a static one.
    pub fn has(&self, key: &Key, uid: &str) -> bool {
        self.names().get(key).is_some_and(|name| name.is(uid))
    }

    /// Keeps what became of a pod, here and on the disk. Blocks.
    pub fn keep(&self, key: &Key, uid: &str, status: Value) {
        let status = match Pod::decode(json!({"status": plain(status)}).to_string().as_bytes()) {
            Ok(pod) => pod.status,
            Err(error) => return tracing::error!(pod = %key, %error, "a pod's status is none"),
        };
        let Some(pod) = self.get(key).filter(|pod| pod.metadata.uid.as_deref() == Some(uid)) else { return };
        let kept = Pod { status: status.clone(), ..Pod::clone(&pod) };
        // The API does not hear what a kubelet that is killed now would not know.
        if let Err(error) = self.shared.saved.write(uid, &kept) {
            tracing::warn!(pod = %key, %error, "cannot keep what becomes of a static pod");
        }
        let mut names = self.names();
        let Some(name) = names.get_mut(key).filter(|name| name.is(uid)) else { return };
        name.pod = Arc::new(Pod { status, ..Pod::clone(&name.pod) });
        self.shared.touched.add(key.clone());
    }

    /// Nothing of the pod is left but its worker.
    pub fn forget(&self, key: &Key, uid: &str) {
        if let Some(name) = self.names().get_mut(key).filter(|name| name.is(uid)) {
            name.is_gone = true;
        }
    }

    /// The worker of a pod has ended; the pod that begins in its place, if it was for good and there is one. Blocks.
    pub fn succeed(&self, key: &Key, uid: &str) -> Option<Arc<Pod>> {
        let mut names = self.names();
        names.get(key).filter(|name| name.is(uid) && name.is_gone)?;
        let next = names.remove(key)?.next;
        self.shared.saved.remove(uid);
        self.shared.touched.add(key.clone());
        next.map(|pod| self.begin(&mut names, key.clone(), &pod))
    }

    /// Forgets on the disk pods that are not known. Blocks.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) {
        self.shared.saved.sweep(is_known);
    }

    fn begin(&self, names: &mut HashMap<Key, Name>, key: Key, pod: &Pod) -> Arc<Pod> {
        let before = pod.metadata.uid.as_ref().and_then(|uid| self.shared.saved.read(uid));
        let status = before.or_else(|| pod.status.clone());
        let pod = Arc::new(Pod { status, ..pod.clone() });
        self.shared.touched.add(key.clone());
        names.insert(key, Name { pod: pod.clone(), is_gone: false, next: None });
        pod
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Key, Name>> {
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Name {
    fn is(&self, uid: &str) -> bool {
        self.pod.metadata.uid.as_deref() == Some(uid)
    }

    fn is_ending(&self) -> bool {
        self.is_gone || self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// As the API server marks a pod that has as long as it says.
fn deleted(pod: &Pod, now: Timestamp) -> Pod {
    let mut pod = pod.clone();
    pod.metadata.deletion_timestamp = Some(Time(now));
    pod.metadata.deletion_grace_period_seconds =
        pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    pod
}

/// A status, without what its patch says of the one before.
fn plain(status: Value) -> Value {
    match status {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        Value::Array(items) => items.into_iter().filter(|item| item.get("$patch").is_none()).map(plain).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pod(name: &str, uid: &str) -> Pod {
        let json = json!({"metadata": {"name": name, "namespace": "n", "uid": uid},
            "spec": {"terminationGracePeriodSeconds": 7, "containers": []}});
        Pod::decode(json.to_string().as_bytes()).unwrap()
    }

    fn uids(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect()
    }

    fn store() -> (tempfile::TempDir, StaticPods, Key) {
        let dir = tempfile::tempdir().unwrap();
        let pods = StaticPods::new(dir.path());
        (dir, pods, Key::new("n", "a"))
    }

    #[test]
    fn other_words_make_another_pod_once_the_first_has_ended() {
        let (_dir, pods, key) = store();
        let set = |uid: &[&str]| pods.set(uid.iter().map(|uid| pod("a", uid)).collect(), Timestamp::UNIX_EPOCH);
        assert_eq!(uids(&set(&["1"]).begun), ["1"]);
        let again = set(&["1"]);
        assert!(again.begun.is_empty() && again.ended.is_empty());

        let changes = set(&["2"]);
        assert_eq!((changes.begun.len(), uids(&changes.ended)), (0, vec!["1"]));
        let ending = pods.get(&key).unwrap();
        assert_eq!(ending.metadata.deletion_grace_period_seconds, Some(7));
        assert!(set(&["3"]).ended.is_empty(), "it ends already");
        assert_eq!(pods.succeed(&key, "1"), None, "a worker that ends with its kubelet ends nothing");
        pods.forget(&key, "1");
        assert_eq!(pods.get(&key), None);
        let next = pods.succeed(&key, "1").unwrap();
        assert_eq!(uids(&[next]), ["3"], "the newest words count");
        assert!(pods.has(&key, "3") && !pods.has(&key, "1"));

        set(&[]);
        set(&["3"]);
        pods.forget(&key, "3");
        assert_eq!(uids(&[pods.succeed(&key, "3").unwrap()]), ["3"], "a file that comes back begins anew");
        set(&[]);
        pods.forget(&key, "3");
        assert_eq!(pods.succeed(&key, "3"), None);
        assert!(pods.list().is_empty());
    }

    #[test]
    fn a_status_outlives_its_kubelet_and_not_its_pod() {
        let (dir, pods, key) = store();
        let patch = json!({"phase": "Running", "reason": null, "conditions": [
            {"type": "Ready", "status": "True", "lastProbeTime": null}, {"$patch": "delete", "type": "PodResizePending"}]});
        let phase = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.clone());
        let set = |pods: &StaticPods| pods.set(vec![pod("a", "1")], Timestamp::UNIX_EPOCH).begun;
        set(&pods);
        pods.keep(&key, "2", patch.clone());
        assert_eq!(phase(&pods.get(&key).unwrap()), None, "it is another pod's");
        pods.keep(&key, "1", patch);
        let status = pods.get(&key).unwrap().status.clone().unwrap();
        assert_eq!((status.phase.as_deref(), status.conditions.map(|all| all.len())), (Some("Running"), Some(1)));

        let next = StaticPods::new(dir.path());
        assert_eq!(phase(&set(&next)[0]).as_deref(), Some("Running"));
        next.sweep(|uid| uid == "1");
        next.forget(&key, "1");
        next.succeed(&key, "1");
        assert_eq!(phase(&set(&StaticPods::new(dir.path()))[0]), None);
    }
}
