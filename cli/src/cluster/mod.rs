//! A cluster in this process: what is started, in which order, and in which order it stops.
//!
//! Who is wired to whom is decided here and nowhere else: `up`, `run` and the tests differ in their [`Options`] alone.
//! The parts reach the API server by a call instead of a socket, each under its own identity, and share one set of
//! informers; the API server reaches the nodes of this process in the same way, and others over TLS.

mod group;
mod nodes;
mod storage;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::Router;
use coracle_apiserver::{Identity, InProcess, Pki};
use coracle_client::{Client, Informers};
use coracle_kubelet::Kubelet;
use coracle_testing::{FakeNodes, Outcome};
use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cluster::group::Group;
use crate::cluster::nodes::Nodes;
use crate::failure::{Failure, Hint, Result};

pub use storage::{Storage, open};

/// The node of a cluster that has only one, unless it is named.
pub const NODE_NAME: &str = "coracle";

/// The addresses of services, unless they are given others.
pub const SERVICE_CIDR: &str = "127.96.0.0/16";

/// A node's name, as the API takes it.
///
/// # Errors
/// When it would not; the text says why.
pub fn node_name(text: &str) -> std::result::Result<String, String> {
    let errors = coracle_api::names::dns_subdomain(text);
    if errors.is_empty() { Ok(text.to_owned()) } else { Err(errors.join("; ")) }
}

/// Failures of parts that may wait to be heard; whoever hears the first one stops the cluster.
const FAILURES_MAX: usize = 16;

/// What a cluster is made of.
pub struct Options {
    pub storage: Storage,
    /// Where the API is served over TLS; `None`: to this process alone.
    pub listen: Option<SocketAddr>,
    /// The addresses of services; the first is the API's own.
    pub service_cidr: String,
    /// The ports that services get on nodes.
    pub node_ports: RangeInclusive<u16>,
    /// `None`: pods are given their nodes by whoever creates them.
    pub scheduler: Option<coracle_scheduler::Config>,
    /// `None`: nothing but pods, and no service accounts.
    pub controllers: Option<coracle_controllers::Config>,
    pub nodes: Vec<Node>,
    /// Nodes that run nothing, and say of their pods that they run.
    pub pretended_nodes: usize,
}

impl Default for Options {
    /// A control plane in memory, served to this process alone, without a node.
    fn default() -> Self {
        Self {
            storage: Storage::Memory,
            listen: None,
            service_cidr: SERVICE_CIDR.to_owned(),
            node_ports: 30_000..=32_767,
            scheduler: Some(coracle_scheduler::Config::default()),
            controllers: Some(coracle_controllers::Config::default()),
            nodes: Vec::new(),
            pretended_nodes: 0,
        }
    }
}

/// A node of this process.
pub struct Node {
    pub config: coracle_kubelet::Config,
    pub runtime: Arc<dyn coracle_kubelet::Runtime>,
}

/// A running cluster. Stop it by [`Cluster::stop`]: dropped, it leaves its tasks to the runtime's end.
pub struct Cluster {
    inside: InProcess,
    local_addr: Option<SocketAddr>,
    pki: Arc<Pki>,
    informers: Informers,
    nodes: Arc<Nodes>,
    api: Group,
    control: Group,
    kubelets: BTreeMap<String, Group>,
    stop_informers: CancellationToken,
    failed: mpsc::Sender<Failure>,
    failures: mpsc::Receiver<Failure>,
}

/// Starts a cluster; the API answers when this returns, and the rest is on its way.
///
/// # Errors
/// When the store or the certificates cannot be read, the address is taken, or a node cannot start.
pub async fn start(options: Options) -> Result<Cluster> {
    let (store, pki) = storage::open(options.storage).await?;
    let nodes = Arc::new(Nodes::new(&pki)?);
    let (failed, failures) = mpsc::channel(FAILURES_MAX);
    let mut api = Group::new("API server", failed.clone());
    let config = coracle_apiserver::Config {
        listen: options.listen,
        service_cidr: options.service_cidr,
        node_port_range: options.node_ports,
        require_service_accounts: options.controllers.is_some(),
        ..coracle_apiserver::Config::new(pki.clone())
    };
    let server = coracle_apiserver::start(config, store, nodes.clone(), api.stop_token()).await.map_err(explain)?;
    let local_addr = server.local_addr();
    let inside = server.in_process(Identity::controller_manager());
    api.spawn("API server", server.stopped());

    let stop_informers = CancellationToken::new();
    let informers = Informers::new(Client::from_service(inside.clone()), stop_informers.clone());
    let control = Group::new("control plane", failed.clone());
    let kubelets = BTreeMap::new();
    let mut cluster =
        Cluster { inside, local_addr, pki, informers, nodes, api, control, kubelets, stop_informers, failed, failures };
    if let Some(config) = options.scheduler {
        cluster.start_scheduler(config);
    }
    if let Some(config) = options.controllers {
        cluster.start_controllers(config);
    }
    for node in options.nodes {
        cluster.start_node(node).await?;
    }
    if options.pretended_nodes > 0 {
        cluster.start_pretended(options.pretended_nodes).await?;
    }
    Ok(cluster)
}

impl Cluster {
    /// A client of the API, as somebody.
    pub fn client(&self, identity: Identity) -> Client {
        Client::from_service(self.inside.identified(identity))
    }

    /// A client of the API that may do everything.
    pub fn admin(&self) -> Client {
        self.client(Identity::admin())
    }

    /// Where the API is served, if it is.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// The API's URL, as this machine reaches it.
    pub fn url(&self) -> Option<String> {
        self.local_addr().map(|address| format!("https://{}", reachable(address)))
    }

    /// A kubeconfig by which an identity reaches the API from outside.
    ///
    /// # Errors
    /// When the API is not served, or no certificate can be made.
    pub fn kubeconfig(&self, identity: &Identity) -> Result<String> {
        let url = self.url().ok_or_else(|| Failure::new("the API of this cluster is not served"))?;
        Ok(self.pki.client_kubeconfig(&url, identity)?)
    }

    /// Starts a node beside those that run.
    ///
    /// # Errors
    /// When its folder cannot be used.
    pub async fn start_node(&mut self, node: Node) -> Result {
        let name = node.config.node_name.clone();
        let mut group = Group::new(format!("node {name}"), self.failed.clone());
        let client = self.client(Identity::node(&name)).named("kubelet");
        let pods = self.informers.get::<Pod>();
        let stop = group.stop_token();
        let kubelet = Kubelet::new(node.config, client, pods, self.informers.clone(), node.runtime).await?;
        self.nodes.add(&name, kubelet.router());
        group.spawn("kubelet", kubelet.run(stop));
        self.kubelets.insert(name, group);
        Ok(())
    }

    /// Stops one node, within the grace of its pods; the others go on.
    pub async fn stop_node(&mut self, name: &str) {
        if let Some(mut group) = self.kubelets.remove(name) {
            group.stop().await;
            self.nodes.remove(name);
        }
    }

    /// Resolves when a part has failed: a cluster without one of its parts is none.
    pub async fn failed(&mut self) -> Failure {
        match self.failures.recv().await {
            Some(failure) => failure,
            // The cluster holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// Stops everything; what the API holds stays as it is, so that the next start goes on from there.
    ///
    /// First whoever would answer to what the others' end looks like, then the nodes, each pod within its grace, then
    /// the API server, last the store.
    ///
    /// # Errors
    /// When a part did not end well.
    pub async fn stop(mut self) -> Result {
        self.control.stop().await;
        join_all(self.kubelets.values_mut().map(Group::stop)).await;
        self.stop_informers.cancel();
        self.informers.stopped().await;
        self.api.stop().await;
        self.failures.try_recv().map_or(Ok(()), Err)
    }

    async fn start_pretended(&mut self, count: usize) -> Result {
        let client_of = |name: &str| self.client(Identity::node(name)).named("kubelet");
        let pretended = FakeNodes::register(count, client_of).await?;
        for name in pretended.names() {
            // Their containers have written nothing.
            self.nodes.add(name, Router::new().fallback(async || ""));
        }
        let mut group = Group::new("pretended nodes", self.failed.clone());
        let run = pretended.run(self.informers.get::<Pod>(), Arc::new(Outcome::of), group.stop_token());
        group.spawn("pretended nodes", run.map(Ok::<_, Infallible>));
        self.kubelets.insert("pretended nodes".to_owned(), group);
        Ok(())
    }

    fn start_scheduler(&mut self, config: coracle_scheduler::Config) {
        let client = self.client(Identity::scheduler()).named("kube-scheduler");
        let stop = self.control.stop_token();
        self.control.spawn("scheduler", coracle_scheduler::run(config, client, self.informers.clone(), stop));
    }

    fn start_controllers(&mut self, mut config: coracle_controllers::Config) {
        let client = self.client(Identity::controller_manager()).named("kube-controller-manager");
        config.root_ca.get_or_insert_with(|| self.pki.authority_pem().to_owned());
        let stop = self.control.stop_token();
        self.control.spawn("controllers", coracle_controllers::run(config, client, self.informers.clone(), stop));
    }
}

/// An address that one can connect to: listening on all addresses means this machine, among others.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Tells what to do about an API server that does not start.
pub fn explain(error: coracle_apiserver::Error) -> Failure {
    let in_use = matches!(&error, coracle_apiserver::Error::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse);
    let failed = Err::<(), _>(error);
    let hinted = match in_use {
        true => failed.hint("is another cluster running? --listen 127.0.0.1:0 takes a free port"),
        false => failed.map_err(Failure::from),
    };
    hinted.expect_err("an error stays one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_can_be_connected_to() {
        let table = [("0.0.0.0:6443", "127.0.0.1:6443"), ("[::]:1", "[::1]:1"), ("10.0.0.1:2", "10.0.0.1:2")];
        for (listen, url) in table {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), url);
        }
    }
}
