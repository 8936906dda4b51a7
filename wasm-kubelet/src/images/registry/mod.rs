//! Images from registries that speak the OCI distribution protocol: which addresses a name is tried at, and how an image
//! comes from there into the store. Signatures are checked before anything large is brought, digests always.
//!
//! - [`manifest`], [`auth`]: what registries say (pure);
//! - [`session`]: requests to one registry as one user;
//! - [`push`]: the other direction, for the command line.
//!
//! *Absent:* a cache of tokens. What one pod's secret opens is never open to another pod.

pub mod auth;
pub mod manifest;
pub mod push;
pub mod session;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;

use super::credentials::{Credential, Keyring};
use super::fetch::FetchError;
use super::http::{Http, HttpError};
use super::layers::{self, LayersError};
use super::record::{Reader, Record};
use super::reference::Reference;
use super::signature::{self, PAYLOAD_TYPE, Signer};
use super::store::{Digest, ImageStore, Staged, StoreError};
use super::turns::Turns;
use crate::config::Registries;
use crate::limits::{IMAGE_ANSWER_BYTES_MAX, IMAGE_MANIFEST_BYTES_MAX};
use manifest::{Content, ContentError, Layers, Main, Manifest, Part};
use session::{Action, Raw, Session};

/// Why an image did not come from a registry, or did not get there.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Fetch(FetchError),
    #[error("access denied by {host}: it does not exist or requires authorization{detail}")]
    Denied {
        host: String,
        /// Whether no credentials were shown.
        is_anonymous: bool,
        detail: String,
    },
    #[error("{host}: not found")]
    NotFound { host: String },
    #[error("{host} answered {status}{detail}")]
    Status { host: String, status: StatusCode, detail: String },
    #[error("{0} gave no token")]
    NoToken(String),
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("its files cannot be used")]
    Layers(#[from] LayersError),
    #[error("its bytes are no WebAssembly: they do not begin with \\0asm")]
    NoModule,
    #[error("no signature of a key that this node trusts is at {0}")]
    Unsigned(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Several credentials or mirrors, each with its own failure.
    #[error("{}", each(.0))]
    Several(Vec<RegistryError>),
}

impl RegistryError {
    /// Whether the image is none for this node, so that no later attempt ends differently.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Content(ContentError::Foreign(_)) | Self::NoModule => true,
            Self::Layers(error) => !matches!(error, LayersError::Broken(_)),
            Self::Several(each) => each.last().is_some_and(Self::is_final),
            _ => false,
        }
    }

    /// Whether a signature is missing.
    pub fn is_unsigned(&self) -> bool {
        match self {
            Self::Unsigned(_) => true,
            Self::Several(each) => each.iter().any(Self::is_unsigned),
            _ => false,
        }
    }
}

impl From<FetchError> for RegistryError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Http(error) => Self::Http(error),
            FetchError::Store(error) => Self::Store(error),
            status @ FetchError::Status(..) => Self::Fetch(status),
        }
    }
}

/// Source: `utilerrors.NewAggregate`.
fn each(errors: &[RegistryError]) -> String {
    let texts: Vec<String> = errors.iter().map(|error| crate::pod::execute::chain(error)).collect();
    format!("[{}]", texts.join(", "))
}

/// Where a name is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://host:port`.
    base: String,
    /// The name there.
    path: String,
}

impl Endpoint {
    fn host(&self) -> &str {
        self.base.split_once("://").map_or(&self.base, |(_, host)| host)
    }

    fn is_plain(&self) -> bool {
        self.base.starts_with("http://")
    }
}

/// What a pull brought.
#[derive(Debug)]
pub struct Brought {
    pub record: Record,
    /// Whether bytes were moved.
    pub fetched: bool,
}

/// The registries, as a node sees them.
pub struct Registry {
    http: Arc<Http>,
    settings: Registries,
    /// Whether registries that may do without TLS do so.
    plain: Mutex<HashMap<String, bool>>,
    downloads: Turns<Digest>,
}

/// The registry of names without one, and where it really is. Source: docker.
const DOCKER_HUB: [&str; 2] = ["docker.io", "index.docker.io"];
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";
/// How every module begins.
const MAGIC: &[u8] = b"\0asm";

impl Registry {
    /// Reaches registries through `http`.
    pub fn new(http: Arc<Http>, settings: Registries) -> Self {
        Self { http, settings, plain: Mutex::default(), downloads: Turns::default() }
    }

    /// Brings an image, or finds that the store has it still; names it.
    ///
    /// # Errors
    /// When no mirror and no registry gives it, or it is nothing for this node.
    ///
    /// # Cancel safety
    /// Dropped half-way, it leaves what it has of the bytes for the next pull.
    pub async fn pull(
        &self,
        reference: &Reference,
        keyring: &Keyring,
        signers: &[Signer],
        store: &ImageStore,
    ) -> Result<Brought, RegistryError> {
        let Some((host, path)) = reference.registry() else {
            return Err(RegistryError::NotFound { host: reference.to_string() });
        };
        let mut failures = Vec::new();
        for (endpoint, known_as) in self.endpoints(host, path).await {
            let credentials = keyring.lookup(&known_as);
            let attempts = credentials.iter().map(|it| Some(*it)).chain(credentials.is_empty().then_some(None));
            for credential in attempts {
                let session = self.session(endpoint.clone(), credential.cloned(), Action::Pull);
                let pull = Pull { registry: self, session: &session, reference, signers, store };
                match pull.run(reader(endpoint.host(), credential)).await {
                    Ok(brought) => return Ok(brought),
                    // Whoever holds it, it is what it is.
                    Err(error) if error.is_final() => return Err(error),
                    Err(error) => failures.push(error),
                }
            }
        }
        match failures.len() {
            1 => Err(failures.remove(0)),
            _ => Err(RegistryError::Several(failures)),
        }
    }

    /// Talks to the registry of a name itself, not to a mirror.
    pub async fn open(&self, host: &str, path: &str, credential: Option<Credential>, action: Action) -> Session {
        let endpoint = self.origin(host, path).await;
        self.session(endpoint, credential, action)
    }

    fn session(&self, endpoint: Endpoint, credential: Option<Credential>, action: Action) -> Session {
        Session::new(self.http.clone(), endpoint, credential, action)
    }

    /// The mirrors, and then the registry itself; each with the name by which its credentials are found.
    async fn endpoints(&self, host: &str, path: &str) -> Vec<(Endpoint, String)> {
        let origin = self.origin(host, path).await;
        let of_host = |mirror: &&crate::config::Mirror| mirror.registry == host || mirror.registry == "*";
        let mirrored = self.settings.mirrors.iter().filter(of_host).map(|mirror| {
            let endpoint = Endpoint { base: mirror.url.trim_end_matches('/').to_owned(), path: origin.path.clone() };
            let known_as = format!("{}/{}", endpoint.host(), endpoint.path);
            (endpoint, known_as)
        });
        let mut all: Vec<_> = mirrored.collect();
        all.push((origin, format!("{host}/{path}")));
        all
    }

    async fn origin(&self, host: &str, path: &str) -> Endpoint {
        if DOCKER_HUB.contains(&host) {
            let path = if path.contains('/') { path.to_owned() } else { format!("library/{path}") };
            return Endpoint { base: format!("https://{DOCKER_HUB_HOST}"), path };
        }
        let scheme = if self.is_plain(host).await { "http" } else { "https" };
        Endpoint { base: format!("{scheme}://{host}"), path: path.to_owned() }
    }

    /// Whether a registry is spoken to without TLS: never, but where the node's settings allow it, or on this machine,
    /// and there only if TLS does not answer.
    async fn is_plain(&self, host: &str) -> bool {
        if !self.settings.insecure.iter().any(|insecure| insecure == host) && !is_local(host) {
            return false;
        }
        let known = self.plain.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        if let Some(known) = known {
            return known;
        }
        let (name, port) = split_port(host);
        let is_plain = !self.http.speaks_tls(name, port.unwrap_or(443)).await;
        // TLS that was seen once is not given up again; who answers without may only not be up yet.
        if !is_plain {
            self.plain.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned(), false);
        }
        is_plain
    }
}

fn reader(host: &str, credential: Option<&Credential>) -> Reader {
    credential.map_or(Reader::Anybody, |credential| Reader::Holder(credential.fingerprint(host)))
}

/// Whether what a record says of its readers lets this keyring have the image: anybody, or who holds credentials that
/// the registry took before.
pub fn may_read(record: &Record, reference: &Reference, keyring: &Keyring) -> bool {
    if record.is_for_all() {
        return true;
    }
    let Some((host, path)) = reference.registry() else { return false };
    let host_there = if DOCKER_HUB.contains(&host) { DOCKER_HUB_HOST } else { host };
    let credentials = keyring.lookup(&format!("{host}/{path}"));
    credentials.into_iter().any(|it| record.readers.contains(&reader(host_there, Some(it))))
}

fn is_local(host: &str) -> bool {
    let (name, _) = split_port(host);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

/// One attempt at an image: one registry, one user.
struct Pull<'a> {
    registry: &'a Registry,
    session: &'a Session,
    reference: &'a Reference,
    signers: &'a [Signer],
    store: &'a ImageStore,
}

impl Pull<'_> {
    async fn run(&self, reader: Reader) -> Result<Brought, RegistryError> {
        let named = match self.reference {
            Reference::Name { digest: Some(digest), .. } => digest.to_string(),
            Reference::Name { tag, .. } => tag.clone(),
            other => return Err(RegistryError::NotFound { host: other.to_string() }),
        };
        let top = self.manifest(&named).await?;
        let (image, chosen) = match Manifest::parse(&top.bytes)? {
            Manifest::Image(image) => (image, top.digest),
            Manifest::Index(entries) => {
                let entry = manifest::pick(&entries)?.digest;
                let raw = self.manifest(&entry.to_string()).await?;
                let Manifest::Image(image) = Manifest::parse(&raw.bytes)? else {
                    return Err(ContentError::Malformed("an index within an index").into());
                };
                (image, entry)
            }
        };
        let signer = self.check_signature(&[top.digest, chosen]).await?;

        let known = self.known(&top.digest)?;
        let fetched = known.is_none();
        let mut record = match known {
            Some(record) => record,
            None => Record { manifest: Some(top.digest), ..self.bring(&image).await? },
        };
        if !record.readers.contains(&reader) {
            record.readers.push(reader);
        }
        record.signer = signer;
        self.store.name(&self.names(&top.digest), &record)?;
        Ok(Brought { record, fetched })
    }

    async fn manifest(&self, named: &str) -> Result<Raw, RegistryError> {
        let host = || self.session.host().to_owned();
        self.session.manifest(named).await?.ok_or_else(|| RegistryError::NotFound { host: host() })
    }

    /// What the store has of just this image.
    fn known(&self, manifest: &Digest) -> Result<Option<Record>, StoreError> {
        let Reference::Name { name, tag, .. } = self.reference else { return Ok(None) };
        let exact = Reference::Name { name: name.clone(), tag: tag.clone(), digest: Some(*manifest) };
        Ok(self.store.resolve(&exact)?.filter(|record| record.manifest == Some(*manifest)))
    }

    fn names(&self, manifest: &Digest) -> Vec<String> {
        let Reference::Name { name, digest, .. } = self.reference else { return Vec::new() };
        let by_tag = digest.is_none().then(|| self.reference.store_name());
        [format!("{name}@{manifest}")].into_iter().chain(by_tag).collect()
    }

    /// Checks that somebody whom the node trusts has signed one of these; who.
    async fn check_signature(&self, images: &[Digest; 2]) -> Result<Option<String>, RegistryError> {
        if self.signers.is_empty() {
            return Ok(None);
        }
        for image in images {
            if let Some(signer) = self.signer(image).await? {
                return Ok(Some(signer.fingerprint()));
            }
        }
        Err(RegistryError::Unsigned(signature::tag(&images[0])))
    }

    async fn signer(&self, image: &Digest) -> Result<Option<&Signer>, RegistryError> {
        let Some(raw) = self.session.manifest(&signature::tag(image)).await? else { return Ok(None) };
        let Manifest::Image(Layers { layers, .. }) = Manifest::parse(&raw.bytes)? else { return Ok(None) };
        for layer in layers.iter().filter(|layer| layer.media_type == PAYLOAD_TYPE) {
            let Some(signature) = &layer.signature else { continue };
            let payload = self.session.blob(layer, IMAGE_ANSWER_BYTES_MAX).await?;
            if let Some(signer) = signature::signer(self.signers, image, &payload, signature) {
                return Ok(Some(signer));
            }
        }
        Ok(None)
    }

    async fn bring(&self, image: &Layers) -> Result<Record, RegistryError> {
        match image.content()? {
            Content::Module(part) => {
                let turn = self.registry.downloads.of(part.digest);
                let _turn = turn.lock().await;
                if !self.store.blob(&part.digest).exists() {
                    let staged = self.download(part).await?;
                    let (store, digest) = (self.store.clone(), part.digest);
                    blocking(move || {
                        if !begins_with(&staged.open()?, MAGIC)? {
                            return Err(RegistryError::NoModule);
                        }
                        Ok(store.adopt(staged, &digest)?)
                    })
                    .await?;
                }
                Ok(Record::of(part.digest))
            }
            Content::Files { config, layers } => self.bring_files(config, layers).await,
        }
    }

    async fn bring_files(&self, config: &Part, parts: &[Part]) -> Result<Record, RegistryError> {
        let config: Bytes = self.session.blob(config, IMAGE_MANIFEST_BYTES_MAX).await?;
        let Main { program, path } = manifest::main_of(&config)?;
        // The same layer may lie there twice. Taken in order, so that nobody waits for whom they let wait.
        let each: BTreeMap<Digest, &Part> = parts.iter().map(|part| (part.digest, part)).collect();
        let mut turns = Vec::new();
        for digest in each.keys() {
            turns.push(self.registry.downloads.of(*digest).lock_owned().await);
        }
        let mut staged = Vec::new();
        for (digest, part) in each {
            staged.push((digest, self.download(part).await?));
        }
        let order: Vec<Digest> = parts.iter().map(|part| part.digest).collect();
        let store = self.store.clone();
        let digest = blocking(move || {
            let file = |digest: &Digest| -> Result<File, StoreError> {
                let (_, staged) = staged.iter().find(|(own, _)| own == digest).expect("each layer was brought");
                staged.open()
            };
            let files = order.iter().map(file).collect::<Result<Vec<_>, _>>()?;
            let mut incoming = store.begin()?;
            layers::extract::<RegistryError>(&files, path.as_deref(), |bytes| Ok(incoming.write_all(bytes)?))?;
            if !incoming.begins_with(MAGIC)? {
                return Err(RegistryError::NoModule);
            }
            Ok(incoming.place_any()?)
        })
        .await?;
        drop(turns);
        Ok(Record { program, ..Record::of(digest) })
    }

    async fn download(&self, part: &Part) -> Result<Staged, RegistryError> {
        let (store, digest, bytes) = (self.store.clone(), part.digest, part.bytes);
        let mut incoming = blocking(move || Ok(store.resume(digest, bytes)?)).await?;
        self.session.download(part, &mut incoming).await?;
        Ok(incoming.staged(&part.digest)?)
    }
}

fn begins_with(file: &File, magic: &[u8]) -> Result<bool, RegistryError> {
    use std::io::Read;
    let mut head = Vec::new();
    file.take(magic.len() as u64).read_to_end(&mut head).map_err(LayersError::Broken)?;
    Ok(head == magic)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    let panicked = |error: tokio::task::JoinError| Err(LayersError::Broken(error.into()).into());
    tokio::task::spawn_blocking(work).await.unwrap_or_else(panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_told_from_others() {
        let local = ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]:5000"];
        assert!(local.iter().all(|host| is_local(host)));
        let remote = ["localhost.example", "10.0.0.1:5000", "registry.example:443", "[2001:db8::1]"];
        assert!(!remote.iter().any(|host| is_local(host)));
    }
}
