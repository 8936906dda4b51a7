//! A cluster in this process, in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use coracle::cluster::{self, Node, Options};
use coracle::failure::Failure;
use coracle_kubelet::{Config, FakeRuntime, Runtime, WasmRuntime};
use tempfile::TempDir;

use crate::network::Network;

/// What a cluster is to be like.
#[derive(Debug)]
pub struct Builder {
    nodes: usize,
    wasm: bool,
    tls: bool,
    node_monitor_grace: Option<Duration>,
    pod_eviction_grace: Option<Duration>,
}

/// A running cluster, with the folders of its nodes.
pub struct Cluster {
    inner: cluster::Cluster,
    runtime: Arc<dyn Runtime>,
    fake: FakeRuntime,
    network: Network,
    folder: TempDir,
    /// How long its nodes count as alive after a sign of life.
    lease: Duration,
}

impl Cluster {
    /// One node without guests, reached by a call.
    pub fn builder() -> Builder {
        Builder { nodes: 1, wasm: false, tls: false, node_monitor_grace: None, pod_eviction_grace: None }
    }

    /// The cluster itself.
    pub fn inner(&self) -> &cluster::Cluster {
        &self.inner
    }

    /// The runtime of a cluster that only pretends.
    pub fn fake(&self) -> &FakeRuntime {
        &self.fake
    }

    /// The addresses that are the cluster's own.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Stops the node of this number, as a machine that is shut down.
    pub async fn stop_node(&mut self, number: usize) {
        self.inner.stop_node(&name(number)).await;
    }

    /// Starts the node of this number, on the folder that it had before.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn start_node(&mut self, number: usize) -> anyhow::Result<()> {
        let node = node(number, &self.network, &self.folder, self.runtime.clone(), self.lease);
        self.inner.start_node(node).await.map_err(plain)
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// When a part did not end well.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.inner.stop().await.map_err(plain)
    }
}

impl Builder {
    #[must_use]
    pub fn nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

    /// Nodes that run WebAssembly.
    #[must_use]
    pub fn wasm(self) -> Self {
        Self { wasm: true, ..self }
    }

    /// Serve the API over TLS too.
    #[must_use]
    pub fn tls(self) -> Self {
        Self { tls: true, ..self }
    }

    /// How soon a silent node is not ready, and its pods are replaced. Nodes give their signs of life as often as that
    /// takes.
    #[must_use]
    pub fn impatient(self, node_monitor_grace: Duration, pod_eviction_grace: Duration) -> Self {
        Self { node_monitor_grace: Some(node_monitor_grace), pod_eviction_grace: Some(pod_eviction_grace), ..self }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start(self) -> anyhow::Result<Cluster> {
        let (network, folder) = (Network::claim()?, tempfile::tempdir()?);
        let fake = FakeRuntime::new();
        let runtime: Arc<dyn Runtime> = match self.wasm {
            true => Arc::new(WasmRuntime::new(coracle_runtime::Runtime::new(coracle_runtime::Config::default())?)),
            false => Arc::new(fake.clone()),
        };
        let lease = self.node_monitor_grace.unwrap_or(coracle_kubelet::limits::LEASE);
        let mut controllers = coracle_controllers::Config::default();
        controllers.node_monitor_grace = self.node_monitor_grace.unwrap_or(controllers.node_monitor_grace);
        controllers.pod_eviction_grace = self.pod_eviction_grace.unwrap_or(controllers.pod_eviction_grace);
        let nodes = (0..self.nodes).map(|number| node(number, &network, &folder, runtime.clone(), lease)).collect();
        let options = Options {
            listen: self.tls.then_some(SocketAddr::from(([127, 0, 0, 1], 0))),
            service_cidr: network.services(),
            node_ports: network.node_ports(),
            controllers: Some(controllers),
            nodes,
            ..Options::default()
        };
        let inner = cluster::start(options).await.map_err(plain)?;
        Ok(Cluster { inner, runtime, fake, network, folder, lease })
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}

fn node(number: usize, network: &Network, folder: &TempDir, runtime: Arc<dyn Runtime>, lease: Duration) -> Node {
    let name = name(number);
    let config = Config::new(&name, folder.path().join(&name));
    let proxy = if number == 0 { config.proxy.clone() } else { None };
    Node { config: Config { pod_cidr: network.pods(number), proxy, lease, ..config }, runtime }
}

/// A failure of the program, as one of a test.
pub(crate) fn plain(failure: Failure) -> anyhow::Error {
    anyhow!("{}", failure.message())
}
