//! From a container's `image`, `imagePullPolicy` and pull secrets to a file on this node.
//!
//! A `file://` image is taken into the store when the file is new or changed; what was stored stays usable when the
//! file goes away and the policy allows. A plain name has no origin but the store itself, so `Always` is satisfied by
//! what the store has. Concurrent pulls of one image share one transfer.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use super::credentials::{Keyring, KeyringError};
use super::fetch::{FetchError, Fetcher};
use super::http::Http;
use super::program::Program;
use super::record::Record;
use super::reference::Reference;
use super::registry::{Registry, RegistryError, may_read};
use super::signature::{Signer, SignerError};
use super::store::{Digest, ImageStore, StoreError};
use super::turns::Turns;
use crate::config::{ImageSources, Registries};
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
    /// `imagePullPolicy: Never`, and the store has none that this pod may have.
    #[error("Container image {0:?} is not present with pull policy of Never")]
    Never(String),
    #[error(
        "no image {0:?} in this node's store; `coracle image load` puts one there, and a name that begins with a \
         registry's host is pulled"
    )]
    Unknown(String),
    #[error("this node takes no images from {0}")]
    Source(&'static str),
    /// The node wants signatures, and there are none for files and addresses.
    #[error("this node takes signed images only, and {0} has no signatures")]
    Unsigned(&'static str),
    #[error("cannot read {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("image {image}")]
    Registry {
        image: String,
        #[source]
        source: RegistryError,
    },
    #[error("the credentials for it cannot be used")]
    Keyring(#[from] KeyringError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PullError {
    /// Whether no later attempt ends differently.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Source(_) => true,
            Self::Registry { source, .. } => source.is_final(),
            _ => false,
        }
    }

    /// As `waiting.reason` shows it. Source: `pkg/kubelet/images/types.go`, and the errors of `cri-api`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Never(_) => "ErrImageNeverPull",
            Self::Unsigned(_) => "SignatureValidationFailed",
            Self::Registry { source, .. } if source.is_unsigned() => "SignatureValidationFailed",
            _ => "ErrImagePull",
        }
    }
}

/// How a pull went.
#[derive(Debug)]
pub struct Pulled {
    pub image: Image,
    /// Whether bytes were moved; `false` when all was here.
    pub fetched: bool,
    /// How long it took, once its turn had come.
    pub took: Duration,
}

/// Pulls images; one a node.
pub struct Puller {
    store: ImageStore,
    fetcher: Fetcher,
    registry: Registry,
    sources: ImageSources,
    settings: Registries,
    signers: Vec<Signer>,
    permits: Semaphore,
    files: Mutex<HashMap<PathBuf, FileSeen>>,
    fetching: Turns<String>,
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
    ///
    /// # Errors
    /// When a signer's key is none.
    pub fn new(store: ImageStore, sources: ImageSources, settings: Registries) -> Result<Self, SignerError> {
        let http = Arc::new(Http::with_authorities(settings.authorities_pem.clone()));
        Self::over(http, store, sources, settings)
    }

    /// As [`Puller::new`], with a way to other machines of its own.
    ///
    /// # Errors
    /// When a signer's key is none.
    pub fn over(
        http: Arc<Http>,
        store: ImageStore,
        sources: ImageSources,
        settings: Registries,
    ) -> Result<Self, SignerError> {
        Ok(Self {
            store,
            fetcher: Fetcher::over(http.clone()),
            registry: Registry::new(http, settings.clone()),
            sources,
            signers: settings.signers_pem.iter().map(|pem| Signer::of_pem(pem)).collect::<Result<_, _>>()?,
            settings,
            permits: Semaphore::new(IMAGE_FETCHES_MAX),
            files: Mutex::default(),
            fetching: Turns::default(),
        })
    }

    /// The store that it pulls into.
    pub fn store(&self) -> &ImageStore {
        &self.store
    }

    /// Whether the credentials of a pod matter for an image.
    pub fn wants_credentials(&self, reference: &Reference) -> bool {
        self.full(reference).is_ok_and(|reference| reference.registry().is_some())
    }

    /// The digest of an image that the store has.
    pub fn stored(&self, reference: &Reference) -> Option<Digest> {
        let reference = self.full(reference).ok()?;
        self.store.resolve(&reference).ok()?.map(|record| record.digest)
    }

    /// The node's own credentials.
    ///
    /// # Errors
    /// When its docker configuration cannot be read; none at all is none.
    pub fn keyring(&self) -> Result<Keyring, KeyringError> {
        let mut keyring = Keyring::default();
        let config = self.settings.docker_config.as_ref().and_then(|path| std::fs::read(path).ok());
        config.map(|bytes| keyring.add_docker_config(&bytes)).transpose()?;
        Ok(keyring)
    }

    /// The image, when no bytes need to be moved for it and everybody may have it: quick enough to call from a worker.
    ///
    /// # Errors
    /// When the policy forbids to look further, or the store cannot be read.
    pub fn present(&self, reference: &Reference, policy: Policy) -> Result<Option<Image>, PullError> {
        self.present_for(&self.full(reference)?, policy, None)
    }

    /// The image, fetched if [`Puller::present`] does not have it for whoever has this keyring.
    ///
    /// # Errors
    /// When its source does not give it.
    pub async fn pull(
        self: &Arc<Self>,
        reference: &Reference,
        policy: Policy,
        keyring: &Keyring,
    ) -> Result<Pulled, PullError> {
        let reference = &self.full(reference)?;
        let turn = self.fetching.of(reference.to_string());
        let waiting = turn.is_taken();
        let _turn = turn.lock().await;
        // Whoever waited for another's transfer of the same image has what that one brought.
        let policy = if waiting && policy == Policy::Always { Policy::IfNotPresent } else { policy };
        if let Some(image) = self.present_for(reference, policy, Some(keyring))? {
            return Ok(Pulled { image, fetched: false, took: Duration::ZERO });
        }
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let begun = Instant::now();
        let (record, fetched) = self.bring(reference, keyring).await?;
        Ok(Pulled { image: self.image(reference, &record), fetched, took: begun.elapsed() })
    }

    async fn bring(self: &Arc<Self>, reference: &Reference, keyring: &Keyring) -> Result<(Record, bool), PullError> {
        match reference {
            Reference::File { .. } if !self.sources.file => Err(PullError::Source("file://")),
            Reference::Https { .. } if !self.sources.https => Err(PullError::Source("https://")),
            Reference::File { .. } if !self.signers.is_empty() => Err(PullError::Unsigned("file://")),
            Reference::Https { .. } if !self.signers.is_empty() => Err(PullError::Unsigned("https://")),
            Reference::File { path, .. } => {
                Ok((Record::of(self.take_file(path.clone(), reference.clone()).await?), true))
            }
            Reference::Https { url, .. } => {
                Ok((Record::of(self.fetcher.fetch(url, reference, &self.store).await?), true))
            }
            Reference::Name { .. } => {
                let brought = self.registry.pull(reference, keyring, &self.signers, &self.store).await;
                let of_image = |source| PullError::Registry { image: shown(reference), source };
                brought.map(|brought| (brought.record, brought.fetched)).map_err(of_image)
            }
        }
    }

    fn present_for(
        &self,
        reference: &Reference,
        policy: Policy,
        keyring: Option<&Keyring>,
    ) -> Result<Option<Image>, PullError> {
        let never = || PullError::Never(reference.to_string());
        let here = match (reference, policy) {
            (Reference::File { path, digest }, Policy::Always) => self.unchanged(path, digest.as_ref()).map(Record::of),
            (Reference::Https { digest: None, .. }, Policy::Always) => None,
            // What somebody loaded here has no other origin.
            (Reference::Name { .. }, Policy::Always) => {
                self.store.resolve(reference)?.filter(|record| record.manifest.is_none())
            }
            _ => self.store.resolve(reference)?,
        };
        match here {
            Some(record) if self.may_have(&record, reference, keyring) => Ok(Some(self.image(reference, &record))),
            // Whether a pod may have it shows only once its credentials are known.
            Some(_) if keyring.is_some() && policy == Policy::Never => Err(never()),
            None if policy == Policy::Never => Err(never()),
            None if matches!(reference, Reference::Name { .. }) && reference.registry().is_none() => {
                Err(PullError::Unknown(reference.to_string()))
            }
            _ => Ok(None),
        }
    }

    /// Whether an image of the store may be used without asking its registry again: signed, where that is wanted, and
    /// given by the registry to everybody or to whom has this keyring.
    /// Source: `KubeletEnsureSecretPulledImages`, with the policy `NeverVerifyPreloadedImages`.
    fn may_have(&self, record: &Record, reference: &Reference, keyring: Option<&Keyring>) -> bool {
        let by_trusted = |signer: &String| self.signers.iter().any(|own| own.fingerprint() == *signer);
        let is_loaded = record.manifest.is_none() && matches!(reference, Reference::Name { .. });
        let is_signed = self.signers.is_empty() || is_loaded || record.signer.as_ref().is_some_and(by_trusted);
        is_signed && (record.is_for_all() || keyring.is_some_and(|keyring| may_read(record, reference, keyring)))
    }

    /// A name without a registry gets the default one, unless the store knows it as it is.
    fn full(&self, reference: &Reference) -> Result<Reference, StoreError> {
        match (reference, &self.settings.default) {
            (Reference::Name { name, tag, digest }, Some(default)) if reference.registry().is_none() => {
                if self.store.resolve(reference)?.is_some() {
                    return Ok(reference.clone());
                }
                let is_short = default == "docker.io" && !name.contains('/');
                let name = if is_short { format!("{default}/library/{name}") } else { format!("{default}/{name}") };
                Ok(Reference::Name { name, tag: tag.clone(), digest: *digest })
            }
            _ => Ok(reference.clone()),
        }
    }

    async fn take_file(self: &Arc<Self>, path: PathBuf, reference: Reference) -> Result<Digest, PullError> {
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

    fn image(&self, reference: &Reference, record: &Record) -> Image {
        let image = Image::of(&reference.to_string(), record.digest, &self.store.blob(&record.digest));
        match (reference, &record.manifest) {
            (Reference::Name { name, .. }, Some(manifest)) => {
                let program = Arc::new(record.program.clone());
                Image { name: shown(reference).into(), id: format!("{name}@{manifest}").into(), program, ..image }
            }
            _ => image,
        }
    }
}

/// As people know it: beside a digest, the tag says nothing.
fn shown(reference: &Reference) -> String {
    reference.exact_name().unwrap_or_else(|| reference.to_string())
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
        Arc::new(Puller::new(store, ImageSources { file: true, https: false }, Registries::default()).unwrap())
    }

    #[tokio::test]
    async fn a_file_is_taken_in_again_only_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.wasm");
        std::fs::write(&file, b"one").unwrap();
        let reference = Reference::parse(&format!("file://{}", file.display())).unwrap();
        let puller = puller(dir.path());

        let first = puller.pull(&reference, Policy::Always, &Keyring::default()).await.unwrap();
        assert!(first.fetched);
        assert!(!puller.pull(&reference, Policy::Always, &Keyring::default()).await.unwrap().fetched, "unchanged");

        std::fs::write(&file, b"longer").unwrap();
        let second = puller.pull(&reference, Policy::Always, &Keyring::default()).await.unwrap();
        assert_eq!(second.image.digest, Digest::of(b"longer"));

        std::fs::remove_file(&file).unwrap();
        assert!(matches!(
            puller.pull(&reference, Policy::Always, &Keyring::default()).await,
            Err(PullError::File { .. })
        ));
        let kept = puller.pull(&reference, Policy::IfNotPresent, &Keyring::default()).await.unwrap();
        assert_eq!(kept.image.digest, second.image.digest, "the store has it still");
    }

    #[tokio::test]
    async fn what_a_policy_or_a_node_forbids_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let puller = puller(dir.path());
        let pull =
            async |text: &str, policy| puller.pull(&Reference::parse(text).unwrap(), policy, &Keyring::default()).await;
        assert!(matches!(pull("hello", Policy::Never).await, Err(PullError::Never(_))));
        assert!(matches!(pull("hello", Policy::Always).await, Err(PullError::Unknown(_))));
        assert!(matches!(pull("https://x.example/a.wasm", Policy::Always).await, Err(PullError::Source(_))));
        assert!(matches!(pull("file:///nowhere.wasm", Policy::IfNotPresent).await, Err(PullError::File { .. })));
    }
}
