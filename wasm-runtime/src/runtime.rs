//! The runtime of a process: one engine, its artifacts, its guest threads.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::account::Memory;
use crate::artifact::{Artifact, Digest};
use crate::cache::Cache;
use crate::config::Config;
use crate::container::{Container, StartError, prepare, prepare_within};
use crate::descriptors::Descriptors;
use crate::exit::Exit;
use crate::limits::{MAPPINGS_DEFAULT, MAPPINGS_OWN, MAPPINGS_PER_INSTANCE};
use crate::load::{LoadError, Loader, Progress, Source};
use crate::sandbox::Host;
use crate::schedule::{Ticker, Turns};
use crate::spec::{ContainerSpec, ExecSpec};
use crate::threads::GuestThreads;

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// This host cannot run the engine.
    #[error("cannot run WebAssembly on this machine: {message}")]
    Engine {
        /// What is missing.
        message: String,
    },
    /// The folder for compiled code cannot be used.
    #[error("cannot keep compiled code in {dir:?}")]
    Cache {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Runs WebAssembly. Make one a process, and clone it.
///
/// Making it takes well under a millisecond: threads are started by the first compilation and the
/// first container. Dropping the last clone does not end containers; dropping their handles does.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    loader: Arc<Loader>,
    host: Host,
    threads: GuestThreads,
}

impl Runtime {
    /// Makes a runtime.
    ///
    /// # Errors
    ///
    /// When the machine or the folder for compiled code is not fit for it.
    pub fn new(config: Config) -> Result<Self, RuntimeError> {
        let open = |dir: PathBuf| Cache::open(&dir).map_err(|source| RuntimeError::Cache { dir, source });
        let cache = config.cache_dir.map(open).transpose()?;
        let threads = GuestThreads::new(config.guest_threads);
        let host = Host {
            ticker: Arc::new(Ticker::new()),
            turns: Turns::new(threads.executing_max()),
            memory: Arc::new(Memory::new(config.memory_bytes_max, None)),
            descriptors: Arc::new(Descriptors::of_this_process()),
        };
        let loader = Loader::new(cache, host.ticker.clone())
            .map_err(|error| RuntimeError::Engine { message: format!("{error:#}") })?;
        Ok(Self { inner: Arc::new(Inner { loader: Arc::new(loader), host, threads }) })
    }

    /// Loads a `.wasm`: compiles it, unless this process or the cache has it already, and links it.
    /// Concurrent loads of the same bytes share one compilation.
    ///
    /// # Errors
    ///
    /// When it cannot be read or cannot be run here.
    ///
    /// # Cancel safety
    ///
    /// A compilation that has begun goes on, and leaves its result in the cache.
    pub async fn load(&self, source: impl Into<Source>) -> Result<Arc<Artifact>, LoadError> {
        self.inner.loader.load(source.into(), Arc::new(|_| {})).await
    }

    /// Loads as [`load`](Self::load) does, and tells how that gets on. `tell` is called on a thread of the compiler.
    ///
    /// # Errors
    ///
    /// When it cannot be read or cannot be run here.
    ///
    /// # Cancel safety
    ///
    /// A compilation that has begun goes on, and leaves its result in the cache.
    pub async fn load_telling(
        &self,
        source: impl Into<Source>,
        tell: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Arc<Artifact>, LoadError> {
        self.inner.loader.load(source.into(), Arc::new(tell)).await
    }

    /// The artifact of `digest`, if it has been loaded: what spares reading a large file again.
    pub fn loaded(&self, digest: Digest) -> Option<Arc<Artifact>> {
        self.inner.loader.get(digest)
    }

    /// Forgets an artifact, in memory and in the cache. Containers that run it go on.
    pub fn forget(&self, digest: Digest) {
        self.inner.loader.forget(digest);
    }

    /// Starts a container on the guest threads. When this returns, a `wasi:http` guest's addresses
    /// are bound.
    ///
    /// # Errors
    ///
    /// When something that the spec grants is not to be had.
    pub fn start(&self, artifact: &Arc<Artifact>, spec: ContainerSpec) -> Result<Container, StartError> {
        let threads = &self.inner.threads;
        let handle = if artifact.program.is_server() { threads.servers() } else { threads.commands() };
        let (container, life) = prepare(artifact.clone(), spec, self.inner.host.clone(), handle)?;
        self.spawn(life, handle);
        Ok(container)
    }

    /// Runs the program of a running container once more, beside it: on its mounts, environment and network, within
    /// its limits. It is killed with the container, and its memory and CPU count as the container's.
    ///
    /// # Errors
    ///
    /// When the container has ended, or its program is no command.
    pub fn exec(&self, container: &Container, spec: ExecSpec) -> Result<Container, StartError> {
        let (exec, life) = prepare_within(container, spec)?;
        self.spawn(life, self.inner.threads.commands());
        Ok(exec)
    }

    fn spawn(&self, life: impl Future<Output = ()> + Send + 'static, threads: &Handle) {
        // The threads outlive what runs on them.
        let inner = self.inner.clone();
        threads.spawn(async move {
            life.await;
            drop(inner);
        });
    }

    /// Runs a container on the caller's own task, for a process that does nothing else: no guest
    /// thread is started.
    ///
    /// # Errors
    ///
    /// When something that the spec grants is not to be had.
    ///
    /// # Cancel safety
    ///
    /// Dropping it kills the guest.
    pub async fn run(&self, artifact: &Arc<Artifact>, spec: ContainerSpec) -> Result<Exit, StartError> {
        let host = self.inner.host.clone();
        let (container, life) = prepare(artifact.clone(), spec, host, &Handle::current())?;
        life.await;
        Ok(container.wait().await)
    }

    /// How many instances of small programs this process has room for: the kernel bounds the
    /// mappings of a process (`vm.max_map_count`), of which a few are left for everything else.
    pub fn instances_max(&self) -> usize {
        let mappings = fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        let mappings = mappings.and_then(|count| count.trim().parse().ok()).unwrap_or(MAPPINGS_DEFAULT);
        usize::saturating_sub(mappings, MAPPINGS_OWN) / MAPPINGS_PER_INSTANCE
    }

    /// Memory that all guests hold together.
    pub fn memory_bytes(&self) -> u64 {
        self.inner.host.memory.bytes()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("host", &self.inner.host).finish_non_exhaustive()
    }
}
