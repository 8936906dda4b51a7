//! The kubelet, wired: the node's heartbeat, its pods' workers, its API and its services, each a task of [`Kubelet::run`].

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use axum::Router;
use coracle_client::{Client, Clock, Informer, Informers, Recorder};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::address::Addresses;
use crate::config::Config;
use crate::images::signature::SignerError;
use crate::images::{ImageStore, Puller, StoreError};
use crate::limits::{STATUS_WRITES_MAX, SWEEP_PERIOD, VOLUME_WALKS_MAX};
use crate::logs::Logs;
use crate::names::cluster::Cluster;
use crate::node::describe::{self, Description};
use crate::node::disk::Images;
use crate::node::eviction::Observe;
use crate::node::eviction::manager::Manager;
use crate::node::heartbeat::Heartbeat;
use crate::node::shutdown::shut_down;
use crate::node::{Machine, MachineObserver, resources};
use crate::pod::admit::Ledger;
use crate::pod::instances::Instances;
use crate::pod::volumes::PodDirs;
use crate::pod::volumes::follow::Follower;
use crate::pod::{Host, Pods, Workers, farewell, report};
use crate::proxy::Proxy;
use crate::runtime::Runtime;
use crate::server::{self, rates::Rates};
use crate::static_pods::{Folder, Mirrors, StaticPods};

/// The port that a node says it serves its API on when it is reached in-process. Source: kubelet's default.
const PORT: u16 = 10250;

/// Why a kubelet does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Images(#[from] StoreError),
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error("cannot read what ran on this node before")]
    Instances(#[source] std::io::Error),
    #[error(transparent)]
    Server(#[from] server::ServeError),
}

/// The agent of one node.
pub struct Kubelet {
    workers: Arc<Workers>,
    informers: Informers,
    machine: Machine,
    observer: Arc<dyn Observe>,
    api: Option<server::Bound>,
    /// Cancelled when the pods of a node that shuts down have ended, or the kubelet is dropped: then its tasks end.
    halt: CancellationToken,
    _halts: DropGuard,
}

impl Kubelet {
    /// Makes a kubelet; nothing runs before [`Kubelet::run`]. `pods` holds this node's pods, or more; it and `informers`
    /// are to follow the API for as long as the kubelet runs. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When its folder cannot be used, or its API cannot listen where [`Config::listen`] says.
    pub async fn new(
        config: Config,
        client: Client,
        pods: Informer<Pod>,
        informers: Informers,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, Error> {
        let clock = Clock::system();
        let halt = CancellationToken::new();
        let store = ImageStore::open(config.root_dir.join("images"))?;
        let machine = Machine::look(&config.root_dir);
        let allocatable = resources::allocatable(&config, resources::capacity(&config, &machine));
        let api = match (config.listen, &config.tls) {
            (Some(listen), Some(tls)) => Some(server::bind(listen, tls).await?),
            _ => None,
        };
        let pods = Pods::new(pods, StaticPods::new(&config.root_dir), &config.node_name);
        let name = Some(&*config.node_name);
        let recorder = Recorder::start_with_clock(client.clone(), "kubelet", name, clock, halt.clone());
        let host = Host {
            addresses: Addresses::new(config.pod_cidr),
            cluster: Arc::new(Cluster::new(informers.clone())),
            logs: Logs::new(config.root_dir.join("logs"), config.logs, clock),
            dirs: PodDirs::new(&config.root_dir),
            instances: Instances::open(&config.root_dir).map_err(Error::Instances)?,
            rates: Rates::default(),
            puller: Arc::new(Puller::new(store, config.image_sources, config.registries.clone())?),
            ledger: Ledger::new(allocatable.amount),
            allocatable,
            node: report::Node { ip: config.node_ip, scheme: runtime.scheme() },
            writes: Semaphore::new(STATUS_WRITES_MAX),
            services: informers.get(),
            follower: Follower::new(client.clone()),
            walks: Semaphore::new(VOLUME_WALKS_MAX),
            tasks: TaskTracker::new(),
            pressures: watch::Sender::default(),
            closing: CancellationToken::new(),
            leaving: OnceLock::new(),
            config,
            client,
            pods,
            runtime,
            recorder,
            clock,
        };
        farewell::sweep(&host.config.root_dir);
        let observer = Arc::new(MachineObserver { dir: host.config.root_dir.clone() });
        let _halts = halt.clone().drop_guard();
        Ok(Self { workers: Workers::new(Arc::new(host)), informers, machine, observer, api, halt, _halts })
    }

    /// The same, with other eyes for what the machine has left.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn Observe>) -> Self {
        Self { observer, ..self }
    }

    /// The node's API, to be called in-process by whoever has authenticated the caller.
    pub fn router(&self) -> Router {
        server::router(self.workers.clone())
    }

    /// The node's image store.
    pub fn images(&self) -> &ImageStore {
        self.workers.host().puller.store()
    }

    /// Where the node's API listens, if it does.
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.api.as_ref().map(server::Bound::local_addr)
    }

    /// Runs the node until `shutdown`: then its containers are stopped within their grace, and the pods stay in the API
    /// as they are, unless [`Config::node_shutdown`] has them end before.
    ///
    /// # Errors
    /// When the node's API can no longer be served.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let host = self.workers.host().clone();
        let (router, halt) = (self.router(), self.halt.clone());
        let heartbeat = self.heartbeat();
        let tasks = TaskTracker::new();
        if let Some(path) = host.config.static_pods.clone() {
            // They wait for nobody.
            let mut folder = Folder::new(path, &host.config.node_name);
            folder.look(&self.workers).await;
            tasks.spawn(folder.follow(self.workers.clone(), halt.clone()));
        }
        let Some(uid) = shutdown.run_until_cancelled(heartbeat.register()).await else {
            halt.cancel();
            self.workers.leave().await;
            return Ok(());
        };
        tracing::info!(node = host.config.node_name, "the node is registered");

        tasks.spawn(Mirrors::new(host.clone()).run(halt.clone()));
        let until = halt.clone();
        tasks.spawn(async move { heartbeat.run(uid, until).await });
        if let Some(settings) = host.config.proxy.clone() {
            let proxy = Proxy::new(settings, self.informers.clone(), host.recorder.clone());
            tasks.spawn(proxy.run(halt.clone()));
        }
        let workers = self.workers.clone();
        host.pods.api().on_change(move |delta| workers.changed(delta));
        let images = Arc::new(Images::new(host.clone(), self.observer.clone()));
        let manager = Manager::new(self.workers.clone(), images.clone(), self.observer.clone());
        tasks.spawn(halt.clone().run_until_cancelled_owned(async move { images.watch().await }));
        tasks.spawn(halt.clone().run_until_cancelled_owned(manager.run()));
        tasks.spawn(halt.clone().run_until_cancelled_owned(sweep(self.workers.clone())));
        tasks.spawn(halt.clone().run_until_cancelled_owned(server::rates::watch(self.workers.clone())));

        let serving = async {
            match self.api {
                Some(api) => server::serve(api, router, halt.clone()).await,
                None => {
                    halt.cancelled().await;
                    Ok(())
                }
            }
        };
        let ending = async {
            shutdown.cancelled().await;
            let node_shutdown = host.config.node_shutdown;
            if !node_shutdown.grace.is_zero() {
                shut_down(&self.workers, node_shutdown).await;
            }
            halt.cancel();
        };
        tokio::pin!(serving);
        let served = tokio::select! {
            failed = &mut serving => failed,
            () = ending => serving.await,
        };
        halt.cancel();
        self.workers.leave().await;
        tasks.close();
        tasks.wait().await;
        Ok(served?)
    }

    fn heartbeat(&self) -> Heartbeat {
        let host = self.workers.host();
        let config = &host.config;
        let labels = describe::labels(&config.node_name, &self.machine, host.runtime.labels(), &config.labels);
        let description = Description {
            name: config.node_name.clone(),
            labels,
            address: config.node_ip,
            port: self.local_addr().map_or(PORT, |address| address.port()),
            pod_cidr: config.pod_cidr.to_string(),
            runtime_version: host.runtime.version(),
            machine: self.machine.clone(),
            capacity: resources::capacity(config, &self.machine),
            allocatable: host.allocatable,
        };
        let images = self.images().clone();
        Heartbeat {
            client: host.client.clone(),
            clock: host.clock,
            config: Arc::new(config.clone()),
            description,
            images,
            closing: host.closing.clone(),
            pressures: host.pressures.subscribe(),
        }
    }
}

/// Removes what pods left behind that went away while no kubelet ran, or whose workers failed; now and then, for ever.
async fn sweep(workers: Arc<Workers>) {
    workers.host().pods.synced().await;
    let mut ticks = interval(SWEEP_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let workers = workers.clone();
        let swept = tokio::task::spawn_blocking(move || sweep_once(&workers));
        if let Err(error) = swept.await {
            tracing::warn!(%error, "cannot clean up after former pods");
        }
    }
}

/// Blocks. Whose worker is there is known; all others are looked up, which takes opening every pod.
fn sweep_once(workers: &Workers) {
    let host = workers.host();
    let visit = |is_known: &dyn Fn(&str) -> bool| {
        host.logs.sweep(is_known);
        host.instances.sweep(is_known);
        host.dirs.sweep(is_known);
        host.pods.fixed().sweep(is_known);
    };
    let is_strange = Cell::new(false);
    visit(&|uid| {
        is_strange.set(is_strange.get() || !workers.knows(uid));
        true
    });
    if is_strange.get() {
        let known: HashSet<String> = host.pods.list().iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        visit(&|uid| known.contains(uid) || workers.knows(uid));
    }
}
