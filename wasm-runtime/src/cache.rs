//! Compiled artifacts on disk.
//!
//! A file is named after the digest of the `.wasm` and the engine's settings, so that a new
//! version of the engine never meets the code of an old one, and holds:
//!
//! ```text
//! code      what wasmtime serialised, an ELF image that is mapped as it is
//! trailer   length of the code (u64), CRC-32 of the code (u32), magic (4 bytes); little-endian
//! ```
//!
//! Loading compiled code is `unsafe`: what is loaded runs. Three things make it sound here. The
//! folder belongs to this user and nobody else may enter it; a file is written under another name
//! and renamed when it is whole, and never changed after that; and a file whose owner, mode or
//! checksum is not right is not loaded but compiled anew. Nothing is synced: a file that a crash
//! tore fails its checksum.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::artifact::Digest;

const MAGIC: [u8; 4] = *b"crc1";
const TRAILER_BYTES: usize = 16;
const READ_BYTES: usize = 256 << 10;

/// The folder of compiled artifacts.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    writes: AtomicU64,
}

impl Cache {
    /// Opens the folder, made or made private if need be.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or belongs to somebody else.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let metadata = fs::symlink_metadata(dir)?;
        if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
            let reason = "the cache of compiled code must be a folder of this user's own";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        if metadata.mode() & 0o077 != 0 {
            fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        }
        Ok(Self { dir: dir.to_owned(), writes: AtomicU64::new(0) })
    }

    /// The file that holds the code of `digest`, if it is there and whole.
    pub(crate) fn find(&self, digest: Digest, settings: &str) -> Option<PathBuf> {
        let path = self.path(digest, settings);
        match verify(&path) {
            Ok(()) => Some(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code is not usable, compiling anew");
                None
            }
        }
    }

    /// Keeps `code`, and returns the file that holds it.
    ///
    /// # Errors
    ///
    /// When it cannot be written, a full disk above all.
    pub(crate) fn store(&self, digest: Digest, settings: &str, code: &[u8]) -> io::Result<PathBuf> {
        let path = self.path(digest, settings);
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let partial = self.dir.join(format!(".partial-{}-{write}", process::id()));
        let stored = write_whole(&partial, code).and_then(|()| fs::rename(&partial, &path));
        if let Err(error) = stored {
            // Without it there is nothing to clean.
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
        Ok(path)
    }

    /// Removes the code of `digest`, if it is there.
    pub(crate) fn remove(&self, digest: Digest, settings: &str) {
        // Another process that shares the folder may have been first.
        let _ = fs::remove_file(self.path(digest, settings));
    }

    fn path(&self, digest: Digest, settings: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{settings}.cwasm"))
    }
}

fn write_whole(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(code)?;
    file.write_all(&trailer(code.len() as u64, crc32fast::hash(code)))
}

fn trailer(length: u64, checksum: u32) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..8].copy_from_slice(&length.to_le_bytes());
    trailer[8..12].copy_from_slice(&checksum.to_le_bytes());
    trailer[12..].copy_from_slice(&MAGIC);
    trailer
}

/// Checks owner, mode, length and checksum.
fn verify(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_file() || !is_ours || metadata.mode() & 0o077 != 0 {
        return Err(invalid("it is not a private file of this user"));
    }
    let length = metadata.len().checked_sub(TRAILER_BYTES as u64).ok_or_else(|| invalid("it is truncated"))?;
    let checksum = checksum(&mut (&mut file).take(length))?;
    let mut found = [0; TRAILER_BYTES];
    file.read_exact(&mut found)?;
    if found != trailer(length, checksum) {
        return Err(invalid("its checksum is not right"));
    }
    Ok(())
}

fn checksum(code: &mut impl Read) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match code.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "settings";

    fn cache(dir: &Path) -> Cache {
        Cache::open(dir).expect("a folder")
    }

    #[test]
    fn what_is_stored_is_found_and_private() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = cache(&dir.path().join("a/b"));
        let digest = Digest::of(b"x");
        assert_eq!(cache.find(digest, SETTINGS), None);
        let path = cache.store(digest, SETTINGS, b"code").expect("stored");
        assert_eq!(cache.find(digest, SETTINGS), Some(path.clone()));
        assert_eq!(cache.find(digest, "other settings"), None);
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&cache.dir).expect("there").mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&cache.dir).expect("there").count(), 1);
        cache.remove(digest, SETTINGS);
        assert_eq!(cache.find(digest, SETTINGS), None);
    }

    #[test]
    fn what_is_not_whole_or_not_private_is_not_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = cache(dir.path());
        let digest = Digest::of(b"x");
        let path = cache.store(digest, SETTINGS, b"some code").expect("stored");
        let whole = fs::read(&path).expect("there");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("written");
            assert_eq!(cache.find(digest, SETTINGS), None, "{length} bytes");
        }
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 0x10;
            fs::write(&path, flipped).expect("written");
            assert_eq!(cache.find(digest, SETTINGS), None, "byte {place}");
        }
        fs::write(&path, &whole).expect("written");
        assert_eq!(cache.find(digest, SETTINGS), Some(path.clone()));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("changed");
        assert_eq!(cache.find(digest, SETTINGS), None);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_closed() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("changed");
        cache(dir.path());
        assert_eq!(fs::metadata(dir.path()).expect("there").mode() & 0o777, 0o700);
    }
}
