//! The node's image store: blobs by digest, and names that point at them.
//!
//! ```text
//! ROOT/images/blobs/<sha256 hex>     the bytes, written once, mode 0600
//! ROOT/images/names/<escaped name>   a [`Record`]: the digest, and what a registry said of the image
//! ROOT/images/staging/<uuid>         files on their way in
//! ROOT/images/staging/<hex>.part     the part of a download that has come so far
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
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use super::record::Record;
use super::reference::{Reference, ReferenceError};

mod incoming;

use crate::limits::IMAGE_BYTES_MAX;
pub use incoming::{Incoming, Staged};

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
    #[error("more came than the {bytes} bytes that were announced")]
    TooLong { bytes: u64 },
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
    /// Whether nothing but this store has it: somebody loaded it here.
    pub is_loaded: bool,
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

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
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
    pub fn load(&self, reference: &Reference, source: impl Read) -> Result<Digest, StoreError> {
        let mut incoming = self.begin()?;
        incoming.write_all(source)?;
        incoming.finish(reference)
    }

    /// Begins an image whose bytes come piece by piece; dropped unfinished, it leaves nothing.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn begin(&self) -> Result<Incoming, StoreError> {
        Incoming::new(self.clone())
    }

    /// Goes on with a download of bytes that have this digest: what came of them before is there already. Dropped
    /// unfinished, it leaves what it has for the next attempt. Nobody else may have the same under way. There are to
    /// be no more than `bytes`.
    ///
    /// # Errors
    /// When no file can be made or read.
    pub fn resume(&self, digest: Digest, bytes: u64) -> Result<Incoming, StoreError> {
        Incoming::resumed(self.clone(), digest, bytes)
    }

    /// What `reference` points at, if it is here.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Record>, StoreError> {
        let is_here = |record: &Record| self.blob(&record.digest).exists();
        let Some(want) = reference.digest() else {
            return Ok(self.record(&reference.store_name())?.filter(is_here));
        };
        if let Some(exact) = reference.exact_name()
            && let Some(record) = self.record(&exact)?.filter(is_here)
        {
            return Ok(Some(record));
        }
        // A digest of the module itself: so are files and what was loaded by hand named.
        if reference.registry().is_none() && self.blob(want).exists() {
            return Ok(Some(Record::of(*want)));
        }
        let named = self.record(&reference.store_name())?;
        Ok(named.filter(|record| record.digest == *want && is_here(record)))
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
            let Some(record) = self.read_record(&entry.path())? else { continue };
            let Some(name) = entry.file_name().to_str().and_then(unescape) else { continue };
            let loaded = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let Ok(blob) = fs::metadata(self.blob(&record.digest)) else { continue };
            let is_loaded = record.manifest.is_none() && !name.contains("://");
            listed.push(Listed { name, digest: record.digest, bytes: blob.len(), loaded, is_loaded });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// Puts a file whose bytes have this digest where it belongs, without a name.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn adopt(&self, staged: Staged, digest: &Digest) -> Result<(), StoreError> {
        let blob = self.blob(digest);
        let _lock = self.lock()?;
        staged.open()?.sync_data().map_err(at(staged.path(), "cannot sync the image"))?;
        fs::rename(staged.path(), &blob).map_err(at(&blob, "cannot place the image"))
    }

    /// Points names at an image whose bytes are here.
    ///
    /// # Errors
    /// When the names cannot be written, or the bytes have gone meanwhile.
    pub fn name(&self, names: &[String], record: &Record) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        if !self.blob(&record.digest).exists() {
            return Err(StoreError::Unknown(record.digest.to_string()));
        }
        names.iter().try_for_each(|name| self.write_name(name, record))
    }

    /// Forgets a name, and the bytes when no other name points at them.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when there is no such name.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let reference = Reference::parse(name)?;
        let _lock = self.lock()?;
        let exact = reference.exact_name().filter(|exact| self.name_path(exact).exists());
        let path = self.name_path(&exact.unwrap_or_else(|| reference.store_name()));
        let Some(record) = self.read_record(&path)? else { return Err(StoreError::Unknown(reference.store_name())) };
        fs::remove_file(&path).map_err(at(&path, "cannot remove"))?;
        let mut others = self.list()?;
        others.retain(|other| other.digest == record.digest);
        // The name by digest that came with the tag goes with it.
        if others.iter().all(|other| other.name.contains('@')) {
            self.forget(&record.digest, &others)?;
        }
        Ok(())
    }

    /// Removes an image with all its names; the bytes that are free now.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove_image(&self, digest: &Digest) -> Result<u64, StoreError> {
        let _lock = self.lock()?;
        let mut names = self.list()?;
        names.retain(|name| name.digest == *digest);
        let bytes = fs::metadata(self.blob(digest)).map_or(0, |blob| blob.len());
        self.forget(digest, &names)?;
        Ok(bytes)
    }

    /// Removes what nothing names and nobody has touched for `age`: what a kubelet leaves that is killed in a download.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sweep(&self, age: Duration) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let named: std::collections::HashSet<String> =
            self.list()?.into_iter().map(|listed| listed.digest.hex()).collect();
        for part in ["blobs", "staging"] {
            let dir = self.dir.join(part);
            for entry in fs::read_dir(&dir).map_err(at(&dir, "cannot list"))?.flatten() {
                let is_named = entry.file_name().to_str().is_some_and(|name| named.contains(name));
                let modified = entry.metadata().and_then(|meta| meta.modified());
                let is_old = modified.is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed >= age));
                if is_old && (part == "staging" || !is_named) {
                    let path = entry.path();
                    fs::remove_file(&path).or_else(absent_is_fine).map_err(at(&path, "cannot remove"))?;
                }
            }
        }
        Ok(())
    }

    fn forget(&self, digest: &Digest, names: &[Listed]) -> Result<(), StoreError> {
        let paths = names.iter().map(|name| self.name_path(&name.name)).chain([self.blob(digest)]);
        for path in paths {
            fs::remove_file(&path).or_else(absent_is_fine).map_err(at(&path, "cannot remove"))?;
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

    fn record(&self, name: &str) -> Result<Option<Record>, StoreError> {
        self.read_record(&self.name_path(name))
    }

    fn read_record(&self, path: &Path) -> Result<Option<Record>, StoreError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(text.parse().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(path, "cannot read")(error)),
        }
    }

    fn write_name(&self, name: &str, record: &Record) -> Result<(), StoreError> {
        let staged = self.staging().join(uuid::Uuid::new_v4().to_string());
        let write = || -> io::Result<()> {
            let mut file = private().create_new(true).open(&staged)?;
            write!(file, "{record}")?;
            file.sync_data()?;
            fs::rename(&staged, self.name_path(name))
        };
        write().map_err(at(&staged, "cannot write the image's name"))
    }

    fn staging(&self) -> PathBuf {
        self.dir.join("staging")
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
        assert_eq!(store.resolve(&hello).unwrap(), Some(Record::of(two)));
        let one = Reference::parse(&format!("hello@{}", Digest::of(b"one"))).unwrap();
        assert_eq!(store.resolve(&one).unwrap(), Some(Record::of(Digest::of(b"one"))), "by digest it is still here");
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

    #[test]
    fn what_came_of_a_download_is_kept_and_checked() {
        let (dir, store) = store();
        let whole = Digest::of(b"one two");
        let mut first = store.resume(whole, 7).unwrap();
        first.write(b"one ").unwrap();
        drop(first);
        let mut second = store.resume(whole, 7).unwrap();
        assert_eq!(second.bytes(), 4, "a killed download goes on");
        second.write(b"two").unwrap();
        let record = Record { manifest: Some(Digest::of(b"manifest")), ..Record::of(whole) };
        let names = ["reg.example/x:v1".to_owned(), format!("reg.example/x@{}", Digest::of(b"manifest"))];
        second.place(&whole).unwrap();
        store.name(&names, &record).unwrap();
        for name in &names {
            assert_eq!(store.resolve(&Reference::parse(name).unwrap()).unwrap().as_ref(), Some(&record), "{name}");
        }

        let mut endless = store.resume(Digest::of(b"short"), 5).unwrap();
        assert!(matches!(endless.write(b"longer"), Err(StoreError::TooLong { bytes: 5 })));
        drop(endless);
        let mut spoiled = store.resume(Digest::of(b"other"), 99).unwrap();
        spoiled.write(b"not the other").unwrap();
        assert!(matches!(spoiled.place(&Digest::of(b"other")), Err(StoreError::WrongDigest { .. })));
        assert_eq!(fs::read_dir(dir.path().join("images/staging")).unwrap().count(), 0, "nothing to go on with");

        store.sweep(Duration::ZERO).unwrap();
        assert!(store.blob(&whole).exists(), "what is named stays");
        store.remove("reg.example/x:v1").unwrap();
        assert!(
            !store.blob(&whole).exists() && store.list().unwrap().is_empty(),
            "the name by digest went with the tag"
        );
    }
}
