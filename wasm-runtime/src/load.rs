//! From bytes to an artifact: read, inspected, compiled once, linked once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::spawn_blocking;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p3::bindings::CommandPre as AsyncCommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::artifact::{Artifact, Digest, Pooled, Program, Server};
use crate::cache::Cache;
use crate::compile::{Compiler, Panicked};
use crate::engine::{self, Allocation, MemoryInit};
use crate::inspect::{Form, Inspection, Wasi, World, inspect};
use crate::limits::{POOLED_INSTANCES_MAX, WASM_BYTES_MAX};
use crate::offer::Linkers;
use crate::schedule::Ticker;

/// Where a `.wasm` comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// A file of a store that names its files by their digests: it is believed when the compiled code is there already,
    /// and checked before anything is compiled.
    Stored(Digest, PathBuf),
    /// Bytes at hand.
    Bytes(Bytes),
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// How a load gets on that takes its time. One that finds the program compiled says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its turn has come to be compiled.
    Compiling {
        /// Size of the `.wasm`.
        bytes: u64,
    },
    /// It has been compiled.
    Compiled {
        /// Size of the `.wasm`.
        bytes: u64,
        /// How long that took.
        took: Duration,
    },
}

/// Who is told how a load gets on, on a thread of the compiler.
pub(crate) type Tell = Arc<dyn Fn(Progress) + Send + Sync>;

/// Why a `.wasm` cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is larger than [`WASM_BYTES_MAX`].
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// It does not begin as a WebAssembly binary does.
    #[error("not a WebAssembly binary: it begins with {begins:02x?}, not with \"\\0asm\"")]
    NotWasm {
        /// Its first bytes, up to four.
        begins: Vec<u8>,
    },
    /// It is the text format.
    #[error("WebAssembly text, which has to be turned into a binary first (wat2wasm, wasm-tools parse)")]
    Text,
    /// It ends too early.
    #[error("truncated: it ends in the middle of something, at offset {offset:#x}")]
    Truncated {
        /// Where the end was met.
        offset: usize,
    },
    /// It breaks the rules of the format.
    #[error("malformed at offset {offset:#x}: {message}")]
    Malformed {
        /// Where.
        offset: usize,
        /// Which rule.
        message: String,
    },
    /// It imports what this host does not offer.
    #[error("it imports what is not offered here: {}", imports.join(", "))]
    NotOffered {
        /// Every such import.
        imports: Vec<String>,
    },
    /// A module without `_start` and `_initialize`.
    #[error("it exports no function \"_start\" (nor \"_initialize\"), so there is nothing to run")]
    NoStart,
    /// A component that exports no world that can be run.
    #[error(
        "it exports none of wasi:cli/run (0.2, 0.3), wasi:http/incoming-handler (0.2) and wasi:http/handler (0.3), but {}",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
    )]
    NoWorld {
        /// What it exports.
        exports: Vec<String>,
    },
    /// A stored file is not what it is called.
    #[error("its content is not what its digest {digest} says")]
    Altered {
        /// What it is called.
        digest: Digest,
    },
    /// It does not compile: it is invalid, or uses features that are off here.
    #[error("it does not compile: {message}")]
    Compile {
        /// What the compiler said.
        message: String,
    },
    /// An import or export has another type than WASI says.
    #[error("it does not link: {message}")]
    Link {
        /// What does not fit.
        message: String,
    },
}

impl From<Panicked> for LoadError {
    fn from(panicked: Panicked) -> Self {
        Self::Compile { message: panicked.to_string() }
    }
}

/// Loads artifacts, each digest once.
pub(crate) struct Loader {
    copied: Workshop,
    mapped: OnceLock<Workshop>,
    pools: [OnceLock<Option<Pool>>; 2],
    ticker: Arc<Ticker>,
    cache: Option<Cache>,
    compiler: Compiler,
    loaded: Mutex<HashMap<Digest, Arc<OnceCell<Arc<Artifact>>>>>,
}

/// One engine and what programs need of it.
struct Workshop {
    engine: Engine,
    settings: String,
    linkers: Linkers,
}

/// A workshop whose instances live in a pool, and the places that are free there.
struct Pool {
    workshop: Workshop,
    places: Arc<Semaphore>,
}

impl Pool {
    fn open(memory_init: MemoryInit, ticker: &Ticker) -> wasmtime::Result<Self> {
        let workshop = Workshop::open(memory_init, Allocation::Pooled, ticker)?;
        Ok(Self { workshop, places: Arc::new(Semaphore::new(POOLED_INSTANCES_MAX as usize)) })
    }
}

impl Workshop {
    fn open(memory_init: MemoryInit, allocation: Allocation, ticker: &Ticker) -> wasmtime::Result<Self> {
        let engine = engine::new(memory_init, allocation)?;
        ticker.add(&engine);
        let settings = engine::settings_name(&engine);
        Ok(Self { engine, settings, linkers: Linkers::default() })
    }
}

impl Loader {
    /// Makes the first engine.
    pub(crate) fn new(cache: Option<Cache>, ticker: Arc<Ticker>) -> wasmtime::Result<Self> {
        Ok(Self {
            copied: Workshop::open(MemoryInit::Copied, Allocation::OnDemand, &ticker)?,
            mapped: OnceLock::new(),
            pools: Default::default(),
            ticker,
            cache,
            compiler: Compiler::new(),
            loaded: Mutex::default(),
        })
    }

    /// The workshop for a program of `bytes`.
    fn workshop(&self, bytes: u64) -> &Workshop {
        match MemoryInit::of(bytes) {
            MemoryInit::Copied => &self.copied,
            MemoryInit::Mapped => self.mapped.get_or_init(|| {
                Workshop::open(MemoryInit::Mapped, Allocation::OnDemand, &self.ticker)
                    .expect("it differs from the first in a setting that every host has")
            }),
        }
    }

    /// The pool for a server of `bytes`; a machine with little address space has none.
    fn pool(&self, bytes: u64) -> Option<&Pool> {
        let memory_init = MemoryInit::of(bytes);
        let pool = self.pools[memory_init as usize].get_or_init(|| {
            Pool::open(memory_init, &self.ticker)
                .inspect_err(|error| tracing::info!(%error, "there is no pool for the instances of servers"))
                .ok()
        });
        pool.as_ref()
    }

    /// The program of a server in the pool: nothing when it has more parts than a place there.
    fn pooled(&self, digest: Digest, code: &Code, inspection: &Inspection) -> Option<Pooled> {
        let Pool { workshop, places } = self.pool(inspection.bytes)?;
        let fitting = match self.cache.as_ref().and_then(|cache| cache.find(digest, &workshop.settings)) {
            Some(path) => Code::map(&workshop.engine, inspection.form, &path),
            None => code.serialize().and_then(|compiled| Code::copy(&workshop.engine, inspection.form, &compiled)),
        };
        let code = fitting.inspect_err(|error| tracing::debug!(%digest, %error, "a server that does not fit the pool"));
        match workshop.link(&code.ok()?, inspection).ok()? {
            Program::Http(Server { program, .. }) => Some(Pooled { program, places: places.clone() }),
            _ => None,
        }
    }

    /// The artifact of `digest`, if it has been loaded.
    pub(crate) fn get(&self, digest: Digest) -> Option<Arc<Artifact>> {
        self.loaded().get(&digest)?.get().cloned()
    }

    /// Forgets an artifact, in memory and on disk. Containers that run it go on.
    pub(crate) fn forget(&self, digest: Digest) {
        self.loaded().remove(&digest);
        if let Some(cache) = &self.cache {
            for workshop in [Some(&self.copied), self.mapped.get()].into_iter().flatten() {
                cache.remove(digest, &workshop.settings);
            }
        }
    }

    /// Loads `source`; concurrent loads of the same bytes share one compilation, of which one of them is told.
    pub(crate) async fn load(self: &Arc<Self>, source: Source, tell: Tell) -> Result<Arc<Artifact>, LoadError> {
        let Wasm { digest, bytes, is_checked } = blocking(move || read(source)).await?;
        let cell = self.loaded().entry(digest).or_default().clone();
        let wasm = Wasm { digest, bytes, is_checked };
        let loaded = cell.get_or_try_init(|| self.make(wasm, tell)).await.cloned();
        if loaded.is_err() {
            self.forget_failed(digest);
        }
        loaded
    }

    async fn make(self: &Arc<Self>, wasm: Wasm, tell: Tell) -> Result<Arc<Artifact>, LoadError> {
        let loader = self.clone();
        let Wasm { digest, bytes, is_checked } = wasm;
        let wasm = bytes.clone();
        let (inspection, found) = blocking(move || {
            let inspection = inspect(&wasm)?;
            if let Some(refusal) = inspection.refusal() {
                return Err(refusal);
            }
            let code = loader.find(digest, &inspection);
            Ok((inspection, code))
        })
        .await?;
        let code = match found {
            Some(code) => code,
            None => {
                let loader = self.clone();
                let form = inspection.form;
                let size = inspection.bytes;
                let compile = move || {
                    if !is_checked && Digest::of(&bytes) != digest {
                        return Err(LoadError::Altered { digest });
                    }
                    tell(Progress::Compiling { bytes: size });
                    let begun = Instant::now();
                    let code = loader.compile(digest, form, &bytes)?;
                    tell(Progress::Compiled { bytes: size, took: begun.elapsed() });
                    Ok::<_, LoadError>(code)
                };
                self.compiler.run(size, compile).await??
            }
        };
        let mut program = self.workshop(inspection.bytes).link(&code, &inspection)?;
        if let Program::Http(server) = &mut program {
            server.pooled = self.pooled(digest, &code, &inspection);
        }
        Ok(Arc::new(Artifact::new(digest, inspection, program)))
    }

    /// Maps the code that an earlier run left.
    fn find(&self, digest: Digest, inspection: &Inspection) -> Option<Code> {
        let workshop = self.workshop(inspection.bytes);
        let path = self.cache.as_ref()?.find(digest, &workshop.settings)?;
        Code::map(&workshop.engine, inspection.form, &path)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "compiling anew"))
            .ok()
    }

    /// Compiles, and leaves the code for the next time.
    fn compile(&self, digest: Digest, form: Form, bytes: &[u8]) -> Result<Code, LoadError> {
        let Workshop { engine, settings, .. } = self.workshop(bytes.len() as u64);
        let failed = |error: wasmtime::Error| LoadError::Compile { message: format!("{error:#}") };
        let compiled = match form {
            Form::Module => engine.precompile_module(bytes),
            Form::Component => engine.precompile_component(bytes),
        }
        .map_err(failed)?;
        let stored = self.cache.as_ref().and_then(|cache| {
            cache
                .store(digest, settings, &compiled)
                .inspect_err(|error| tracing::warn!(%error, "cannot keep compiled code"))
                .ok()
        });
        match stored {
            Some(path) => Code::map(engine, form, &path),
            None => Code::copy(engine, form, &compiled),
        }
        .map_err(failed)
    }

    /// Lets the next load of a failed digest start over, unless somebody has already.
    fn forget_failed(&self, digest: Digest) {
        let mut loaded = self.loaded();
        if loaded.get(&digest).is_some_and(|cell| cell.get().is_none() && Arc::strong_count(cell) <= 2) {
            loaded.remove(&digest);
        }
    }

    fn loaded(&self) -> MutexGuard<'_, HashMap<Digest, Arc<OnceCell<Arc<Artifact>>>>> {
        // A map is whole between its operations.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workshop {
    fn link(&self, code: &Code, inspection: &Inspection) -> Result<Program, LoadError> {
        match code {
            Code::Module(module) => self.link_module(module),
            Code::Component(component) => self.link_component(component, inspection),
        }
        .map_err(|error| LoadError::Link { message: format!("{error:#}") })
    }

    fn link_module(&self, module: &Module) -> wasmtime::Result<Program> {
        for name in ["_initialize", "_start"] {
            let function = module.get_export(name).and_then(|export| export.func().cloned());
            if function.is_some_and(|function| function.params().len() + function.results().len() > 0) {
                wasmtime::bail!("{name:?} must be a function without parameters and results");
            }
        }
        Ok(Program::Module(self.linkers.module(&self.engine).instantiate_pre(module)?))
    }

    fn link_component(&self, component: &Component, inspection: &Inspection) -> wasmtime::Result<Program> {
        let linked = self.linkers.component(&self.engine).instantiate_pre(component)?;
        Ok(match (inspection.world, inspection.entry) {
            (World::HttpProxy, Some(Wasi::P3)) => Program::AsyncHttp(ServicePre::new(linked)?),
            (World::HttpProxy, _) => Program::Http(Server { program: ProxyPre::new(linked)?, pooled: None }),
            (_, Some(Wasi::P3)) => Program::AsyncCommand(AsyncCommandPre::new(linked)?),
            _ => Program::Command(CommandPre::new(linked)?),
        })
    }
}

/// Machine code, mapped or copied.
enum Code {
    Module(Module),
    Component(Component),
}

impl Code {
    /// Maps a file of the cache, which [verified](crate::cache) or has just written it.
    fn map(engine: &Engine, form: Form, path: &Path) -> wasmtime::Result<Self> {
        // SAFETY: the file was written by this program and is as it was: the cache checks owner,
        // mode and checksum, nobody else can enter its folder, and files are replaced, not changed.
        unsafe {
            Ok(match form {
                Form::Module => Self::Module(Module::deserialize_file(engine, path)?),
                Form::Component => Self::Component(Component::deserialize_file(engine, path)?),
            })
        }
    }

    fn serialize(&self) -> wasmtime::Result<Vec<u8>> {
        match self {
            Self::Module(module) => module.serialize(),
            Self::Component(component) => component.serialize(),
        }
    }

    /// Copies what an engine of the same settings has compiled.
    fn copy(engine: &Engine, form: Form, compiled: &[u8]) -> wasmtime::Result<Self> {
        // SAFETY: these bytes come from an engine of this process and were not touched.
        unsafe {
            Ok(match form {
                Form::Module => Self::Module(Module::deserialize(engine, compiled)?),
                Form::Component => Self::Component(Component::deserialize(engine, compiled)?),
            })
        }
    }
}

/// What was read, and whether it is what its digest says.
struct Wasm {
    digest: Digest,
    bytes: Bytes,
    is_checked: bool,
}

fn read(source: Source) -> Result<Wasm, LoadError> {
    let within = |path: PathBuf| read_file(&path).map(Bytes::from).map_err(|source| LoadError::Read { path, source });
    let (known, bytes) = match source {
        Source::Bytes(bytes) => (None, bytes),
        Source::Path(path) => (None, within(path)?),
        Source::Stored(digest, path) => (Some(digest), within(path)?),
    };
    if bytes.len() as u64 > WASM_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes_max: WASM_BYTES_MAX });
    }
    let digest = known.unwrap_or_else(|| Digest::of(&bytes));
    Ok(Wasm { digest, bytes, is_checked: known.is_none() })
}

/// Reads at most one byte more than is allowed.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(WASM_BYTES_MAX) as usize + 1);
    file.take(WASM_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    spawn_blocking(job).await.unwrap_or_else(|_| Err(Panicked.into()))
}
