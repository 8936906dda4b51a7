//! Folders within mounts, reached without leaving them.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use rustix::fd::AsRawFd;
use rustix::fd::OwnedFd;

use crate::spec::Mount;

/// The mount that `path` lies in, which is the one with the longest path, and what remains of `path` there.
pub(crate) fn holding<'a>(mounts: &'a [Mount], path: &'a str) -> Option<(&'a Mount, &'a str)> {
    let within = |mount: &'a Mount| {
        let rest = path.strip_prefix(mount.guest.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (mount, rest.trim_start_matches('/')))
    };
    mounts.iter().filter_map(within).min_by_key(|(_, rest)| rest.len())
}

/// A folder that is held open, so that it stays the same whatever its path leads to.
pub(crate) struct Folder {
    path: PathBuf,
    _held: OwnedFd,
}

impl Folder {
    /// A path to it, for as long as this lives.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens `rest` below `root`. No symbolic link and no `..` leads out of it; `None` if there is no such folder, or no way to
/// open it safely on this system.
///
/// # Errors
///
/// When `root` cannot be opened.
#[cfg(target_os = "linux")]
pub(crate) fn open_within(root: &Path, rest: &str) -> io::Result<Option<Folder>> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(root, flags, Mode::empty())?;
    let rest = if rest.is_empty() { "." } else { rest };
    let opened = openat2(&root, rest, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS);
    Ok(opened.ok().map(|held| Folder { path: format!("/proc/self/fd/{}", held.as_raw_fd()).into(), _held: held }))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn open_within(_root: &Path, _rest: &str) -> io::Result<Option<Folder>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_holds_a_path() {
        let mounts: Vec<_> = ["/etc", "/etc/app/", "/data"]
            .map(|guest| Mount { host: guest.into(), guest: guest.into(), read_only: true })
            .into();
        for (path, found) in [
            ("/etc", Some(("/etc", ""))),
            ("/etc/app", Some(("/etc/app/", ""))),
            ("/etc/app/x/y", Some(("/etc/app/", "x/y"))),
            ("/etc/apple", Some(("/etc", "apple"))),
            ("/database", None),
            ("/", None),
        ] {
            let holding = holding(&mounts, path).map(|(mount, rest)| (mount.guest.as_str(), rest));
            assert_eq!(holding, found, "{path}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_leads_out_of_the_root() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        std::os::unix::fs::symlink("/", root.join("out")).expect("made");
        std::os::unix::fs::symlink("a", root.join("in")).expect("made");
        for (rest, is_there) in
            [("", true), ("a/b", true), ("in/b", true), ("out", false), ("out/etc", false), ("..", false), ("c", false)]
        {
            assert_eq!(open_within(&root, rest).expect("the root is there").is_some(), is_there, "{rest:?}");
        }
        assert!(open_within(&root.join("nowhere"), "").is_err());
    }
}
