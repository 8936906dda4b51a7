//! What the kubelet needs of whatever runs guests: the [`Runtime`] and [`Container`] traits.
//!
//! [`wasm`] adapts `coracle-runtime` to it and is the only file that names that crate; [`fake`] keeps containers in
//! memory, for tests and for clusters whose nodes only pretend. Everything else in this crate sees these traits.

pub mod fake;
pub mod wasm;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, DuplexStream};

use crate::images::Image;

pub use fake::FakeRuntime;
pub use wasm::WasmRuntime;

/// Runs guests.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version, as `nodeInfo.containerRuntimeVersion` has them: `wasmtime://48.0.8`.
    fn version(&self) -> String;

    /// The scheme of container ids: `wasm` in `wasm://…`.
    fn scheme(&self) -> &'static str {
        "wasm"
    }

    /// Labels that say what guests the node can run.
    fn labels(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether any image name will do, and no image is ever looked up: so with a fake.
    fn takes_any_image(&self) -> bool {
        false
    }

    /// Makes an image ready to start: checked, compiled, linked; quick when that was done before. What takes time is told.
    ///
    /// # Errors
    /// [`LoadError`], when the image is not one that this runtime can run.
    async fn load(&self, image: &Image, tell: Tell) -> Result<Arc<dyn Module>, LoadError>;
}

/// Who is told how a load gets on. Must not block.
pub type Tell = Arc<dyn Fn(Progress) + Send + Sync>;

/// How a load gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An image of this size is being compiled.
    Compiling { bytes: u64 },
    /// It has been, in this time.
    Compiled { bytes: u64, took: Duration },
}

/// A loaded image.
#[async_trait]
pub trait Module: Send + Sync {
    /// Whether a guest of it can open files at all; one that cannot needs no mounts.
    fn opens_files(&self) -> bool;

    /// Starts a container of it; it runs when this returns.
    ///
    /// # Errors
    /// [`StartError`], when it cannot.
    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError>;

    /// Whether a guest of it runs from start to end: one that serves has an instance a request, and no last words.
    fn is_program(&self) -> bool;
}

/// Why an image cannot run here. The texts go into container statuses as they are.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    pub message: String,
    /// Whether a later attempt could end differently (a full disk, say); the image's own faults are final.
    pub transient: bool,
}

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    pub message: String,
}

/// What a container is given, and nothing else.
pub struct ContainerSpec {
    /// `argv`, the program's name first.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
    /// Without it, standard input is at its end.
    pub stdin: Option<Input>,
    pub stdout: Arc<dyn Sink>,
    pub stderr: Arc<dyn Sink>,
    pub limits: Limits,
    /// Where a guest that serves HTTP is to be reached.
    pub http: Vec<SocketAddr>,
    /// The pod's own address.
    pub address: Option<IpAddr>,
    /// What names mean to it.
    pub names: Arc<dyn Names>,
    pub hostname: String,
    /// Whether the standard streams are said to be a terminal.
    pub tty: bool,
    /// Where relative paths begin.
    pub cwd: Option<String>,
}

/// Answers a guest's questions for addresses.
#[async_trait]
pub trait Names: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `name`, at least one. It is neither an address itself nor `localhost`.
    ///
    /// # Errors
    /// When there are none, or they cannot be found out now.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved>;
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// Nobody has it.
    NotFound,
    /// It cannot be found out now.
    Temporary,
}

/// What a guest reads.
pub type Input = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// What a further run of a container's module is given; the rest is the container's.
pub struct Exec {
    /// `argv`, the program's name first.
    pub args: Vec<String>,
    /// Without it, standard input is at its end.
    pub stdin: Option<Input>,
    pub stdout: Arc<dyn Sink>,
    pub stderr: Arc<dyn Sink>,
    pub tty: bool,
}

/// How much a container may use. It may change while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub memory_bytes_max: Option<u64>,
    pub cpu_millis_max: Option<u32>,
    /// The share under contention, as `requests.cpu` in thousandths.
    pub cpu_millis_requested: u32,
}

/// A folder of the host that the guest sees.
#[derive(Clone, Debug)]
pub struct Mount {
    pub host: PathBuf,
    pub guest: String,
    pub read_only: bool,
    /// What makes `host` a path, where it names an open descriptor: to be kept as long as the container.
    pub hold: Option<Arc<OwnedFd>>,
}

/// Takes what a guest writes; called on the guest's thread.
#[async_trait]
pub trait Sink: Send + Sync + 'static {
    /// Takes these bytes, all of them.
    fn write(&self, bytes: &[u8]);

    /// Whether it wants more now; while it does not, the guest waits in its call for [`Sink::ready`].
    fn is_ready(&self) -> bool {
        true
    }

    /// Waits until it may want more.
    async fn ready(&self) {}
}

/// A running container.
#[async_trait]
pub trait Container: Send + Sync {
    /// Waits until the guest is there: its first instruction, or its HTTP listener.
    async fn ready(&self);

    /// Waits for its end. May be called more than once.
    async fn wait(&self) -> Exit;

    /// Asks it to end: listeners close and requests under way finish; a guest that cannot be asked is ended at once.
    fn stop(&self);

    /// Ends it.
    fn kill(&self);

    /// What it used so far.
    fn usage(&self) -> Usage;

    /// Gives it other limits from now on.
    ///
    /// # Errors
    /// [`StartError`], when it keeps those that it has.
    fn resize(&self, limits: Limits) -> Result<(), StartError>;

    /// A connection to its guest that no socket is needed for, where this runtime serves the guest's HTTP itself, at this
    /// port; `None` where it does not.
    fn connect(&self, _port: u16) -> Option<DuplexStream> {
        None
    }

    /// The folders of the host that it sees.
    fn mounts(&self) -> &[Mount];

    /// The pod's address, if it has one.
    fn address(&self) -> Option<IpAddr> {
        None
    }

    /// Runs its module once more, beside it: on the same mounts, environment and address, within the same limits, and
    /// no longer than it lives. Dropping what this returns ends that run.
    ///
    /// # Errors
    /// [`StartError`], when the container has ended or its module has nothing to run.
    async fn exec(&self, exec: Exec) -> Result<Arc<dyn Container>, StartError>;
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    /// It wanted more memory than its limit.
    OutOfMemory,
    /// It did what WebAssembly forbids.
    Trap {
        message: String,
    },
    /// By [`Container::stop`].
    Stopped,
    /// By [`Container::kill`].
    Killed,
}

/// What a container used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_time: Duration,
    pub memory_bytes: u64,
    pub memory_bytes_peak: u64,
}
