//! What a kubelet is told when it starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::address::Cidr;
use crate::node::eviction::Eviction;

/// Everything that differs between two nodes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of the `Node` object.
    pub node_name: String,
    /// Where images, logs, volumes and compiled code are kept; created when missing, readable by its owner only.
    pub root_dir: PathBuf,
    /// The addresses that pods get; they must be reachable from this host without setup (loopback).
    pub pod_cidr: Cidr,
    /// The node's own address: `InternalIP`, and `hostIP` of its pods.
    pub node_ip: IpAddr,
    /// Most pods at once; `allocatable.pods`.
    pub max_pods: u32,
    /// Where the node's API listens; `None` leaves it to whoever calls [`crate::Kubelet::router`] in-process.
    pub listen: Option<SocketAddr>,
    /// Keys for `listen`; without them nothing listens, since the node's API is never served unauthenticated.
    pub tls: Option<Tls>,
    /// Labels to put on the node beside its own.
    pub labels: Vec<(String, String)>,
    /// The folder of static pods, each a file; or one such file.
    pub static_pods: Option<PathBuf>,
    /// Host folders that `hostPath` volumes may use; none by default.
    pub host_paths: Vec<PathBuf>,
    /// Whether images may be named by `file://` and `https://`.
    pub image_sources: ImageSources,
    /// Mirrors, insecure registries, trusted signers.
    pub registries: Registries,
    /// Whether this node carries the cluster's service addresses; one node a machine should.
    pub proxy: Option<Proxy>,
    /// Capacity to claim instead of the machine's.
    pub capacity: Capacity,
    /// How long the node counts as alive after a sign of life; it gives one four times as often.
    pub lease: Duration,
    /// How long containers may take to stop when the kubelet stops and their pods stay.
    pub shutdown_grace: Duration,
    /// Whether the node shuts down with its kubelet, so that the pods end.
    pub node_shutdown: NodeShutdown,
    /// From how little on the node is short of memory and disk, and what it then does.
    pub eviction: Eviction,
    /// Log rotation.
    pub logs: LogLimits,
}

/// How long pods have when the node shuts down. By default they have none, and stay: they go on when the kubelet does.
/// Source: kubelet, `shutdownGracePeriod` and `shutdownGracePeriodCriticalPods`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeShutdown {
    /// How long all pods have together.
    pub grace: Duration,
    /// How much of it is left to the critical ones, which end after the others.
    pub critical_pods: Duration,
}

/// The service proxy's own settings.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where node ports listen.
    pub node_port_address: IpAddr,
}

impl Default for Proxy {
    fn default() -> Self {
        Self { node_port_address: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }
}

/// PEM texts of the node's server certificate and of those whom it answers.
#[derive(Clone)]
pub struct Tls {
    pub certificate_pem: String,
    pub key_pem: String,
    /// The authority that signed the clients' certificates.
    pub client_ca_pem: String,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Which kinds of image reference this node follows, beside its own store.
#[derive(Clone, Copy, Debug)]
pub struct ImageSources {
    pub file: bool,
    pub https: bool,
}

impl Default for ImageSources {
    fn default() -> Self {
        Self { file: true, https: true }
    }
}

/// How this node gets images from registries.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// The registry of names without one, `docker.io` say. Without it they name what somebody loaded into this node's
    /// store, and nothing else.
    pub default: Option<String>,
    /// Where images are asked for before their own registry is; in this order.
    pub mirrors: Vec<Mirror>,
    /// Registries (`host:port`) that may be spoken to without TLS, beside those of this machine.
    pub insecure: Vec<String>,
    /// PEM texts of authorities that sign registries' certificates, beside the machine's.
    pub authorities_pem: Vec<String>,
    /// PEM texts of cosign's public keys. Where there are any, an image must be signed with one of them.
    pub signers_pem: Vec<String>,
    /// A docker `config.json` with the node's own credentials, read at each pull.
    pub docker_config: Option<PathBuf>,
}

/// A registry that has what another one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The other one's `host[:port]`, or `*` for all.
    pub registry: String,
    /// `https://host[:port]`, or `http://…`.
    pub url: String,
}

/// Capacity that overrides what the machine has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capacity {
    pub cpu_millis: Option<u64>,
    pub memory_bytes: Option<u64>,
    pub storage_bytes: Option<u64>,
}

/// Bounds of a container's logs on disk.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    pub file_bytes_max: u64,
    pub files_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { file_bytes_max: crate::limits::LOG_FILE_BYTES_MAX, files_max: crate::limits::LOG_FILES_MAX }
    }
}

impl Config {
    /// The usual node: pods in `127.64.0.0/16`, both image sources, the proxy on, no socket for its API.
    pub fn new(node_name: impl Into<String>, root_dir: impl Into<PathBuf>) -> Self {
        Self {
            node_name: node_name.into(),
            root_dir: root_dir.into(),
            pod_cidr: Cidr::new(Ipv4Addr::new(127, 64, 0, 0), 16),
            node_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            max_pods: 10_000,
            listen: None,
            tls: None,
            labels: Vec::new(),
            static_pods: None,
            host_paths: Vec::new(),
            image_sources: ImageSources::default(),
            registries: Registries::default(),
            proxy: Some(Proxy::default()),
            capacity: Capacity::default(),
            lease: crate::limits::LEASE,
            shutdown_grace: Duration::from_secs(30),
            node_shutdown: NodeShutdown::default(),
            eviction: Eviction::default(),
            logs: LogLimits::default(),
        }
    }

    /// The same node as the `index`th of a machine: its pods live in `127.(64+index).0.0/16`, and only the first
    /// carries the services.
    #[must_use]
    pub fn numbered(mut self, index: u8) -> Self {
        self.pod_cidr = Cidr::new(Ipv4Addr::new(127, 64u8.saturating_add(index), 0, 0), 16);
        self.proxy = (index == 0).then(Proxy::default);
        self
    }
}
