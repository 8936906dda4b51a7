//! Bytes on their way into the store, hashed as they come.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Digest, ImageStore, StoreError, absent_is_fine, at, private};
use crate::images::Reference;
use crate::images::record::Record;
use crate::limits::IMAGE_BYTES_MAX;

/// An image on its way into the store.
pub struct Incoming {
    store: ImageStore,
    path: PathBuf,
    file: File,
    hash: Sha256,
    bytes: u64,
    bytes_max: u64,
    /// What becomes of the file when this is dropped.
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Removed,
    /// A later attempt goes on with it.
    Kept,
}

/// A file whose bytes are what they should be; removed when it is dropped.
pub struct Staged {
    path: PathBuf,
}

impl Incoming {
    pub(super) fn new(store: ImageStore) -> Result<Self, StoreError> {
        let path = store.staging().join(uuid::Uuid::new_v4().to_string());
        let file = private().create_new(true).open(&path).map_err(at(&path, "cannot create"))?;
        let (hash, bytes, bytes_max) = (Sha256::new(), 0, IMAGE_BYTES_MAX);
        Ok(Self { store, path, file, hash, bytes, bytes_max, fate: Fate::Removed })
    }

    pub(super) fn resumed(store: ImageStore, digest: Digest, bytes_max: u64) -> Result<Self, StoreError> {
        let path = store.staging().join(format!("{}.part", digest.hex()));
        let file = private().create(true).read(true).open(&path).map_err(at(&path, "cannot create"))?;
        let (hash, bytes, bytes_max) = (Sha256::new(), 0, bytes_max.min(IMAGE_BYTES_MAX));
        let mut incoming = Self { store, path, file, hash, bytes, bytes_max, fate: Fate::Kept };
        incoming.read_again()?;
        Ok(incoming)
    }

    fn read_again(&mut self) -> Result<(), StoreError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = self.file.read(&mut buffer).map_err(at(&self.path, "cannot read"))?;
            if read == 0 {
                return Ok(());
            }
            self.hash.update(&buffer[..read]);
            self.bytes += read as u64;
        }
    }

    /// How many bytes have come.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When the disk does not take it, or there is more than should be.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        if self.bytes + piece.len() as u64 > self.bytes_max {
            self.fate = Fate::Removed;
            let is_bound = self.bytes_max == IMAGE_BYTES_MAX;
            return Err(if is_bound { StoreError::TooLarge } else { StoreError::TooLong { bytes: self.bytes_max } });
        }
        self.file.write_all(piece).map_err(at(&self.path, "cannot write the image"))?;
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
        Ok(())
    }

    /// Takes all of `source`.
    ///
    /// # Errors
    /// When it cannot be read, and as [`Incoming::write`].
    pub fn write_all(&mut self, mut source: impl Read) -> Result<(), StoreError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.write(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(at(&self.path, "cannot read the image")(error)),
            }
        }
    }

    /// Forgets what has come: the other side begins anew.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        if self.bytes > 0 {
            use std::io::Seek;
            self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(at(&self.path, "cannot empty"))?;
            (self.hash, self.bytes) = (Sha256::new(), 0);
        }
        Ok(())
    }

    /// Makes the image visible under `reference`.
    ///
    /// # Errors
    /// When the digest is not what `reference` fixes, or the disk fails.
    pub fn finish(mut self, reference: &Reference) -> Result<Digest, StoreError> {
        let digest = self.check(reference.digest())?;
        let store = self.store.clone();
        let _lock = store.lock()?;
        self.rename(&digest)?;
        store.write_name(&reference.store_name(), &Record::of(digest))?;
        Ok(digest)
    }

    /// Puts the bytes where they belong, without a name; they must have the digest `want`.
    ///
    /// # Errors
    /// When they have another, or the disk fails.
    pub fn place(mut self, want: &Digest) -> Result<(), StoreError> {
        self.check(Some(want))?;
        self.place_checked(want)
    }

    /// Puts the bytes where they belong, without a name, whatever their digest is.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn place_any(mut self) -> Result<Digest, StoreError> {
        let digest = self.check(None)?;
        self.place_checked(&digest)?;
        Ok(digest)
    }

    /// Bytes with the digest `want` that are only to be looked into.
    ///
    /// # Errors
    /// When they have another.
    pub fn staged(mut self, want: &Digest) -> Result<Staged, StoreError> {
        self.check(Some(want))?;
        self.fate = Fate::Kept;
        Ok(Staged { path: self.path.clone() })
    }

    /// Whether the first bytes are these.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begins_with(&self, magic: &[u8]) -> Result<bool, StoreError> {
        let mut head = Vec::new();
        let file = File::open(&self.path).map_err(at(&self.path, "cannot open"))?;
        file.take(magic.len() as u64).read_to_end(&mut head).map_err(at(&self.path, "cannot read"))?;
        Ok(head == magic)
    }

    fn check(&mut self, want: Option<&Digest>) -> Result<Digest, StoreError> {
        let got = Digest(std::mem::take(&mut self.hash).finalize().into());
        match want.filter(|want| **want != got) {
            None => Ok(got),
            Some(want) => {
                self.fate = Fate::Removed;
                Err(StoreError::WrongDigest { want: *want, got })
            }
        }
    }

    fn place_checked(&mut self, digest: &Digest) -> Result<(), StoreError> {
        let store = self.store.clone();
        let _lock = store.lock()?;
        self.rename(digest)
    }

    /// With the lock held.
    fn rename(&mut self, digest: &Digest) -> Result<(), StoreError> {
        let blob = self.store.blob(digest);
        if blob.exists() {
            self.fate = Fate::Removed;
            return Ok(());
        }
        self.file.sync_data().map_err(at(&self.path, "cannot sync the image"))?;
        fs::rename(&self.path, &blob).map_err(at(&blob, "cannot place the image"))?;
        self.fate = Fate::Kept;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.fate == Fate::Removed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Staged {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn open(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(at(&self.path, "cannot open"))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path).or_else(absent_is_fine);
    }
}
