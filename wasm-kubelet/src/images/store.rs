//! The node's image store: blobs by digest, and names that point at them.
//!
//! ```text
//! ROOT/images/blobs/<sha256 hex>     the bytes, written once, mode 0600
//! ROOT/images/names/<escaped name>   one line: the digest
//! ROOT/images/staging/…              files on their way in
//! ROOT/images/lock                   held while something is added or removed
//! ```
//!
//! Every change is one rename of a finished and synced file, so a reader never needs the lock and a crash leaves at
//! most a file in `staging`. The lock keeps a removal from collecting the blob that another process is just naming.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::reference::{Reference, ReferenceError};
use crate::limits::IMAGE_BYTES_MAX;

/// The SHA-256 of an image's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut digest = [0; 32];
        let digits = hex.as_bytes();
        if digits.len() != 64 || digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(Self(digest))
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The 64 digits, without `sha256:`.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.strip_prefix("sha256:").and_then(Self::from_hex).ok_or(())
    }
}

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("{path}: {what}")]
    Io {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the image is larger than the {} MiB that this node takes", IMAGE_BYTES_MAX >> 20)]
    TooLarge,
    #[error("the image's digest is {got}, not the {want} that its reference asks for")]
    WrongDigest { want: Digest, got: Digest },
    #[error("no image {0} in the node's store")]
    Unknown(String),
}

/// One name in the store.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: String,
    pub digest: Digest,
    pub bytes: u64,
    /// When the name was last pointed at this digest.
    pub loaded: SystemTime,
}

/// An opened store; cheap to clone, and any number may be open on one folder, in any number of processes.
#[derive(Clone, Debug)]
pub struct ImageStore {
    dir: PathBuf,
}

impl ImageStore {
    /// Opens the store in `dir`, making what is missing.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { dir: dir.into() };
        for part in ["blobs", "names", "staging"] {
            let path = store.dir.join(part);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(at(&path, "cannot make the folder"))?;
        }
        Ok(store)
    }

    /// Takes a file's bytes in, under `name` (anything that [`Reference::parse`] takes).
    ///
    /// # Errors
    /// When the file cannot be read, is too large, or has not the digest that `name` fixes.
    pub fn load_file(&self, name: &str, path: &Path) -> Result<Digest, StoreError> {
        let file = File::open(path).map_err(at(path, "cannot open"))?;
        self.load(&Reference::parse(name)?, file)
    }

    /// Takes all bytes of `source` in, under `reference`.
    ///
    /// # Errors
    /// As [`ImageStore::load_file`].
    pub fn load(&self, reference: &Reference, mut source: impl Read) -> Result<Digest, StoreError> {
        let mut incoming = self.begin()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => incoming.write(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(at(&incoming.path, "cannot read the image")(error)),
            }
        }
        incoming.finish(reference)
    }

    /// Begins an image whose bytes come piece by piece; dropped unfinished, it leaves nothing.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn begin(&self) -> Result<Incoming, StoreError> {
        let path = self.dir.join("staging").join(uuid::Uuid::new_v4().to_string());
        let file = private().create_new(true).open(&path).map_err(at(&path, "cannot create"))?;
        Ok(Incoming { store: self.clone(), path, file, hash: Sha256::new(), bytes: 0, done: false })
    }

    /// What `reference` points at, if it is here.
    ///
    /// # Errors
    /// When the store cannot be read, or the name points at another digest than the reference fixes.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Digest>, StoreError> {
        if let Some(digest) = reference.digest()
            && self.blob(digest).exists()
        {
            return Ok(Some(*digest));
        }
        let named = self.read_name(&self.name_path(&reference.store_name()))?;
        match (named, reference.digest()) {
            (Some(got), Some(want)) if got != *want => Ok(None),
            (Some(digest), _) if self.blob(&digest).exists() => Ok(Some(digest)),
            _ => Ok(None),
        }
    }

    /// The file with these bytes; whether it exists is not looked at.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.hex())
    }

    /// Every name, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let dir = self.dir.join("names");
        let mut listed = Vec::new();
        for entry in fs::read_dir(&dir).map_err(at(&dir, "cannot list"))? {
            let entry = entry.map_err(at(&dir, "cannot list"))?;
            let Some(digest) = self.read_name(&entry.path())? else { continue };
            let Some(name) = entry.file_name().to_str().and_then(unescape) else { continue };
            let loaded = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let Ok(blob) = fs::metadata(self.blob(&digest)) else { continue };
            listed.push(Listed { name, digest, bytes: blob.len(), loaded });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Forgets a name, and the bytes when no other name points at them.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when there is no such name.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let reference = Reference::parse(name)?;
        let path = self.name_path(&reference.store_name());
        let _lock = self.lock()?;
        let Some(digest) = self.read_name(&path)? else { return Err(StoreError::Unknown(reference.store_name())) };
        fs::remove_file(&path).map_err(at(&path, "cannot remove"))?;
        if self.list()?.iter().all(|other| other.digest != digest) {
            let blob = self.blob(&digest);
            fs::remove_file(&blob).or_else(absent_is_fine).map_err(at(&blob, "cannot remove"))?;
        }
        Ok(())
    }

    fn lock(&self) -> Result<File, StoreError> {
        let path = self.dir.join("lock");
        let file = private().create(true).open(&path).map_err(at(&path, "cannot open"))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| at(&path, "cannot lock")(error.into()))?;
        Ok(file)
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.dir.join("names").join(escape(name))
    }

    fn read_name(&self, path: &Path) -> Result<Option<Digest>, StoreError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end().parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path, "cannot read")(error)),
        }
    }

    fn write_name(&self, name: &str, digest: &Digest) -> Result<(), StoreError> {
        let staged = self.dir.join("staging").join(uuid::Uuid::new_v4().to_string());
        let write = || -> io::Result<()> {
            let mut file = private().create_new(true).open(&staged)?;
            writeln!(file, "{digest}")?;
            file.sync_data()?;
            fs::rename(&staged, self.name_path(name))
        };
        write().map_err(at(&staged, "cannot write the image's name"))
    }
}

/// An image on its way into the store.
pub struct Incoming {
    store: ImageStore,
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    done: bool,
}

impl Incoming {
    /// Takes the next piece.
    ///
    /// # Errors
    /// When the disk does not take it, or the image grew past [`IMAGE_BYTES_MAX`].
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        if self.bytes > IMAGE_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        self.hash.update(piece);
        self.file.write_all(piece).map_err(at(&self.path, "cannot write the image"))
    }

    /// Makes the image visible under `reference`.
    ///
    /// # Errors
    /// When the digest is not what `reference` fixes, or the disk fails.
    pub fn finish(mut self, reference: &Reference) -> Result<Digest, StoreError> {
        let digest = Digest(std::mem::take(&mut self.hash).finalize().into());
        if let Some(want) = reference.digest()
            && *want != digest
        {
            return Err(StoreError::WrongDigest { want: *want, got: digest });
        }
        let _lock = self.store.lock()?;
        let blob = self.store.blob(&digest);
        if !blob.exists() {
            self.file.sync_data().map_err(at(&self.path, "cannot sync the image"))?;
            fs::rename(&self.path, &blob).map_err(at(&blob, "cannot place the image"))?;
            self.done = true;
        }
        self.store.write_name(&reference.store_name(), &digest)?;
        Ok(digest)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn at<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { path: path.to_owned(), what, source }
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// A name as one file name: everything but letters, digits, `-` and `_` and inner dots becomes `%XX`; a name that
/// would be longer than a file system takes becomes its digest.
fn escape(name: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) && !escaped.is_empty() {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    if escaped.len() > 240 { format!("%{}", Digest::of(name.as_bytes()).hex()) } else { escaped }
}

fn unescape(escaped: &str) -> Option<String> {
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            name.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn store() -> (tempfile::TempDir, ImageStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().join("images")).unwrap();
        (dir, store)
    }

    #[test]
    fn names_share_bytes_and_the_last_one_takes_them_along() {
        let (_dir, store) = store();
        let load = |name: &str, bytes: &[u8]| store.load(&Reference::parse(name).unwrap(), bytes).unwrap();
        let digest = load("hello", b"one");
        assert_eq!(load("team/hello:v1", b"one"), digest);
        let names: Vec<_> = store.list().unwrap().into_iter().map(|image| (image.name, image.bytes)).collect();
        assert_eq!(names, [("hello:latest".to_owned(), 3), ("team/hello:v1".to_owned(), 3)]);

        store.remove("hello:latest").unwrap();
        assert!(store.blob(&digest).exists(), "another name still points at it");
        store.remove("team/hello:v1").unwrap();
        assert!(!store.blob(&digest).exists());
        assert!(matches!(store.remove("hello"), Err(StoreError::Unknown(_))));
    }

    #[test]
    fn a_name_moves_to_what_was_loaded_last() {
        let (_dir, store) = store();
        let hello = Reference::parse("hello").unwrap();
        store.load(&hello, &b"one"[..]).unwrap();
        let two = store.load(&hello, &b"two"[..]).unwrap();
        assert_eq!(store.resolve(&hello).unwrap(), Some(two));
        let one = Reference::parse(&format!("hello@{}", Digest::of(b"one"))).unwrap();
        assert_eq!(store.resolve(&one).unwrap(), Some(Digest::of(b"one")), "by digest it is still here");
    }

    #[test]
    fn a_wrong_digest_leaves_nothing_behind() {
        let (dir, store) = store();
        let wrong = Reference::parse(&format!("x@{}", Digest::of(b"other"))).unwrap();
        assert!(matches!(store.load(&wrong, &b"bytes"[..]), Err(StoreError::WrongDigest { .. })));
        assert!(store.list().unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("images/staging")).unwrap().count(), 0);
    }

    #[test]
    fn any_name_is_one_file() {
        for name in ["hello:latest", "..", "a/../b", "https://x/y?z=1#q", "ü"] {
            let escaped = escape(name);
            assert!(!escaped.contains('/') && !escaped.starts_with('.'), "{escaped}");
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
        }
        assert!(escape(&"x/".repeat(300)).len() < 255);
    }
}
