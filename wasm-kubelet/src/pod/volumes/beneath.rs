//! What lies below a folder, found without ever leaving it.
//!
//! The kernel walks the path (`openat2` with `RESOLVE_BENEATH`): neither `..`, nor a link to elsewhere, nor a guest that
//! swaps a folder for a link at the wrong moment leads out. What was found is held open, so that it stays the thing that
//! was checked. Source: kubelet, `subpath.PrepareSafeSubpath`.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, linkat, mkdirat, openat, openat2};
use rustix::io::Errno;

/// Something on the host that is held open: a folder, or a file. Clones are the same thing.
#[derive(Clone, Debug)]
pub struct Held(Arc<OwnedFd>);

/// The same opened thing, not one of the same content.
impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Held {}

/// Links within a volume are followed while they stay in it.
const WITHIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often a walk is tried again that somebody else's renaming disturbed.
const ATTEMPTS: usize = 16;

const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

impl Held {
    /// A folder of the host whose path is trusted.
    ///
    /// # Errors
    /// When it is not there, or is no folder.
    pub fn folder(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(openat(CWD, path, LOOK | OFlags::DIRECTORY, Mode::empty())?)))
    }

    /// A path to it that is good while it is held, whatever becomes of the names that led to it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// What is to be kept for [`Held::path`] to stay good.
    pub fn into_fd(self) -> Arc<OwnedFd> {
        self.0
    }

    /// What is at `sub`, which may be empty.
    ///
    /// # Errors
    /// When it is not there, or outside.
    pub fn find(&self, sub: &Path) -> io::Result<Self> {
        let sub = if sub.as_os_str().is_empty() { Path::new(".") } else { sub };
        open_within(self.0.as_fd(), sub).map(|found| Self(Arc::new(found)))
    }

    /// The folder at `sub`, with what is missing of it made.
    ///
    /// # Errors
    /// When it is outside, or cannot be made.
    pub fn make(&self, sub: &Path, mode: u32) -> io::Result<Self> {
        let mut walked = PathBuf::new();
        let mut at = self.clone();
        for part in sub.components() {
            match part {
                Component::CurDir => continue,
                Component::Normal(part) => walked.push(part),
                _ => return Err(io::Error::new(io::ErrorKind::PermissionDenied, "leads out of its folder")),
            }
            at = match self.find(&walked) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let name = walked.file_name().unwrap_or_default();
                    match mkdirat(&at.0, name, Mode::from_raw_mode(mode)) {
                        Ok(()) | Err(Errno::EXIST) => self.find(&walked)?,
                        Err(error) => return Err(error.into()),
                    }
                }
                found => found?,
            };
        }
        Ok(at)
    }

    /// What it is.
    ///
    /// # Errors
    /// When the host cannot say.
    pub fn kind(&self) -> io::Result<FileType> {
        Ok(FileType::from_raw_mode(fstat(&self.0)?.st_mode))
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind().is_ok_and(FileType::is_dir)
    }

    /// The content of a file, if it has no more than `bytes_max`.
    ///
    /// # Errors
    /// When it is larger, no file, or cannot be read.
    pub fn read(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        use std::io::Read;
        if !self.kind()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(self.path())?.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {bytes_max} bytes")));
        }
        Ok(bytes)
    }

    /// Makes an empty file in this folder, unless there is something of that name.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn touch(&self, name: &Path, mode: u32) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::EXCL | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::from_raw_mode(mode)) {
            Ok(_) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives this file a second name in a folder: what is written by one name is read by the other.
    ///
    /// # Errors
    /// Across two file systems, above all.
    pub fn link_into(&self, folder: &Self, name: &Path) -> io::Result<()> {
        Ok(linkat(CWD, self.path(), &folder.0, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Copies this file into a folder.
    ///
    /// # Errors
    /// When there is something of that name, or either cannot be read or written.
    pub fn copy_into(&self, folder: &Self, name: &Path, mode: u32) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::EXCL | OFlags::CLOEXEC;
        let mut copy = File::from(openat(&folder.0, name, flags, Mode::from_raw_mode(0o600))?);
        io::copy(&mut File::open(self.path())?, &mut copy)?;
        copy.flush()?;
        copy.set_permissions(Permissions::from_mode(mode))
    }
}

fn open_within(base: BorrowedFd<'_>, sub: &Path) -> io::Result<OwnedFd> {
    let mut attempts = 0;
    loop {
        match openat2(base, sub, LOOK, Mode::empty(), WITHIN) {
            Err(Errno::AGAIN) if attempts < ATTEMPTS => attempts += 1,
            Err(Errno::XDEV) => {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "leads out of its volume"));
            }
            found => return Ok(found?),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("volume/deep")).unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        let volume = dir.path().join("volume");
        symlink("/", volume.join("absolute")).unwrap();
        symlink("../secret", volume.join("up")).unwrap();
        symlink("../../volume/deep", volume.join("deep/around")).unwrap();
        symlink("deep", volume.join("inside")).unwrap();
        symlink("nowhere", volume.join("dangling")).unwrap();
        symlink("loop", volume.join("loop")).unwrap();
        let held = Held::folder(&volume).unwrap();
        for inside in ["", "deep", "inside", "./deep/.", "deep/../deep"] {
            assert!(held.find(Path::new(inside)).unwrap().is_folder(), "{inside}");
        }
        for outside in ["..", "/", "/etc", "absolute", "absolute/etc", "up", "deep/around", "deep/../.."] {
            let error = held.find(Path::new(outside)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{outside}: {error}");
            assert!(held.make(Path::new(outside), 0o700).is_err(), "{outside}");
        }
        for never in ["dangling", "dangling/x", "loop"] {
            assert!(held.make(Path::new(never), 0o700).is_err(), "{never}");
        }
        assert!(!volume.join("nowhere").exists());
        assert!(held.make(Path::new("inside/new/er"), 0o700).unwrap().is_folder());
        assert!(volume.join("deep/new/er").is_dir());
    }

    #[test]
    fn what_is_held_stays_what_was_checked() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("v/sub")).unwrap();
        fs::write(dir.path().join("v/sub/own"), "own").unwrap();
        let sub = Held::folder(&dir.path().join("v")).unwrap().find(Path::new("sub")).unwrap();
        fs::rename(dir.path().join("v/sub"), dir.path().join("v/moved")).unwrap();
        symlink("/etc", dir.path().join("v/sub")).unwrap();
        assert_eq!(fs::read_to_string(sub.path().join("own")).unwrap(), "own");
        assert!(!sub.path().join("passwd").exists());
        assert_eq!(sub.find(Path::new("own")).unwrap().read(3).unwrap(), b"own");
        assert!(sub.find(Path::new("own")).unwrap().read(2).is_err());
    }
}
