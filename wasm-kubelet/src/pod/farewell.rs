//! The last words of a container: what it wrote to the file at `terminationMessagePath`, or the end of its log.
//!
//! The file is found where the guest sees it: in a volume that is mounted there, or else in a folder of its own that this
//! node mounts for it, for as long as the instance lives. Source: kubelet, `getTerminationMessage`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::host::Host;
use super::spec::Container as Specified;
use super::state::Guest;
use crate::limits::{TERMINATION_LOG_BYTES_MAX, TERMINATION_LOG_LINES_MAX, TERMINATION_MESSAGE_BYTES_MAX as BYTES_MAX};
use crate::logs::{PodLogs, Query};
use crate::runtime::{Container, Exit, Mount};

/// The folder, among those of a node, that holds the instances' own.
const DIR: &str = "farewells";

/// Removes what instances of a kubelet left that was killed; to be called before the first one starts.
pub fn sweep(root: &Path) {
    remove(&root.join(DIR));
}

/// The folder for the file of the instance with this id, to be mounted where the guest looks for it; `None` where one of
/// its `mounts` has it, or there is nowhere to put it.
///
/// # Errors
/// When the folder cannot be made.
pub fn mount(root: &Path, id: &str, spec: &Specified, mounts: &[Mount]) -> io::Result<Option<Mount>> {
    let path = Path::new(&*spec.farewell.path);
    let is_plain = path.is_absolute() && path.components().all(|part| !matches!(part, Component::ParentDir));
    let (Some(parent), Some(name), true) = (path.parent(), path.file_name(), is_plain) else { return Ok(None) };
    let is_taken = |mount: &Mount| path.starts_with(&mount.guest) || Path::new(&mount.guest) == parent;
    if parent == Path::new("/") || mounts.iter().any(is_taken) {
        return Ok(None);
    }
    let host = root.join(DIR).join(id);
    fs::create_dir_all(&host)?;
    File::create(host.join(name))?;
    Ok(Some(Mount { host, guest: parent.to_string_lossy().into_owned(), read_only: false, hold: None }))
}

/// Removes the folder of an instance that did not come to run.
pub fn forget(root: &Path, id: &str) {
    remove(&root.join(DIR).join(id));
}

/// What the instance said last, and the end of its folder.
pub(super) async fn message(
    host: &Host,
    logs: &PodLogs,
    spec: &Specified,
    guest: Guest,
    container: &dyn Container,
    exit: &Exit,
) -> String {
    let path = PathBuf::from(&*spec.farewell.path);
    let own = host.config.root_dir.join(DIR);
    let message = match place(container.mounts(), &path) {
        Some(file) => {
            let taken = tokio::task::spawn_blocking(move || take(&own, &file));
            taken.await.unwrap_or_default()
        }
        None => String::new(),
    };
    if message.is_empty() && spec.farewell.falls_back_to_logs && *exit != Exit::Code(0) {
        return last_lines(host, logs, spec, guest).await;
    }
    message
}

/// Where the host has the file that the guest sees at `path`: the mount's folder, and the way from there.
fn place(mounts: &[Mount], path: &Path) -> Option<(PathBuf, PathBuf)> {
    let innermost =
        mounts.iter().filter(|mount| path.starts_with(&mount.guest)).max_by_key(|mount| mount.guest.len())?;
    let rest = path.strip_prefix(&innermost.guest).ok()?;
    Some((innermost.host.clone(), rest.to_owned()))
}

/// Reads the file, and removes the folder if it is one of `own`.
fn take(own: &Path, (folder, rest): &(PathBuf, PathBuf)) -> String {
    let message = read(folder, rest).unwrap_or_default();
    if folder.parent() == Some(own) {
        remove(folder);
    }
    message
}

/// The end of a plain file within `folder`: no link leads out of it, and nothing is waited for.
fn read(folder: &Path, rest: &Path) -> io::Result<String> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut file = File::from(openat2(File::open(folder)?, rest, flags, Mode::empty(), resolve)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(String::new());
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(BYTES_MAX as u64)))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %folder.display(), %error, "cannot remove a container's folder");
    }
}

async fn last_lines(host: &Host, logs: &PodLogs, spec: &Specified, guest: Guest) -> String {
    let query = Query { tail_lines: Some(TERMINATION_LOG_LINES_MAX), ..Query::default() };
    let mut lines = host.logs.read(logs, &spec.name, guest.restart, query);
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = lines.recv().await {
        bytes.extend_from_slice(&piece);
        let surplus = bytes.len().saturating_sub(TERMINATION_LOG_BYTES_MAX);
        bytes.drain(..surplus);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mount_at(host: &Path, guest: &str) -> Mount {
        Mount { host: host.into(), guest: guest.into(), read_only: false, hold: None }
    }

    #[test]
    fn the_innermost_mount_has_the_file() {
        let mounts =
            [mount_at(Path::new("/a"), "/"), mount_at(Path::new("/b"), "/out"), mount_at(Path::new("/c"), "/o")];
        let place = |path: &str| place(&mounts, Path::new(path)).map(|(folder, rest)| folder.join(rest));
        assert_eq!(place("/out/x/y"), Some("/b/x/y".into()));
        assert_eq!(place("/outer"), Some("/a/outer".into()));
    }

    #[test]
    fn only_the_end_of_a_plain_file_within_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("secret"));
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, "secret").unwrap();
        fs::write(inside.join("long"), "a".repeat(BYTES_MAX) + "end").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink("long", inside.join("own")).unwrap();
        fs::create_dir(inside.join("dir")).unwrap();
        let read = |name: &str| read(&inside, Path::new(name)).unwrap_or_default();
        let long = read("long");
        assert!(long.len() == BYTES_MAX && long.ends_with("aend"));
        assert_eq!(read("own").len(), BYTES_MAX);
        for name in ["link", "dir", "gone", "../secret"] {
            assert_eq!(read(name), "", "{name}");
        }
    }
}
