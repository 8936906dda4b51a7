//! A started container: its handle, and the task behind it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use crate::artifact::{Artifact, Program};
use crate::exit::Exit;
use crate::inspect::World;
use crate::limits::{HTTP_DOOR_BYTES, HTTP_DOOR_MAX};
use crate::sandbox::{Guest, Host, MountError, Sandbox};
use crate::schedule::{Meter, Metered};
use crate::spec::{ContainerSpec, ExecSpec, HttpServe, Stdin};
use crate::{command, http};

/// What a reactor's container says when it ends.
const REACTOR: &[u8] = b"a reactor: \"_initialize\" has run, and nothing here calls its other exports\n";

/// Why a container cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder that it mounts cannot be opened.
    #[error("cannot open {host:?} to mount it at {guest:?}")]
    Mount {
        /// Folder on the host.
        host: PathBuf,
        /// Where the guest would see it.
        guest: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A `wasi:http` guest was given nothing to listen on.
    #[error("it serves HTTP, and no address to listen on is given")]
    NoListenAddress,
    /// A further run of a program that is none.
    #[error("it serves HTTP, and has no command to run")]
    NotACommand,
    /// A further run in a container that has ended.
    #[error("the container has ended")]
    Ended,
}

impl From<MountError> for StartError {
    fn from(MountError { mount, source }: MountError) -> Self {
        Self::Mount { host: mount.host, guest: mount.guest, source }
    }
}

/// What a container has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time inside the guest.
    pub cpu_time: Duration,
    /// Memories and tables held now.
    pub memory_bytes: u64,
    /// The most that was held at a time.
    pub memory_bytes_peak: u64,
}

/// What became of a request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It listens no more, finishes the requests that it is in, and then exits with code 0.
    Draining,
    /// The guest cannot be asked: WASI has no signals. It ends by itself or is killed.
    Deaf,
}

/// A running container. Dropping it kills the guest.
#[derive(Debug)]
pub struct Container {
    shared: Arc<Shared>,
}

/// What a handle and its task share.
#[derive(Debug)]
struct Shared {
    artifact: Arc<Artifact>,
    sandbox: Arc<Sandbox>,
    addresses: Vec<SocketAddr>,
    /// Where those come in who are served without a socket.
    door: Option<mpsc::Sender<DuplexStream>>,
    stop: CancellationToken,
    started: AtomicBool,
    exit: OnceLock<Exit>,
    /// Notified when `started` or `exit` is set.
    changed: Notify,
}

impl Container {
    /// Resolves once the guest's first instruction is about to run, or its listeners accept
    /// connections; also when the container ends before that.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again, from several tasks.
    pub async fn ready(&self) {
        let shared = &self.shared;
        shared.until(|| shared.started.load(Ordering::Acquire).then_some(()).or(shared.exit.get().map(drop))).await;
    }

    /// Resolves once the container has ended and everything that it held is released.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again, from several tasks.
    pub async fn wait(&self) -> Exit {
        self.shared.until(|| self.shared.exit.get().cloned()).await
    }

    /// How the container ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        self.shared.exit.get().cloned()
    }

    /// Asks the guest to end.
    pub fn stop(&self) -> Stop {
        if self.shared.addresses.is_empty() {
            return Stop::Deaf;
        }
        self.shared.stop.cancel();
        Stop::Draining
    }

    /// Ends the guest within a few milliseconds, whatever it does.
    pub fn kill(&self) {
        self.shared.sandbox.killed.cancel();
    }

    /// Gives the container other limits, for what it takes from now on: see [`ContainerSpec`].
    pub fn resize(&self, memory_bytes_max: Option<u64>, cpu_millis_max: Option<u32>, cpu_weight: Option<u32>) {
        let Sandbox { cpu, memory, .. } = &*self.shared.sandbox;
        memory.resize(memory_bytes_max);
        cpu.resize(cpu_millis_max, cpu_weight);
    }

    /// What the container has used so far.
    pub fn usage(&self) -> Usage {
        let Sandbox { cpu, memory, .. } = &*self.shared.sandbox;
        Usage { cpu_time: cpu.used(), memory_bytes: memory.bytes(), memory_bytes_peak: memory.bytes_peak() }
    }

    /// A connection to a `wasi:http` guest that is served on `port`, without a socket. `None` when it is not served there,
    /// or when too many come in this way at once: a socket will do then.
    pub fn connect(&self, port: u16) -> Option<DuplexStream> {
        let is_served = self.shared.addresses.iter().any(|address| address.port() == port);
        let door = self.shared.door.as_ref().filter(|_| is_served && !self.shared.stop.is_cancelled())?;
        let (ours, theirs) = tokio::io::duplex(HTTP_DOOR_BYTES);
        door.try_send(theirs).ok().map(|()| ours)
    }

    /// The addresses that a `wasi:http` guest is served on, with the ports that were taken for 0.
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.shared.addresses
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    /// Waits until `look` sees what it looks for.
    async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(seen) = look() {
                return seen;
            }
            changed.await;
        }
    }

    fn set_started(&self) {
        self.started.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    fn set_exit(&self, exit: Exit) {
        // Further runs end with the container.
        self.sandbox.killed.cancel();
        // Only the task sets it, and once.
        let _ = self.exit.set(exit);
        self.changed.notify_waiters();
    }
}

/// Makes a container of `artifact`: its handle, and the future that is its life. Listeners are
/// bound when this returns, driven by the runtime of `handle`.
///
/// # Errors
///
/// When something that the spec grants is not to be had.
pub(crate) fn prepare(
    artifact: Arc<Artifact>,
    mut spec: ContainerSpec,
    host: Host,
    handle: &Handle,
) -> Result<(Container, impl Future<Output = ()> + Send + 'static), StartError> {
    let sandbox = Arc::new(Sandbox::new(host, artifact.program.engine(), &mut spec));
    let work = match artifact.program.is_server() {
        true => Work::serve(&sandbox, spec.http.unwrap_or_default(), handle)?,
        false => Work::run(&sandbox, spec.stdin)?,
    };
    Ok(made(artifact, sandbox, work))
}

/// Makes a further run of the program of `container`, within it: as [`prepare`].
///
/// # Errors
///
/// When the container has ended, or its program is no command.
pub(crate) fn prepare_within(
    container: &Container,
    mut spec: ExecSpec,
) -> Result<(Container, impl Future<Output = ()> + Send + 'static), StartError> {
    let Shared { artifact, sandbox, exit, .. } = &*container.shared;
    if exit.get().is_some() {
        return Err(StartError::Ended);
    }
    if artifact.program.is_server() {
        return Err(StartError::NotACommand);
    }
    let sandbox = Arc::new(sandbox.within(&mut spec));
    let work = Work::run(&sandbox, spec.stdin)?;
    Ok(made(artifact.clone(), sandbox, work))
}

fn made(
    artifact: Arc<Artifact>,
    sandbox: Arc<Sandbox>,
    work: Work,
) -> (Container, impl Future<Output = ()> + Send + 'static) {
    let addresses = work.addresses();
    let (door, entrance) = match work {
        Work::Serve(_) => Some(mpsc::channel(HTTP_DOOR_MAX)).unzip(),
        Work::Run(..) => (None, None),
    };
    let shared = Arc::new(Shared {
        artifact: artifact.clone(),
        sandbox,
        addresses,
        door,
        stop: CancellationToken::new(),
        started: AtomicBool::new(false),
        exit: OnceLock::new(),
        changed: Notify::new(),
    });
    let container = Container { shared: shared.clone() };
    (container, live(shared, artifact, work, entrance))
}

/// What a container does, with what it needs for it at hand.
enum Work {
    Run(Box<Store<Guest>>, Arc<Meter>),
    Serve(Vec<TcpListener>),
}

impl Work {
    fn run(sandbox: &Sandbox, stdin: Stdin) -> Result<Self, StartError> {
        let (store, meter) = sandbox.store(stdin)?;
        Ok(Self::Run(Box::new(store), meter))
    }

    fn serve(sandbox: &Sandbox, http: HttpServe, handle: &Handle) -> Result<Self, StartError> {
        if http.listen.is_empty() {
            return Err(StartError::NoListenAddress);
        }
        // What every request will need is tried once, so that a mount fails the start.
        sandbox.store(Stdin::Empty)?;
        let listen = |address| http::listen(address, handle).map_err(|source| StartError::Listen { address, source });
        Ok(Self::Serve(http.listen.into_iter().map(listen).collect::<Result<_, _>>()?))
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Run(..) => Vec::new(),
            Self::Serve(listeners) => listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
        }
    }
}

/// The life of a container, from its first instruction to its exit.
async fn live(
    shared: Arc<Shared>,
    artifact: Arc<Artifact>,
    work: Work,
    entrance: Option<mpsc::Receiver<DuplexStream>>,
) {
    let end = End(shared.clone());
    let exit = match work {
        Work::Run(store, meter) => {
            let outcome = Metered::new(meter, run(&shared, &artifact, *store));
            shared.sandbox.killed.run_until_cancelled(outcome).await
        }
        Work::Serve(listeners) => {
            let started = || shared.set_started();
            let (sandbox, stop) = (shared.sandbox.clone(), shared.stop.clone());
            // In a box, so that commands need not have room for it.
            let served = Box::pin(http::serve(artifact, sandbox, listeners, entrance, stop, started));
            Some(served.await).filter(|exit| *exit == Exit::OutOfMemory || !shared.sandbox.killed.is_cancelled())
        }
    };
    end.with(exit.unwrap_or(Exit::Killed));
}

async fn run(shared: &Shared, artifact: &Artifact, store: Store<Guest>) -> Exit {
    let started = || shared.set_started();
    // Each in a box, so that none has room for the largest.
    let outcome = match &artifact.program {
        Program::Module(program) => Box::pin(command::run_module(program, store, started)).await,
        Program::Command(program) => Box::pin(command::run_component(program, store, started)).await,
        Program::AsyncCommand(program) => Box::pin(command::run_async_component(program, store, started)).await,
        Program::Http(_) | Program::AsyncHttp(_) => unreachable!("a server is not run"),
    };
    if outcome.is_ok() && artifact.inspection().world == World::Reactor {
        shared.sandbox.stderr().write(REACTOR);
    }
    Exit::of(outcome, &shared.sandbox.memory)
}

/// Sees to it that a container has an exit even if its task is dropped or panics.
struct End(Arc<Shared>);

impl End {
    fn with(self, exit: Exit) {
        self.0.set_exit(exit);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.0.exit.get().is_none() {
            self.0.set_exit(if std::thread::panicking() {
                Exit::Trap { message: "the host failed while it ran the guest".to_owned() }
            } else {
                Exit::Killed
            });
        }
    }
}
