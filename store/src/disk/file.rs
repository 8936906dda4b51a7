//! A disk that is a file of its own, locked against every other process.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::fstatvfs;

use super::Disk;
use crate::Error;

/// A file, locked for as long as this value lives.
///
/// A new store is made beside its place, in `<name>.new`, and moved there once it is whole. So a file that is found at
/// the place was a store once, and if it is empty now, something has emptied it.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    path: PathBuf,
}

impl FileDisk {
    /// Opens the file at `path`, or begins a new one. It is readable by its owner alone: what it holds may be secret.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::Corrupt`] for an empty file, and [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        loop {
            let opened = match Self::open_existing(path)? {
                Some(file) => Some(file),
                None => Self::open_new(path)?,
            };
            if let Some(file) = opened {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
    }

    /// `None` if there is no file, or no longer the one that was opened.
    fn open_existing(path: &Path) -> Result<Option<File>, Error> {
        let Some(file) = open_locked(OpenOptions::new().read(true).write(true), path, path)? else {
            return Ok(None);
        };
        if at(path, file.metadata())?.len() == 0 {
            return Err(Error::Corrupt { path: path.to_owned(), detail: "the file is empty".into() });
        }
        Ok(Some(file))
    }

    /// `None` if somebody else was quicker.
    fn open_new(path: &Path) -> Result<Option<File>, Error> {
        let new = beside(path);
        // Not truncated before it is locked: it may be the beginning of somebody's store.
        let options = &mut OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let Some(file) = open_locked(options, &new, path)? else { return Ok(None) };
        if at(path, path.try_exists())? {
            return Ok(None);
        }
        // What a crash left of an earlier beginning.
        at(&new, file.set_len(0))?;
        Ok(Some(file))
    }
}

/// Opens and locks the file at `path` on behalf of the store at `store`. `None` if there is none, or if it was moved
/// away between the two.
fn open_locked(options: &OpenOptions, path: &Path, store: &Path) -> Result<Option<File>, Error> {
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !creates(path, store) => return Ok(None),
        Err(error) => return at(path, Err(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: store.to_owned() }),
        Err(TryLockError::Error(error)) => return at(path, Err(error)),
    }
    let opened = at(path, file.metadata())?;
    match path.metadata() {
        Ok(found) if (found.dev(), found.ino()) == (opened.dev(), opened.ino()) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => at(path, Err(error)),
    }
}

/// Whether the file at `path` is one that is created when it is missing: then only its folder can be.
fn creates(path: &Path, store: &Path) -> bool {
    path != store
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

/// Says which file it was.
fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())).into())
}

impl Disk for FileDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn available(&self) -> Option<u64> {
        let filesystem = fstatvfs(&self.file).ok()?;
        filesystem.f_bavail.checked_mul(filesystem.f_frsize)
    }

    fn settle(&self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(beside(&self.path), &self.path)?;
        // The name is durable when its folder is.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_new_file_is_at_its_place_once_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let disk = FileDisk::open(&path).unwrap();
        disk.write(0, b"whole").unwrap();
        assert!(!path.exists());
        disk.settle().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(!beside(&path).exists());
    }

    #[test]
    fn what_was_not_settled_is_begun_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        FileDisk::open(&path).unwrap().write(0, b"half").unwrap();
        assert!(FileDisk::open(&path).unwrap().is_empty().unwrap());
    }

    #[test]
    fn a_file_is_open_once_while_new_and_when_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let disk = FileDisk::open(&path).unwrap();
        assert!(matches!(FileDisk::open(&path), Err(Error::Locked { .. })));
        disk.write(0, b"whole").unwrap();
        disk.settle().unwrap();
        assert!(matches!(FileDisk::open(&path), Err(Error::Locked { .. })));
        drop(disk);
        assert_eq!(FileDisk::open(&path).unwrap().len().unwrap(), 5);
    }

    #[test]
    fn an_emptied_file_is_not_taken_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(FileDisk::open(&path), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let Err(Error::Io(error)) = FileDisk::open(&folder.path().join("missing/store")) else { panic!() };
        assert!(error.to_string().contains("missing/store"), "{error}");
    }
}
