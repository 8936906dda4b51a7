//! From a container's `image` and `imagePullPolicy` to a file on this node.
//!
//! A `file://` image is taken into the store when the file is new or changed; what was stored stays usable when the
//! file goes away and the policy allows. A plain name has no origin but the store itself, so `Always` is satisfied by
//! what the store has. Concurrent pulls of one image share one transfer.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::fetch::{FetchError, Fetcher};
use super::program::Program;
use super::reference::Reference;
use super::store::{Digest, ImageStore, StoreError};
use crate::config::ImageSources;
use crate::limits::IMAGE_FETCHES_MAX;

/// `imagePullPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Always,
    IfNotPresent,
    Never,
}

/// An image on this node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    /// The reference in its canonical form; `status.image`.
    pub name: Arc<str>,
    /// `status.imageID`: the registry's name for exactly this, `registry/name@sha256:…`, or the digest of the module.
    pub id: Arc<str>,
    /// Of the module's bytes.
    pub digest: Digest,
    pub path: Arc<Path>,
    /// How it wants to be run.
    pub program: Arc<Program>,
}

impl Image {
    /// A plain module.
    pub fn of(name: &str, digest: Digest, path: &Path) -> Self {
        let (name, id) = (name.into(), digest.to_string().into());
        Self { name, id, digest, path: path.into(), program: Arc::default() }
    }
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// `imagePullPolicy: Never`, and the store has none.
    #[error("Container image {0:?} is not present with pull policy of Never")]
    Never(String),
    #[error("no image {0:?} in this node's store; `coracle image load` puts one there")]
    Unknown(String),
    #[error("this node takes no images from {0}")]
    Source(&'static str),
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a pull went.
#[derive(Debug)]
pub struct Pulled {
    pub image: Image,
    /// Whether bytes were moved; `false` when all was here.
    pub fetched: bool,
}

/// Pulls images; one a node.
pub struct Puller {
    store: ImageStore,
    fetcher: Fetcher,
    sources: ImageSources,
    permits: Semaphore,
    files: Mutex<HashMap<PathBuf, FileSeen>>,
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A file as it was when it was last taken in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

#[derive(Clone, Copy)]
struct FileSeen {
    stamp: Stamp,
    digest: Digest,
}

impl Puller {
    /// A puller into `store`.
    pub fn new(store: ImageStore, sources: ImageSources, fetcher: Fetcher) -> Self {
        Self {
            store,
            fetcher,
            sources,
            permits: Semaphore::new(IMAGE_FETCHES_MAX),
            files: Mutex::default(),
            fetching: Mutex::default(),
        }
    }

    /// The store that it pulls into.
    pub fn store(&self) -> &ImageStore {
        &self.store
    }

    /// The image, when no bytes need to be moved for it: quick enough to call from a worker.
    ///
    /// # Errors
    /// When the policy forbids to look further, or the store cannot be read.
    pub fn present(&self, reference: &Reference, policy: Policy) -> Result<Option<Image>, PullError> {
        let here = match (reference, policy) {
            (_, Policy::Never) => match self.store.resolve(reference)? {
                Some(digest) => Some(digest),
                None => return Err(PullError::Never(reference.to_string())),
            },
            (Reference::Name { .. }, _) => match self.store.resolve(reference)? {
                Some(digest) => Some(digest),
                None => return Err(PullError::Unknown(reference.to_string())),
            },
            (Reference::File { path, digest }, Policy::Always) => self.unchanged(path, digest.as_ref()),
            (Reference::Https { digest: Some(_), .. }, _) | (_, Policy::IfNotPresent) => {
                self.store.resolve(reference)?
            }
            (Reference::Https { .. }, Policy::Always) => None,
        };
        Ok(here.map(|digest| self.image(reference, digest)))
    }

    /// The image, fetched if [`Puller::present`] does not have it.
    ///
    /// # Errors
    /// When its source does not give it.
    pub async fn pull(self: &Arc<Self>, reference: &Reference, policy: Policy) -> Result<Pulled, PullError> {
        let turn = self.turn(&reference.to_string());
        let waiting = turn.try_lock().is_err();
        let _turn = turn.lock().await;
        // Whoever waited for another's transfer of the same image has what that one brought.
        let policy = if waiting && policy == Policy::Always { Policy::IfNotPresent } else { policy };
        if let Some(image) = self.present(reference, policy)? {
            return Ok(Pulled { image, fetched: false });
        }
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let digest = match reference {
            Reference::File { path, .. } => self.take_file(path.clone(), reference.clone()).await?,
            Reference::Https { url, .. } if self.sources.https => {
                self.fetcher.fetch(url, reference, &self.store).await?
            }
            Reference::Https { .. } => return Err(PullError::Source("https://")),
            Reference::Name { .. } => return Err(PullError::Unknown(reference.to_string())),
        };
        Ok(Pulled { image: self.image(reference, digest), fetched: true })
    }

    async fn take_file(self: &Arc<Self>, path: PathBuf, reference: Reference) -> Result<Digest, PullError> {
        if !self.sources.file {
            return Err(PullError::Source("file://"));
        }
        let puller = self.clone();
        let taken = tokio::task::spawn_blocking(move || {
            let error = |source| PullError::File { path: path.clone(), source };
            let file = std::fs::File::open(&path).map_err(error)?;
            let meta = file.metadata().map_err(error)?;
            if !meta.is_file() {
                return Err(error(std::io::Error::other("not a regular file")));
            }
            let digest = puller.store.load(&reference, file)?;
            let seen = FileSeen { stamp: Stamp::of(&meta), digest };
            puller.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), seen);
            Ok(digest)
        });
        taken.await.unwrap_or_else(|panic| Err(PullError::File { path: PathBuf::new(), source: panic.into() }))
    }

    /// The digest of a file that did not change since it was taken in.
    fn unchanged(&self, path: &Path, want: Option<&Digest>) -> Option<Digest> {
        let seen = *self.files.lock().unwrap_or_else(PoisonError::into_inner).get(path)?;
        let stamp = Stamp::of(&std::fs::metadata(path).ok()?);
        let same = stamp == seen.stamp && want.is_none_or(|want| *want == seen.digest);
        (same && self.store.blob(&seen.digest).exists()).then_some(seen.digest)
    }

    fn image(&self, reference: &Reference, digest: Digest) -> Image {
        Image::of(&reference.to_string(), digest, &self.store.blob(&digest))
    }

    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| Arc::strong_count(turn) > 1);
        fetching.entry(name.to_owned()).or_default().clone()
    }
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino(), bytes: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn puller(dir: &Path) -> Arc<Puller> {
        let store = ImageStore::open(dir.join("images")).unwrap();
        Arc::new(Puller::new(store, ImageSources { file: true, https: false }, Fetcher::default()))
    }

    #[tokio::test]
    async fn a_file_is_taken_in_again_only_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.wasm");
        std::fs::write(&file, b"one").unwrap();
        let reference = Reference::parse(&format!("file://{}", file.display())).unwrap();
        let puller = puller(dir.path());

        let first = puller.pull(&reference, Policy::Always).await.unwrap();
        assert!(first.fetched);
        assert!(!puller.pull(&reference, Policy::Always).await.unwrap().fetched, "unchanged");

        std::fs::write(&file, b"longer").unwrap();
        let second = puller.pull(&reference, Policy::Always).await.unwrap();
        assert_eq!(second.image.digest, Digest::of(b"longer"));

        std::fs::remove_file(&file).unwrap();
        assert!(matches!(puller.pull(&reference, Policy::Always).await, Err(PullError::File { .. })));
        let kept = puller.pull(&reference, Policy::IfNotPresent).await.unwrap();
        assert_eq!(kept.image.digest, second.image.digest, "the store has it still");
    }

    #[tokio::test]
    async fn what_a_policy_or_a_node_forbids_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let puller = puller(dir.path());
        let pull = async |text: &str, policy| puller.pull(&Reference::parse(text).unwrap(), policy).await;
        assert!(matches!(pull("hello", Policy::Never).await, Err(PullError::Never(_))));
        assert!(matches!(pull("hello", Policy::Always).await, Err(PullError::Unknown(_))));
        assert!(matches!(pull("https://x.example/a.wasm", Policy::Always).await, Err(PullError::Source(_))));
        assert!(matches!(pull("file:///nowhere.wasm", Policy::IfNotPresent).await, Err(PullError::File { .. })));
    }
}
