//! What a container is started with: everything that its guest is granted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncRead;

use crate::names::{Resolver, SystemResolver};
use crate::network::Egress;
use crate::output::{Discard, Output};

/// The grants and limits of a container. The default grants nothing and limits nothing.
#[derive(Debug)]
pub struct ContainerSpec {
    /// Arguments, the first being the program's own name.
    pub args: Vec<String>,
    /// Environment variables, in order.
    pub env: Vec<(String, String)>,
    /// Folders of the host that the guest sees. One within another (`/etc` and `/etc/app`) hides what is there.
    pub mounts: Vec<Mount>,
    /// Where relative paths begin, in the guest. It must lie within a mount to hold any file.
    pub cwd: Option<String>,
    /// Where standard input comes from. A `wasi:http` guest has none.
    pub stdin: Stdin,
    /// Where standard output goes.
    pub stdout: Arc<dyn Output>,
    /// Where standard error goes, and the runtime's own lines about requests that failed.
    pub stderr: Arc<dyn Output>,
    /// Memories and tables of all instances together.
    pub memory_bytes_max: Option<u64>,
    /// Thousandths of a core, as a budget over each [`CPU_PERIOD`](crate::limits::CPU_PERIOD).
    pub cpu_millis_max: Option<u32>,
    /// Share of the CPU when guests contend for it; 1024 when not given.
    pub cpu_weight: Option<u32>,
    /// Where a `wasi:http` guest is served. Ignored by the others.
    pub http: Option<HttpServe>,
    /// The guest's own address, the only one that it may listen on. `None`: it has no network.
    pub address: Option<IpAddr>,
    /// Where the guest may connect to, if it has an address.
    pub egress: Egress,
    /// What names mean to the guest, if it has an address.
    pub resolver: Arc<dyn Resolver>,
    /// The guest's name for itself, given as `HOSTNAME` unless `env` names one.
    pub hostname: Option<String>,
    /// Whether the guest is told that its standard streams are a terminal.
    pub is_terminal: bool,
}

/// What a further run of a container's program is given; everything else is the container's.
#[derive(Debug)]
pub struct ExecSpec {
    /// Arguments, the first being the program's own name.
    pub args: Vec<String>,
    /// Where standard input comes from.
    pub stdin: Stdin,
    /// Where standard output goes.
    pub stdout: Arc<dyn Output>,
    /// Where standard error goes.
    pub stderr: Arc<dyn Output>,
    /// Whether the guest is told that its standard streams are a terminal.
    pub is_terminal: bool,
}

impl Default for ContainerSpec {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            cwd: None,
            stdin: Stdin::Empty,
            stdout: Arc::new(Discard),
            stderr: Arc::new(Discard),
            memory_bytes_max: None,
            cpu_millis_max: None,
            cpu_weight: None,
            http: None,
            address: None,
            egress: Egress::Allowed,
            resolver: Arc::new(SystemResolver),
            hostname: None,
            is_terminal: false,
        }
    }
}

/// A folder of the host as the guest sees it. Neither `..` nor a symbolic link leads out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Folder on the host.
    pub host: PathBuf,
    /// Path in the guest.
    pub guest: String,
    /// Whether the guest may only read.
    pub read_only: bool,
}

/// Where a `wasi:http` guest is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpServe {
    /// Addresses to listen on, at least one. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
}

/// Where standard input comes from.
#[derive(Default)]
pub enum Stdin {
    /// At its end from the start.
    #[default]
    Empty,
    /// These bytes, then the end.
    Bytes(Bytes),
    /// Whatever this yields.
    Reader(Box<dyn AsyncRead + Send + Sync + Unpin>),
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Reader(_) => f.write_str("Reader"),
        }
    }
}
