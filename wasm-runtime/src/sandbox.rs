//! One container's grants and accounts, and the stores made from them.
//!
//! A [`Sandbox`] is made once a container; each instance (one for a command, one a request for
//! `wasi:http`) gets a store of its own from it, whose contents are a [`Guest`].

use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::Request;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;
use wasmtime::{Engine, Store};
use wasmtime_wasi::cli::{AsyncStdinStream, IsTerminal, StdinStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::InputStream;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::account::{Cpu, Holding, Memory};
use crate::descriptors::{Descriptors, Taken};
use crate::folder;
use crate::limits::{HOSTCALL_BYTES_MAX, HOSTCALL_BYTES_MIN, RANDOM_BYTES_MAX, RESOURCES_MAX};
use crate::network::Network;
use crate::outgoing::{self, Sent};
use crate::output::{Output, Stream};
use crate::schedule::{Meter, Ticker, Turns};
use crate::spec::{ContainerSpec, ExecSpec, Mount, Stdin};

/// What every instance of one container shares.
#[derive(Debug)]
pub(crate) struct Sandbox {
    engine: Engine,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    grants: Arc<Grants>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) cpu: Arc<Cpu>,
    pub(crate) killed: CancellationToken,
}

/// What of the outside a guest sees.
#[derive(Clone, Debug)]
struct Grants {
    args: Vec<String>,
    env: Arc<[(String, String)]>,
    mounts: Vec<Mount>,
    cwd: Option<String>,
    stdout: Arc<dyn Output>,
    stderr: Arc<dyn Output>,
    network: Option<Network>,
    is_terminal: bool,
}

/// What a sandbox takes from its runtime.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) descriptors: Arc<Descriptors>,
}

/// A mount whose folder cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {mount:?} for the guest", mount = .mount.host)]
pub(crate) struct MountError {
    pub(crate) mount: Mount,
    #[source]
    pub(crate) source: io::Error,
}

impl Sandbox {
    pub(crate) fn new(host: Host, engine: &Engine, spec: &mut ContainerSpec) -> Self {
        let memory = Memory::new(spec.memory_bytes_max, Some(host.memory));
        let cpu = Cpu::new(spec.cpu_millis_max, spec.cpu_weight, Instant::now());
        Self {
            engine: engine.clone(),
            ticker: host.ticker,
            turns: host.turns,
            descriptors: host.descriptors,
            grants: Arc::new(Grants::of(spec)),
            memory: Arc::new(memory),
            cpu: Arc::new(cpu),
            killed: CancellationToken::new(),
        }
    }

    /// The sandbox of a further run in this one: within its memory and its CPU, and killed with it.
    pub(crate) fn within(&self, spec: &mut ExecSpec) -> Self {
        let memory = Memory::new(Some(self.memory.bytes_max()), Some(self.memory.clone()));
        let grants = Grants {
            args: std::mem::take(&mut spec.args),
            stdout: spec.stdout.clone(),
            stderr: spec.stderr.clone(),
            is_terminal: spec.is_terminal,
            ..Grants::clone(&self.grants)
        };
        Self {
            engine: self.engine.clone(),
            ticker: self.ticker.clone(),
            turns: self.turns.clone(),
            descriptors: self.descriptors.clone(),
            grants: Arc::new(grants),
            memory: Arc::new(memory),
            cpu: self.cpu.clone(),
            killed: self.killed.child_token(),
        }
    }

    pub(crate) fn stderr(&self) -> &dyn Output {
        &*self.grants.stderr
    }

    /// A store for one instance, and the meter that its execution must run on.
    ///
    /// # Errors
    ///
    /// When a mount cannot be opened.
    pub(crate) fn store(&self, stdin: Stdin) -> Result<(Store<Guest>, Arc<Meter>), MountError> {
        self.store_of(&self.engine, stdin)
    }

    /// As [`store`](Self::store), for an instance of another engine.
    ///
    /// # Errors
    ///
    /// When a mount cannot be opened.
    pub(crate) fn store_of(&self, engine: &Engine, stdin: Stdin) -> Result<(Store<Guest>, Arc<Meter>), MountError> {
        let meter = Meter::new(self.cpu.clone(), self.killed.clone(), self.ticker.clone(), self.turns.clone());
        let guest = Guest {
            wasi: self.grants.wasi(stdin)?,
            http: WasiHttpCtx::new(),
            outgoing: Outgoing(self.grants.clone()),
            memory: Holding::new(self.memory.clone()),
            descriptors: Taken::nothing(self.descriptors.clone()),
            grants: self.grants.clone(),
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.memory);
        let hostcall_bytes = usize::try_from(self.memory.bytes_max()).unwrap_or(usize::MAX);
        store.set_hostcall_fuel(hostcall_bytes.clamp(HOSTCALL_BYTES_MIN, HOSTCALL_BYTES_MAX));
        let ticked = meter.clone();
        store.epoch_deadline_callback(move |_| ticked.tick());
        store.set_epoch_deadline(1);
        Ok((store, meter))
    }
}

impl Grants {
    fn of(spec: &mut ContainerSpec) -> Self {
        let mut env = std::mem::take(&mut spec.env);
        if let Some(hostname) = spec.hostname.take()
            && !env.iter().any(|(name, _)| name == "HOSTNAME")
        {
            env.push(("HOSTNAME".to_owned(), hostname));
        }
        let egress = std::mem::take(&mut spec.egress);
        Self {
            args: std::mem::take(&mut spec.args),
            env: env.into(),
            mounts: std::mem::take(&mut spec.mounts),
            cwd: spec.cwd.take(),
            stdout: spec.stdout.clone(),
            stderr: spec.stderr.clone(),
            network: spec.address.map(|address| Network { address, egress, resolver: spec.resolver.clone() }),
            is_terminal: spec.is_terminal,
        }
    }

    fn wasi(&self, stdin: Stdin) -> Result<WasiP1Ctx, MountError> {
        let mut wasi = WasiCtxBuilder::new();
        let is_terminal = self.is_terminal;
        let stream = |to: &Arc<dyn Output>| Stream { to: to.clone(), is_terminal };
        wasi.max_random_size(RANDOM_BYTES_MAX);
        wasi.args(&self.args).envs(&self.env[..]).stdout(stream(&self.stdout)).stderr(stream(&self.stderr));
        match stdin {
            Stdin::Empty => {}
            Stdin::Bytes(bytes) => {
                wasi.stdin(MemoryInputPipe::new(bytes));
            }
            Stdin::Reader(reader) => {
                wasi.stdin(Input { from: AsyncStdinStream::new(reader), is_terminal });
            }
        }
        for mount in &self.mounts {
            wasi.preopened_dir(&mount.host, &mount.guest, perms(mount))
                .map_err(|error| MountError { mount: mount.clone(), source: io_error(error) })?;
        }
        self.enter_cwd(&mut wasi)?;
        if let Some(network) = self.network.clone() {
            wasi.allow_tcp(true)
                .allow_udp(true)
                .allow_ip_name_lookup(true)
                .socket_addr_check(move |address, usage| Box::pin(std::future::ready(network.allows(address, usage))));
        }
        let mut wasi = wasi.build_p1();
        wasi.ctx().table.set_max_capacity(RESOURCES_MAX);
        Ok(wasi)
    }

    /// Tells the guest its working directory. WASI p1 has none, and C libraries resolve what is relative against what is
    /// mounted as `.`: so the folder is granted under that name too, unless the root is a mount and means something else.
    fn enter_cwd(&self, wasi: &mut WasiCtxBuilder) -> Result<(), MountError> {
        let Some(cwd) = &self.cwd else { return Ok(()) };
        wasi.initial_cwd(cwd);
        if self.mounts.iter().any(|mount| matches!(mount.guest.as_str(), "/" | ".")) {
            return Ok(());
        }
        let Some((mount, rest)) = folder::holding(&self.mounts, cwd) else { return Ok(()) };
        let failed = |source| MountError { mount: mount.clone(), source };
        let Some(folder) = folder::open_within(&mount.host, rest).map_err(failed)? else { return Ok(()) };
        wasi.preopened_dir(folder.path(), ".", perms(mount)).map_err(|error| failed(io_error(error)))?;
        Ok(())
    }
}

fn perms(mount: &Mount) -> FsPerms {
    if mount.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite }
}

/// Standard input that may be a terminal.
struct Input {
    from: AsyncStdinStream,
    is_terminal: bool,
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        self.is_terminal
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        self.from.async_stream()
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        self.from.p2_stream()
    }
}

fn io_error(error: wasmtime::Error) -> io::Error {
    error.downcast::<io::Error>().unwrap_or_else(io::Error::other)
}

/// The contents of a store: everything that host calls of one instance work on.
pub(crate) struct Guest {
    wasi: WasiP1Ctx,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    pub(crate) memory: Holding,
    descriptors: Taken,
    grants: Arc<Grants>,
}

impl Guest {
    /// What the calls of modules work on; every one of them asks for it.
    pub(crate) fn p1(&mut self) -> &mut WasiP1Ctx {
        self.descriptors.before_call(self.wasi.ctx().table);
        &mut self.wasi
    }

    /// The guest's network, if it has one.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.grants.network.as_ref()
    }

    /// The guest's environment.
    pub(crate) fn env(&self) -> Arc<[(String, String)]> {
        self.grants.env.clone()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let view = self.wasi.ctx();
        self.descriptors.before_call(view.table);
        view
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: self.wasi.ctx().table, ctx: &mut self.http }
    }
}

/// Requests that a guest sends, if it has a network.
struct Outgoing(Arc<Grants>);

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(outgoing::send(self.0.network.clone(), request, options))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A guest that is granted nothing.
    pub(crate) fn guest() -> Guest {
        let grants = Arc::new(Grants::of(&mut ContainerSpec::default()));
        Guest {
            wasi: WasiCtxBuilder::new().build_p1(),
            http: WasiHttpCtx::new(),
            outgoing: Outgoing(grants.clone()),
            memory: Holding::new(Arc::new(Memory::new(None, None))),
            descriptors: Taken::nothing(Arc::new(Descriptors::new(0))),
            grants,
        }
    }
}
