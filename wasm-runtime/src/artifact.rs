//! A compiled, linked program that containers are started from.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::{Engine, InstancePre};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p3::bindings::CommandPre as AsyncCommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::inspect::Inspection;
use crate::sandbox::Guest;

/// The SHA-256 of a `.wasm` file: its identity everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digests `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest made elsewhere.
    pub fn from_bytes(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }
}

/// Lower-case hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A program ready to start: compiled for this host and linked to what the host offers.
#[derive(Debug)]
pub struct Artifact {
    digest: Digest,
    inspection: Inspection,
    pub(crate) program: Program,
}

impl Artifact {
    pub(crate) fn new(digest: Digest, inspection: Inspection, program: Program) -> Self {
        Self { digest, inspection, program }
    }

    /// Digest of the `.wasm` that this was made of.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the `.wasm` is, and what it imports and exports.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }
}

/// The entry point, by world.
pub(crate) enum Program {
    /// A WASI p1 module with `_start`, `_initialize` or both.
    Module(InstancePre<Guest>),
    /// A component that exports `wasi:cli/run@0.2`.
    Command(CommandPre<Guest>),
    /// A component that exports `wasi:cli/run@0.3`.
    AsyncCommand(AsyncCommandPre<Guest>),
    /// A component that exports `wasi:http/incoming-handler@0.2`.
    Http(Server),
    /// A component that exports `wasi:http/handler@0.3`.
    AsyncHttp(ServicePre<Guest>),
}

/// A server of which every request has an instance of its own.
pub(crate) struct Server {
    pub(crate) program: ProxyPre<Guest>,
    /// Where instances are made faster, while there is room.
    pub(crate) pooled: Option<Pooled>,
}

/// A program whose instances live in a pool.
pub(crate) struct Pooled {
    pub(crate) program: ProxyPre<Guest>,
    /// The places of the pool that are free; all programs share them.
    pub(crate) places: Arc<Semaphore>,
}

impl Program {
    /// Whether it answers requests, rather than running to its end.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Http(_) | Self::AsyncHttp(_) => true,
            Self::Module(_) | Self::Command(_) | Self::AsyncCommand(_) => false,
        }
    }

    /// The engine that the program is compiled for.
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Module(program) => program.module().engine(),
            Self::Command(program) => program.engine(),
            Self::AsyncCommand(program) => program.engine(),
            Self::Http(server) => server.program.engine(),
            Self::AsyncHttp(program) => program.engine(),
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Module(_) => "Module",
            Self::Command(_) => "Command",
            Self::AsyncCommand(_) => "AsyncCommand",
            Self::Http(_) => "Http",
            Self::AsyncHttp(_) => "AsyncHttp",
        })
    }
}
