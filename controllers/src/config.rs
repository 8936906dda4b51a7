//! How the controllers are set up. The defaults are upstream's, but where a doc says otherwise.

use std::time::Duration;

use coracle_client::{Clock, LeaderConfig};

/// Periods, grace and workers of all controllers.
#[derive(Clone, Debug)]
pub struct Config {
    pub clock: Clock,
    /// Where several controller managers stand by for each other; `None`: this is the only one.
    pub leader_election: Option<LeaderConfig>,
    /// What pods trust the API server by, as PEM: published to every namespace. `None` publishes nothing.
    pub root_ca: Option<String>,

    /// How many replica sets (and as many replication controllers) are worked on at a time.
    pub replica_set_workers: usize,
    pub deployment_workers: usize,
    pub endpoints_workers: usize,
    pub endpoint_slice_workers: usize,
    pub namespace_workers: usize,
    pub node_workers: usize,
    pub disruption_workers: usize,
    pub resource_quota_workers: usize,
    pub service_account_workers: usize,
    pub garbage_collector_workers: usize,
    /// How many jobs are worked on at a time. (Upstream: 5.)
    pub job_workers: usize,
    pub ttl_after_finished_workers: usize,

    /// Changes of pods that only change a set's status are gathered for so long. (Upstream: each is written.)
    pub status_batch_period: Duration,
    /// Changes of pods are gathered for so long before their job is looked at. (Upstream: 1 s.)
    pub job_batch_period: Duration,
    /// Changes of pods are gathered for so long before a service's slices are written. (Upstream: 0.)
    pub endpoint_slice_batch_period: Duration,
    /// As `endpoint_slice_batch_period`, for the one large object that endpoints are. (Upstream: 0.)
    pub endpoints_batch_period: Duration,
    /// The most endpoints in a slice.
    pub endpoints_per_slice_max: usize,

    /// How long a node may be silent before it is not known to be ready. (Upstream: 50 s since v1.32, 40 s before.)
    pub node_monitor_grace: Duration,
    /// How long a node may take to speak for the first time.
    pub node_startup_grace: Duration,
    /// How long a pod that tolerates neither an unreachable nor an unready node stays on one. The API server gives
    /// pods such tolerations, for as long; this is for pods that it did not.
    pub pod_eviction_grace: Duration,
    /// How often pods that nobody else cares for are looked for.
    pub pod_garbage_period: Duration,
    /// How long a node has to be gone before the pods on it are.
    pub pod_garbage_quarantine: Duration,
    /// How many finished pods are kept; 0 keeps all.
    pub finished_pods_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            leader_election: None,
            root_ca: None,
            replica_set_workers: 5,
            deployment_workers: 5,
            endpoints_workers: 5,
            endpoint_slice_workers: 5,
            namespace_workers: 10,
            node_workers: 8,
            disruption_workers: 5,
            resource_quota_workers: 5,
            service_account_workers: 5,
            garbage_collector_workers: 20,
            job_workers: 16,
            ttl_after_finished_workers: 5,
            status_batch_period: Duration::from_millis(10),
            job_batch_period: Duration::from_millis(10),
            endpoint_slice_batch_period: Duration::from_millis(20),
            endpoints_batch_period: Duration::from_millis(100),
            endpoints_per_slice_max: 100,
            node_monitor_grace: Duration::from_secs(40),
            node_startup_grace: Duration::from_secs(60),
            pod_eviction_grace: Duration::from_secs(300),
            pod_garbage_period: Duration::from_secs(20),
            pod_garbage_quarantine: Duration::from_secs(40),
            finished_pods_max: 12_500,
        }
    }
}
