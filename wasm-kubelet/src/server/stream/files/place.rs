//! Where a path of the guest is: in which mount, and what it is from there.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};

use crate::runtime::Mount;

/// A path in a mount: names alone, none of them `.` or `..`.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    pub mount: &'a Mount,
    pub path: String,
}

/// `path` as seen from `folder`, which is absolute.
pub fn join(folder: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") }
}

/// The names that lead to a path from the root, above which there is nothing.
pub fn names(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

/// The mount that a path is in: the one nearest to it.
pub fn find<'a>(mounts: &'a [Mount], path: &str) -> Option<Place<'a>> {
    let wanted = names(path);
    let within = mounts.iter().filter_map(|mount| Some((mount, wanted.strip_prefix(&*names(&mount.guest))?)));
    let (mount, rest) = within.min_by_key(|(_, rest)| rest.len())?;
    Some(Place { mount, path: rest.join("/") })
}

/// The mounts that are below a path.
pub fn below<'a>(mounts: &'a [Mount], path: &str) -> impl Iterator<Item = &'a Mount> {
    let above: Vec<String> = names(path).into_iter().map(str::to_owned).collect();
    mounts.iter().filter(move |mount| {
        let names = names(&mount.guest);
        names.len() > above.len() && names.iter().zip(&above).all(|(name, above)| *name == above)
    })
}

/// Whether the guest has a folder there.
pub fn is_folder(mounts: &[Mount], path: &str) -> bool {
    let found = || {
        let place = find(mounts, path)?;
        let file = place.open(OFlags::PATH).ok()?;
        Some(FileType::from_raw_mode(fstat(&file).ok()?.st_mode) == FileType::Directory)
    };
    below(mounts, path).next().is_some() || found().unwrap_or(false)
}

impl Place<'_> {
    /// Opens what is there, through links that stay in the mount.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        self.open_at(&self.path, flags)
    }

    /// Opens the folder that it is in, which is made if it is missing, with those above it.
    ///
    /// # Errors
    /// What the system says.
    pub fn make_parent(&self) -> io::Result<(OwnedFd, &str)> {
        let (parent, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        Ok((self.make_folder(parent)?, name))
    }

    /// Opens a folder of the mount, which is made if it is missing, with those above it.
    ///
    /// # Errors
    /// What the system says.
    pub fn make_folder(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_at(path, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_empty() => {}
            other => return other,
        }
        let mut folder = self.open_at("", flags)?;
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut start = 0;
        for end in ends {
            folder = match self.open_at(&path[..end], flags) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    rustix::fs::mkdirat(&folder, &path[start..end], Mode::from_raw_mode(0o755))?;
                    self.open_at(&path[..end], flags)?
                }
                other => other?,
            };
            start = end + 1;
        }
        Ok(folder)
    }

    fn open_at(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let root = open_root(&self.mount.host)?;
        if path.is_empty() && flags.contains(OFlags::PATH) {
            return Ok(root);
        }
        let path = if path.is_empty() { "." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }
}

fn open_root(host: &Path) -> io::Result<OwnedFd> {
    // A volume may be one file.
    let folder = rustix::fs::openat(CWD, host, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(folder)
}

/// Whether a link's target stays among the names that lead to the link.
pub fn stays(link: &str, target: &str) -> bool {
    let mut depth = i64::try_from(names(link).len()).unwrap_or(i64::MAX) - 1;
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return false;
        }
    }
    !target.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_has_a_path() {
        let mount = |guest: &str| Mount { host: "/host".into(), guest: guest.into(), read_only: false, hold: None };
        let mounts = [mount("/data"), mount("/data/deep/er"), mount("/etc/x/")];
        let at = |path: &str| find(&mounts, path).map(|place| (place.mount.guest.clone(), place.path));
        let table = [
            ("/data", Some(("/data", ""))),
            ("data/./a//b/", Some(("/data", "a/b"))),
            ("/data/deep/er/a", Some(("/data/deep/er", "a"))),
            ("/data/../../etc/x/y", Some(("/etc/x/", "y"))),
            ("/database", None),
            ("/", None),
        ];
        for (path, want) in table {
            assert_eq!(at(path), want.map(|(guest, rest)| (guest.to_owned(), rest.to_owned())), "{path}");
        }
        assert_eq!(below(&mounts, "/data").count(), 1);
        assert_eq!(below(&mounts, "/").count(), 3);
    }

    #[test]
    fn links_stay_where_they_are_put() {
        for (link, target, want) in [
            ("a/b", "c", true),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a/b", "c/../../..", false),
            ("b", "..", false),
            ("a/b", "/c", false),
        ] {
            assert_eq!(stays(link, target), want, "{link} -> {target}");
        }
    }
}
