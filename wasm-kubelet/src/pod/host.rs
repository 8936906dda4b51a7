//! What all pods of a node share.

use std::sync::{Arc, OnceLock};

use coracle_client::{Client, Clock, Informer, Recorder};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Pods;
use super::admit::Ledger;
use super::instances::Instances;
use super::report;
use super::volumes::PodDirs;
use super::volumes::follow::Follower;
use crate::address::Addresses;
use crate::config::Config;
use crate::images::Puller;
use crate::logs::Logs;
use crate::names::cluster::Cluster;
use crate::node::eviction::Pressures;
use crate::node::resources::Resources;
use crate::runtime::Runtime;
use crate::server::rates::Rates;

/// The node, as its pods' workers see it.
pub struct Host {
    pub config: Config,
    pub client: Client,
    pub pods: Pods,
    /// What pods are told of in their environment.
    pub services: Informer<Service>,
    pub runtime: Arc<dyn Runtime>,
    pub puller: Arc<Puller>,
    pub addresses: Addresses,
    /// The cluster's own names.
    pub cluster: Arc<Cluster>,
    pub logs: Logs,
    /// Where pods have their volumes.
    pub dirs: PodDirs,
    /// What was started here.
    pub instances: Instances,
    pub rates: Rates,
    pub ledger: Ledger,
    pub allocatable: Resources,
    /// Watches what pods have as files.
    pub follower: Follower,
    /// Who may count what folders hold now.
    pub walks: Semaphore,
    pub recorder: Recorder,
    pub clock: Clock,
    pub node: report::Node,
    /// Who may write a status now.
    pub writes: Semaphore,
    /// The tasks that work for the pods' workers; nobody waits for them.
    pub tasks: TaskTracker,
    /// What the node is short of.
    pub pressures: watch::Sender<Pressures>,
    /// Cancelled once the node shuts down: its pods end, and it takes no more.
    pub closing: CancellationToken,
    /// Set once the kubelet stops: until when containers may take.
    pub leaving: OnceLock<Timestamp>,
}
