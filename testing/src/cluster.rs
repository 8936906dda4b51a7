//! Which parts a cluster has, and the order in which they start and stop.
//!
//! Every part speaks to the API server by a call, each under the identity that it has in a real cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use coracle_apiserver::{ApiServer, Identity, InProcess, Pki};
use coracle_client::{Client, Informers};
use coracle_store::MemoryStore;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::logs::{Logs, Proxy};
use crate::nodes::FakeNodes;
use crate::pod::{Outcome, Outcomes};
use crate::way_in::WayIn;
use crate::{Error, crds};

/// Which parts a cluster is to have. Made by [`Cluster::builder`]; nothing is there that is not asked for.
#[derive(Default)]
pub struct Builder {
    controllers: bool,
    scheduler: bool,
    nodes: usize,
    outcomes: Outcomes,
    listen: Option<SocketAddr>,
    crds: Vec<CustomResourceDefinition>,
}

/// A running cluster; it ends when this is dropped.
pub struct Cluster {
    inside: InProcess,
    pki: Arc<Pki>,
    address: Option<SocketAddr>,
    logs: Arc<Logs>,
    informers: Informers,
    parts: Parts,
    server: Parts,
    /// Stops the informers: after the parts that read them, before the server that feeds them.
    stop_informers: CancellationToken,
}

/// Tasks that stop together; aborted when this is dropped.
#[derive(Default)]
struct Parts {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Error>>,
}

impl Builder {
    /// With the controllers: a Deployment gets its pods, a Service its endpoints, a namespace its service account; what
    /// is owned is collected, and a namespace that is deleted empties itself and goes.
    #[must_use]
    pub fn controllers(self) -> Self {
        Self { controllers: true, ..self }
    }

    /// With the scheduler: pods get a node, if there is one.
    #[must_use]
    pub fn scheduler(self) -> Self {
        Self { scheduler: true, ..self }
    }

    /// With so many nodes that pretend to run pods, `node-0` and so on, all of them ready when the cluster has started.
    #[must_use]
    pub fn nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

    /// What becomes of the pods of those nodes: asked once for each pod that a node takes. By default
    /// [`Outcome::of`].
    #[must_use]
    pub fn pods(self, outcome: impl Fn(&Pod) -> Outcome + Send + Sync + 'static) -> Self {
        Self { outcomes: Outcomes(Arc::new(outcome)), ..self }
    }

    /// With a socket too, on a free port of the loopback address: see [`Cluster::kubeconfig`].
    #[must_use]
    pub fn socket(self) -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..self }
    }

    /// With these definitions, established when the cluster has started.
    #[must_use]
    pub fn crds(mut self, crds: impl IntoIterator<Item = CustomResourceDefinition>) -> Self {
        self.crds.extend(crds);
        self
    }

    /// Starts it. When this returns the API answers, its nodes are ready and its definitions established.
    ///
    /// # Errors
    /// When a definition is refused; otherwise only when the machine has no socket or no randomness to give.
    pub async fn start(self) -> Result<Cluster, Error> {
        let pki = Arc::new(Pki::in_memory()?);
        let logs = Arc::new(Logs::default());
        let mut server = Parts::default();
        let config = coracle_apiserver::Config {
            listen: self.listen,
            require_service_accounts: self.controllers,
            ..coracle_apiserver::Config::new(pki.clone())
        };
        let (store, proxy) = (Arc::new(MemoryStore::new()), Arc::new(Proxy(logs.clone())));
        let api = coracle_apiserver::start(config, store, proxy, server.stop.clone()).await?;
        let (inside, address) = (api.in_process(Identity::controller_manager()), api.local_addr());
        server.tasks.spawn(stopped(api));

        let stop_informers = CancellationToken::new();
        let informers = Informers::new(Client::from_service(inside.clone()), stop_informers.clone());
        let parts = Parts::default();
        let mut cluster = Cluster { inside, pki, address, logs, informers, parts, server, stop_informers };
        crds::install(&cluster.coracle_client(Identity::admin()), &self.crds).await?;
        cluster.start_nodes(self.nodes, self.outcomes).await?;
        if self.controllers {
            cluster.start_controllers();
        }
        if self.scheduler {
            cluster.start_scheduler();
        }
        Ok(cluster)
    }
}

impl Cluster {
    /// The API alone: no controllers, no scheduler, no nodes, no socket.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// A cluster of the parts that are asked for.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A client that may do everything. Must be called within a tokio runtime, on which it then runs.
    pub fn client(&self) -> kube::Client {
        self.client_as(Identity::admin())
    }

    /// A client of somebody else: of a user, of a service account, of a component.
    pub fn client_as(&self, identity: Identity) -> kube::Client {
        let inside = self.inside.identified(identity);
        kube::Client::new(WayIn { inside, ended: self.server.stop.clone() }, "default")
    }

    /// A kubeconfig by which a program beside this one reaches the cluster as `identity`.
    ///
    /// # Errors
    /// [`Error::NoSocket`]; [`Error::Certificates`] when the identity is in several groups.
    pub fn kubeconfig(&self, identity: &Identity) -> Result<String, Error> {
        let address = self.address.ok_or(Error::NoSocket)?;
        Ok(self.pki.client_kubeconfig(&format!("https://{address}"), identity)?)
    }

    /// Has a container of a pretended pod say this to those who read its log from now on; without it, it says nothing.
    pub fn set_log(&self, namespace: &str, pod: &str, container: &str, text: impl Into<String>) {
        self.logs.set(namespace, pod, container, text.into());
    }

    /// Stops everything in order, and waits for it.
    ///
    /// # Errors
    /// When a part did not end well.
    pub async fn stop(mut self) -> Result<(), Error> {
        let parts = self.parts.stop().await;
        self.stop_informers.cancel();
        self.informers.stopped().await;
        parts.and(self.server.stop().await)
    }

    fn coracle_client(&self, identity: Identity) -> Client {
        Client::from_service(self.inside.identified(identity))
    }

    async fn start_nodes(&mut self, count: usize, outcomes: Outcomes) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        let client_of = |node: &str| self.coracle_client(Identity::node(node)).named("kubelet");
        let nodes = FakeNodes::register(count, client_of).await?;
        let run = nodes.run(self.informers.get::<Pod>(), outcomes.0, self.parts.stop.clone());
        self.parts.tasks.spawn(async move {
            run.await;
            Ok(())
        });
        Ok(())
    }

    fn start_controllers(&mut self) {
        let client = self.coracle_client(Identity::controller_manager()).named("kube-controller-manager");
        let config = coracle_controllers::Config {
            root_ca: Some(self.pki.authority_pem().to_owned()),
            ..coracle_controllers::Config::default()
        };
        let run = coracle_controllers::run(config, client, self.informers.clone(), self.parts.stop.clone());
        self.parts.tasks.spawn(async move { Ok(run.await?) });
    }

    fn start_scheduler(&mut self) {
        let client = self.coracle_client(Identity::scheduler()).named("kube-scheduler");
        let config = coracle_scheduler::Config::default();
        let run = coracle_scheduler::run(config, client, self.informers.clone(), self.parts.stop.clone());
        self.parts.tasks.spawn(async move { Ok(run.await?) });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.parts.stop.cancel();
        self.stop_informers.cancel();
        self.server.stop.cancel();
    }
}

impl Parts {
    /// Stops the tasks and waits for their end; the first failure.
    async fn stop(&mut self) -> Result<(), Error> {
        self.stop.cancel();
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            outcome = outcome.and(ended.map_err(Error::Panicked).flatten());
        }
        outcome
    }
}

async fn stopped(server: ApiServer) -> Result<(), Error> {
    Ok(server.stopped().await?)
}
