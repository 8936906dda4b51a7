//! The folders that a pod's containers see: made before its first container starts, kept as the API has them while it
//! runs, removed after its last has ended.
//!
//! ```text
//! ROOT/pods/<uid>/volumes/<name>/…              an emptyDir, or what an [`atomic`] writer keeps of the API
//! ROOT/pods/<uid>/containers/<name>/<instance>  see [`grant`]
//! MEMORY/<uid>/<name>/…                         an emptyDir of medium Memory
//! ```
//!
//! The pods' folders are open to the kubelet's user alone, as whom all guests run. What comes from the API is written anew by
//! a kubelet that starts again; an `emptyDir` lives as long as its pod. Folders of the host are never copied: a
//! [`host_path`], and a [`claim`] that is bound to one, are granted as they are. Source: kubelet's volume plugins.

pub mod atomic;
pub mod beneath;
pub mod claim;
mod dir;
pub mod files;
pub mod follow;
pub mod grant;
pub mod host_path;
mod keep;
pub mod source;
pub mod token;
pub mod usage;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use coracle_client::{EventType, Key, reference};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_blocking};

use self::claim::Claim;
pub use self::dir::{PodDir, PodDirs, is_in_memory};
use self::follow::Followed;
use self::host_path::Refusal;
use self::source::Reader;
use self::token::Tokens;
use super::host::Host;
use super::state::Failure;
use crate::runtime::Mount;

/// What API servers call the volume by which they give every pod a token. Source: the `ServiceAccount` admission plugin.
const API_ACCESS: &str = "kube-api-access-";

/// Why a container's environment, mounts or the like cannot be made. Source: kubelet, `ErrCreateContainerConfig`.
pub const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// Whether a volume is the API access that every pod is given unasked. It is made when a container that opens files is
/// about to start: most small guests cannot, and thousands of them pay no token and no files for what nobody can read.
fn is_api_access(volume: &core::Volume) -> bool {
    volume.name.starts_with(API_ACCESS) && volume.projected.is_some()
}

/// What of its volumes a container can make use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Its module cannot open files, or is there to pretend: it has no use for the API. The pod's own volumes are there for
    /// those who copy from and to them.
    Volumes,
    All,
}

fn volumes(pod: &core::Pod) -> impl Iterator<Item = &core::Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// The volumes of one pod. Held by its worker; once that lets go of it, nothing is kept up any more.
pub struct PodVolumes {
    host: Arc<Host>,
    key: Key,
    uid: String,
    made: tokio::sync::Mutex<Made>,
    /// The API's objects, or the pod itself, may be others.
    wake: Arc<Notify>,
    /// There are other tokens.
    retime: Arc<Notify>,
    keeper: Mutex<Option<AbortHandle>>,
}

/// What was made so far.
struct Made {
    /// As it was when its volumes were made.
    pod: Arc<core::Pod>,
    address: Option<Ipv4Addr>,
    has_api_access: bool,
    tokens: Tokens,
    claims: BTreeMap<String, Claim>,
    followed: Vec<Arc<Followed>>,
}

impl Default for Made {
    fn default() -> Self {
        /// Most pods have no volumes but their API access, and an empty pod is not small.
        static NONE: LazyLock<Arc<core::Pod>> = LazyLock::new(Arc::default);
        Self {
            pod: NONE.clone(),
            address: None,
            has_api_access: false,
            tokens: Tokens::default(),
            claims: BTreeMap::new(),
            followed: Vec::new(),
        }
    }
}

impl Drop for PodVolumes {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl PodVolumes {
    /// The volumes of a pod; nothing is made yet.
    pub(super) fn new(host: Arc<Host>, key: Key, uid: String) -> Arc<Self> {
        Arc::new(Self {
            host,
            key,
            uid,
            made: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            retime: Arc::default(),
            keeper: Mutex::default(),
        })
    }

    /// Whether a pod has volumes at all.
    pub fn are_wanted(pod: &core::Pod) -> bool {
        volumes(pod).any(|volume| !is_api_access(volume))
    }

    /// Makes the volumes of `pod`, but for its API access.
    ///
    /// # Errors
    /// What is missing; the kubelet tries again, unless it is [`CONFIG_ERROR`].
    pub async fn prepare(self: &Arc<Self>, pod: Arc<core::Pod>, address: Ipv4Addr) -> Result<(), Failure> {
        let mut made = self.made.lock().await;
        made.pod = pod.clone();
        made.address = Some(address);
        made.followed.clear();
        let mut failures = Vec::new();
        for volume in volumes(&pod).filter(|volume| !is_api_access(volume)) {
            if let Err(failure) = self.make(volume, &mut made).await {
                failures.push(failure);
            }
        }
        self.start_keeping(&made);
        // The first is told by whoever asked.
        for failure in failures.iter().skip(1) {
            self.tell(&made.pod, failure);
        }
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// What a container of `pod` sees, in the order of its `volumeMounts`.
    ///
    /// # Errors
    /// When something is not there, or would lead out of its volume.
    pub async fn mounts(
        self: &Arc<Self>,
        (pod, address): (&Arc<core::Pod>, Ipv4Addr),
        container: &core::Container,
        instance: u32,
        env: &[(String, String)],
        reads: Reads,
    ) -> Result<Vec<Mount>, Failure> {
        let mut container = container.clone();
        if reads != Reads::All
            && let Some(mounts) = &mut container.volume_mounts
        {
            mounts.retain(|mount| volumes(pod).all(|volume| volume.name != mount.name || !is_api_access(volume)));
        }
        let has_none = container.volume_mounts.as_ref().is_none_or(Vec::is_empty);
        if has_none && container.working_dir.is_none() {
            return Ok(Vec::new());
        }
        let mut made = self.made.lock().await;
        if made.address.is_none() {
            made.pod = pod.clone();
            made.address = Some(address);
        }
        if reads == Reads::All && !made.has_api_access {
            let pod = made.pod.clone();
            for volume in volumes(&pod).filter(|volume| is_api_access(volume)) {
                self.make(volume, &mut made).await?;
                made.has_api_access = true;
            }
            self.start_keeping(&made);
        }
        let (dir, pod, claims) = (self.dir(), made.pod.clone(), made.claims.clone());
        let (granted, env) = (self.host.config.host_paths.clone(), env.to_vec());
        let grants = spawn_blocking(move || {
            let (dir, pod, claims) = (&dir, &*pod, &claims);
            let (granted, container, env) = (&granted[..], &container, &env[..]);
            grant::Grantor { dir, pod, claims, granted, container, instance, env }.grants()
        });
        let grants = grants.await.map_err(|error| error.to_string()).and_then(|grants| grants);
        grants.map_err(|message| Failure { reason: CONFIG_ERROR, message })
    }

    /// The text of a file of a volume, for an environment variable.
    ///
    /// # Errors
    /// When it is not there, or leads out of the volume.
    pub async fn read(&self, volume: &str, path: &str) -> std::io::Result<Vec<u8>> {
        let made = self.made.lock().await;
        let found = volumes(&made.pod).find(|known| known.name == volume).ok_or(std::io::ErrorKind::NotFound)?;
        let folder = beneath::Held::folder(&self.dir().volume(found))?;
        folder.find(Path::new(path))?.read(crate::limits::ENV_FILE_BYTES_MAX)
    }

    /// The API has another version of the pod.
    pub fn pod_changed(&self, pod: &core::Pod) {
        if volumes(pod).any(|volume| source::shows_pod(volume) && !is_api_access(volume)) {
            self.wake.notify_one();
        }
    }

    /// Ends what keeps the volumes up.
    pub fn let_go(&self) {
        if let Some(keeper) = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take() {
            keeper.abort();
        }
    }

    /// The pod's folder.
    pub fn dir(&self) -> PodDir {
        self.host.dirs.of(&self.uid)
    }

    async fn make(&self, volume: &core::Volume, made: &mut Made) -> Result<(), Failure> {
        let name = &volume.name;
        let refused = |refusal| match refusal {
            Refusal::Now(why) => mount_failure(name, &why),
            Refusal::Ever(why) => Failure { reason: CONFIG_ERROR, message: format!("spec.volumes[{name}]: {why}") },
        };
        let granted = &self.host.config.host_paths;
        if let Some(host) = &volume.host_path {
            let type_ = host.type_.as_deref().unwrap_or_default();
            return host_path::open(Path::new(&host.path), type_, granted).map(drop).map_err(refused);
        }
        if volume.empty_dir.is_some() {
            return atomic::make_dir(&self.dir().volume(volume))
                .map_err(|error| mount_failure(name, &error.to_string()));
        }
        if source::is_from_api(volume) {
            let namespace = made.pod.metadata.namespace.clone().unwrap_or_default();
            for object in source::objects(volume, &namespace) {
                made.followed.push(self.host.follower.follow(object, &self.wake));
            }
            let now = self.host.clock.wall();
            return self.write(volume, made, now).await.map_err(|why| mount_failure(name, &why));
        }
        let claim = claim::resolve(volume, &made.pod, &self.host.client).await.map_err(refused)?;
        host_path::open(&claim.path, &claim.type_, granted).map_err(refused)?;
        made.claims.insert(name.clone(), claim);
        Ok(())
    }

    /// Writes what the API has of a volume now.
    async fn write(&self, volume: &core::Volume, made: &mut Made, now: Timestamp) -> Result<(), String> {
        let facts = self.host.facts(&made.pod, made.address.unwrap_or(Ipv4Addr::UNSPECIFIED));
        let mut reader = Reader { client: &self.host.client, facts, tokens: &mut made.tokens, now };
        let files = reader.files(volume).await?;
        files::check(&files)?;
        let path = self.dir().volume(volume);
        let written = spawn_blocking(move || atomic::write(&path, &files, now)).await;
        written.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(())
    }

    fn tell(&self, pod: &core::Pod, failure: &Failure) {
        self.host.recorder.event_on(reference(pod), EventType::Warning, failure.reason, failure.message.clone());
    }
}

fn mount_failure(name: &str, why: &str) -> Failure {
    Failure { reason: "FailedMount", message: format!("MountVolume.SetUp failed for volume {name:?} : {why}") }
}
