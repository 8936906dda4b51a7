//! `coracle-runtime` as the kubelet's [`Runtime`]: the only file that names that crate. No decision is taken here.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use coracle_runtime as wasm;
use tokio::io::DuplexStream;

use super::{
    Container, ContainerSpec, Exec, Exit, Input, Limits, LoadError, Module, Mount, Names, Progress, Runtime, Sink,
    StartError, Tell, Unresolved, Usage,
};
use crate::images::Image;
use crate::limits::CPU_WEIGHT_MIN;
use crate::pod::execute::chain;

/// Runs WebAssembly guests.
#[derive(Clone)]
pub struct WasmRuntime {
    runtime: wasm::Runtime,
}

impl WasmRuntime {
    /// Containers run on `runtime`'s guest threads.
    pub fn new(runtime: wasm::Runtime) -> Self {
        Self { runtime }
    }
}

#[async_trait]
impl Runtime for WasmRuntime {
    fn version(&self) -> String {
        format!("wasmtime://{}", wasm::WASMTIME_VERSION)
    }

    fn labels(&self) -> Vec<(String, String)> {
        let label = |(feature, is_there): (&str, bool)| (format!("coracle.dev/{feature}"), is_there.to_string());
        wasm::features().into_iter().map(label).collect()
    }

    async fn load(&self, image: &Image, tell: Tell) -> Result<Arc<dyn Module>, LoadError> {
        let digest = wasm::Digest::from_bytes(image.digest.bytes());
        let artifact = match self.runtime.loaded(digest) {
            Some(artifact) => artifact,
            None => {
                let stored = wasm::Source::Stored(digest, image.path.to_path_buf());
                let loaded = self.runtime.load_telling(stored, move |progress| tell(told(progress))).await;
                loaded.map_err(|error| LoadError {
                    transient: matches!(error, wasm::LoadError::Read { .. }),
                    message: format!("image {}: {}", image.name, chain(&error)),
                })?
            }
        };
        Ok(Arc::new(WasmModule { runtime: self.runtime.clone(), artifact }))
    }
}

fn told(progress: wasm::Progress) -> Progress {
    match progress {
        wasm::Progress::Compiling { bytes } => Progress::Compiling { bytes },
        wasm::Progress::Compiled { bytes, took } => Progress::Compiled { bytes, took },
    }
}

struct WasmModule {
    runtime: wasm::Runtime,
    artifact: Arc<wasm::Artifact>,
}

#[async_trait]
impl Module for WasmModule {
    fn opens_files(&self) -> bool {
        self.artifact.inspection().opens_files()
    }

    async fn start(&self, spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        let (mounts, address) = (spec.mounts.clone().into_boxed_slice(), spec.address);
        let mut spec = translate(spec);
        if !self.opens_files() {
            spec.mounts.clear();
        }
        let started = self.runtime.start(&self.artifact, spec);
        let container = started.map_err(|error| StartError { message: chain(&error) })?;
        Ok(WasmContainer::new(&self.runtime, container, mounts, address))
    }

    fn is_program(&self) -> bool {
        matches!(self.artifact.inspection().world, wasm::World::Command | wasm::World::Reactor)
    }
}

/// What `requests.cpu` weighs: 1024 a core, as cgroups' shares, and so next to nothing without a request.
fn weight(limits: &Limits) -> u32 {
    let shares = u64::from(limits.cpu_millis_requested) * 1024 / 1000;
    u32::try_from(shares).unwrap_or(u32::MAX).max(CPU_WEIGHT_MIN)
}

fn translate(spec: ContainerSpec) -> wasm::ContainerSpec {
    let mount = |mount: Mount| wasm::Mount { host: mount.host, guest: mount.guest, read_only: mount.read_only };
    wasm::ContainerSpec {
        args: spec.args,
        env: spec.env,
        mounts: spec.mounts.into_iter().map(mount).collect(),
        stdin: input(spec.stdin),
        stdout: Arc::new(Output(spec.stdout)),
        stderr: Arc::new(Output(spec.stderr)),
        memory_bytes_max: spec.limits.memory_bytes_max,
        cpu_millis_max: spec.limits.cpu_millis_max,
        cpu_weight: Some(weight(&spec.limits)),
        http: Some(wasm::HttpServe { listen: spec.http }),
        address: spec.address,
        resolver: Arc::new(Resolver(spec.names)),
        cwd: spec.cwd,
        hostname: Some(spec.hostname),
        is_terminal: spec.tty,
        ..wasm::ContainerSpec::default()
    }
}

fn input(stdin: Option<Input>) -> wasm::Stdin {
    stdin.map_or(wasm::Stdin::Empty, wasm::Stdin::Reader)
}

struct Output(Arc<dyn Sink>);

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

#[async_trait]
impl wasm::Output for Output {
    fn write(&self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    async fn ready(&self) {
        self.0.ready().await;
    }
}

#[derive(Debug)]
struct Resolver(Arc<dyn Names>);

#[async_trait]
impl wasm::Resolver for Resolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, wasm::ResolveError> {
        self.0.resolve(name).await.map_err(|error| match error {
            Unresolved::NotFound => wasm::ResolveError::NotFound,
            Unresolved::Temporary => wasm::ResolveError::Temporary,
        })
    }
}

struct WasmContainer {
    runtime: wasm::Runtime,
    container: wasm::Container,
    mounts: Box<[Mount]>,
    address: Option<IpAddr>,
    /// Whether it was ended because it cannot be asked to end.
    is_stopped: AtomicBool,
}

impl WasmContainer {
    fn new(
        runtime: &wasm::Runtime,
        container: wasm::Container,
        mounts: Box<[Mount]>,
        address: Option<IpAddr>,
    ) -> Arc<Self> {
        Arc::new(Self { runtime: runtime.clone(), container, mounts, address, is_stopped: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Container for WasmContainer {
    async fn ready(&self) {
        self.container.ready().await;
    }

    async fn wait(&self) -> Exit {
        match self.container.wait().await {
            wasm::Exit::Code(code) => Exit::Code(code),
            wasm::Exit::OutOfMemory => Exit::OutOfMemory,
            wasm::Exit::Trap { message } => Exit::Trap { message },
            wasm::Exit::Killed if self.is_stopped.load(Ordering::Relaxed) => Exit::Stopped,
            wasm::Exit::Killed => Exit::Killed,
        }
    }

    /// A guest that cannot hear the request has no handler for it: as with a signal, it is ended.
    fn stop(&self) {
        if self.container.stop() == wasm::Stop::Deaf {
            self.is_stopped.store(true, Ordering::Relaxed);
            self.container.kill();
        }
    }

    fn kill(&self) {
        self.container.kill();
    }

    fn usage(&self) -> Usage {
        let used = self.container.usage();
        Usage { cpu_time: used.cpu_time, memory_bytes: used.memory_bytes, memory_bytes_peak: used.memory_bytes_peak }
    }

    fn resize(&self, limits: Limits) -> Result<(), StartError> {
        self.container.resize(limits.memory_bytes_max, limits.cpu_millis_max, Some(weight(&limits)));
        Ok(())
    }

    fn connect(&self, port: u16) -> Option<DuplexStream> {
        self.container.connect(port)
    }

    fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    fn address(&self) -> Option<IpAddr> {
        self.address
    }

    async fn exec(&self, exec: Exec) -> Result<Arc<dyn Container>, StartError> {
        let spec = wasm::ExecSpec {
            args: exec.args,
            stdin: input(exec.stdin),
            stdout: Arc::new(Output(exec.stdout)),
            stderr: Arc::new(Output(exec.stderr)),
            is_terminal: exec.tty,
        };
        let started = self.runtime.exec(&self.container, spec);
        let container = started.map_err(|error| StartError { message: chain(&error) })?;
        Ok(WasmContainer::new(&self.runtime, container, self.mounts.clone(), self.address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_more_weighs_more() {
        let weight = |cpu_millis_requested| weight(&Limits { cpu_millis_requested, ..Limits::default() });
        assert_eq!([0, 1, 10, 250, 1000, 4000].map(weight), [2, 2, 10, 256, 1024, 4096]);
    }
}
