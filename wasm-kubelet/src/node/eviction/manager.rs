//! The effects of eviction: looks at the machine now and then, tells the node's conditions, and does what [`super::decide`]
//! and [`super::rank`] say, one pod at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::EventType;
use futures::future::join_all;
use k8s_openapi::api::core::v1 as core;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::decide::Watch;
use super::local::Bounds;
use super::message;
use super::rank::{Candidate, rank};
use super::signal::{Observations, Observe, Resource, Signal};
use super::threshold::Threshold;
use super::usage::{Places, candidate, held, shares};
use crate::limits::{EVICTION_CLEANUP_MAX, EVICTION_GRACE, EVICTION_PERIOD, EVICTION_SETTLE};
use crate::node::disk::Images;
use crate::pod::critical::is_critical;
use crate::pod::state::Outcome;
use crate::pod::worker::Shared;
use crate::pod::{Host, Workers};

/// Keeps the node from running short; one a node. Between two looks it holds no pods: thousands of them are large.
pub struct Manager {
    workers: Arc<Workers>,
    images: Arc<Images>,
    observer: Arc<dyn Observe>,
    watch: Watch,
    /// Which pods, by their uids, have limits on the disk; those limits do not change while a pod lives.
    bounds: HashMap<String, Option<Bounds>>,
}

/// A pod that was told to end, and how long it may take.
struct Going {
    shared: Arc<Shared>,
    grace: Duration,
}

impl Manager {
    /// Watches for what the node's settings say.
    pub fn new(workers: Arc<Workers>, images: Arc<Images>, observer: Arc<dyn Observe>) -> Self {
        let watch = Watch::new(workers.host().config.eviction.clone());
        Self { workers, images, observer, watch, bounds: HashMap::new() }
    }

    /// Goes on for ever.
    ///
    /// # Cancel safety
    /// May be dropped: pods that were told to end do so.
    pub async fn run(mut self) {
        if self.watch.settings().thresholds.iter().any(|it| it.signal == Signal::PidAvailable) {
            tracing::warn!("the threshold of pid.available is never met: a guest has no processes");
        }
        self.host().pods.synced().await;
        loop {
            let going = self.pass().await;
            if going.is_empty() {
                sleep(EVICTION_PERIOD).await;
                continue;
            }
            let grace = going.iter().map(|it| it.grace).max().unwrap_or_default();
            let gone = join_all(going.iter().map(|it| it.shared.ended()));
            if timeout(grace + EVICTION_CLEANUP_MAX, gone).await.is_err() {
                tracing::warn!("evicted pods did not end in time");
            }
            sleep(EVICTION_SETTLE).await;
        }
    }

    /// Looks once; the pods that have to go.
    async fn pass(&mut self) -> Vec<Going> {
        let observed = self.observe().await;
        let verdict = self.watch.look(&observed, Instant::now());
        let pressures = verdict.pressures;
        self.host().pressures.send_if_modified(|before| std::mem::replace(before, pressures) != pressures);
        let pods = self.running();
        let beyond = self.evict_beyond_limits(&pods).await;
        match verdict.due.first() {
            Some(first) if beyond.is_empty() => self.reclaim(first, &verdict.due, observed, pods).await,
            _ => beyond,
        }
    }

    async fn observe(&self) -> Observations {
        let observer = self.observer.clone();
        spawn_blocking(move || observer.observe()).await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look at the machine");
            Observations::default()
        })
    }

    /// The pods of which anything runs or is to.
    fn running(&self) -> Vec<Arc<Shared>> {
        self.workers.all().into_iter().filter(|it| it.is_active()).collect()
    }

    /// Evicts all pods that have more on the disk than they may.
    async fn evict_beyond_limits(&mut self, pods: &[Arc<Shared>]) -> Vec<Going> {
        let bound = self.bound(pods).await;
        if bound.is_empty() {
            return Vec::new();
        }
        let host = self.workers.host().clone();
        let beyond = self.walk(move || {
            let passed = |(shared, bounds): (Arc<Shared>, Bounds)| {
                let pod = open(&host, &shared)?;
                let message = bounds.passed(&held(&pod, &places(&host, &shared), bounds.bytes_max()))?;
                Some((shared, message))
            };
            bound.into_iter().filter_map(passed).collect::<Vec<_>>()
        });
        let mut going = Vec::new();
        for (shared, message) in beyond.await {
            going.push(end(shared, Outcome::failed("Evicted", message), EVICTION_GRACE).await);
        }
        going
    }

    /// The pods that have limits on the disk. Who matters to the cluster may pass them.
    async fn bound(&mut self, pods: &[Arc<Shared>]) -> Vec<(Arc<Shared>, Bounds)> {
        let mut before = std::mem::take(&mut self.bounds);
        let (known, new): (Vec<_>, Vec<_>) = pods.iter().cloned().partition(|it| before.contains_key(&it.uid));
        self.bounds = known.iter().filter_map(|it| before.remove_entry(&it.uid)).collect();
        if !new.is_empty() {
            let host = self.workers.host().clone();
            let bounds = move |shared: Arc<Shared>| {
                let pod = open(&host, &shared).filter(|pod| !is_critical(pod, shared.is_static));
                (shared.uid.clone(), pod.and_then(|pod| Bounds::of(&pod)))
            };
            let seen = self.walk(move || new.into_iter().map(bounds).collect::<Vec<_>>()).await;
            self.bounds.extend(seen);
        }
        let bound = pods.iter().filter_map(|it| Some((it.clone(), self.bounds.get(&it.uid)?.clone()?)));
        bound.collect()
    }

    /// Gets back what the node itself can spare, and where that is not enough what the first of its pods has.
    async fn reclaim(
        &self,
        threshold: &Threshold,
        due: &[Threshold],
        observed: Observations,
        pods: Vec<Arc<Shared>>,
    ) -> Vec<Going> {
        let (host, resource) = (self.host(), threshold.signal.resource());
        let node = crate::node::reference(&host.config.node_name);
        let message = format!("Attempting to reclaim {}", resource.as_str());
        tracing::warn!(signal = %threshold.signal, resource = resource.as_str(), "the node runs short");
        host.recorder.event_on(node, EventType::Warning, "EvictionThresholdMet", message);
        if matches!(resource, Resource::Storage | Resource::Inodes) {
            self.sweep().await;
            if self.watch.is_resolved(&self.observe().await) {
                return Vec::new();
            }
        }
        let (due, host) = (due.to_vec(), self.workers.host().clone());
        let first = self.walk(move || {
            let first = first(&host, resource, pods)?;
            let shares = shares(resource, &first, &*open(&host, &first)?, &places(&host, &first));
            Some((message::evicted(resource, &due, &observed, &shares), first))
        });
        let Some((message, first)) = first.await else {
            tracing::warn!(resource = resource.as_str(), "the node runs short, and there is no pod to evict");
            return Vec::new();
        };
        let grace = if threshold.grace.is_some() { self.watch.settings().pod_grace_max } else { EVICTION_GRACE };
        let outcome = Outcome::failed("Evicted", message).disruption();
        vec![end(first, outcome, grace).await]
    }

    /// Removes what no container needs that runs: the logs of those that have ended, and images.
    async fn sweep(&self) {
        let host = self.workers.host().clone();
        let bytes = self.walk(move || host.logs.remove_ended()).await;
        tracing::info!(bytes, "removed the logs of ended containers");
        self.images.collect(true).await;
    }

    /// Does what takes time on a thread of its own, in its turn.
    async fn walk<T: Send + Default + 'static>(&self, walk: impl FnOnce() -> T + Send + 'static) -> T {
        let _turn = self.host().walks.acquire().await;
        spawn_blocking(walk).await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot see what pods use");
            T::default()
        })
    }

    fn host(&self) -> &Host {
        self.workers.host()
    }
}

/// The pod that goes first. Blocks.
fn first(host: &Host, resource: Resource, mut pods: Vec<Arc<Shared>>) -> Option<Arc<Shared>> {
    pods.sort_by(|a, b| a.key.cmp(&b.key));
    let candidates = pods.into_iter().filter_map(|shared| {
        let pod = open(host, &shared).filter(|pod| !is_critical(pod, shared.is_static))?;
        let places = places(host, &shared);
        Some(candidate(resource, shared, &pod, &places))
    });
    let mut candidates: Vec<Candidate<Arc<Shared>>> = candidates.collect();
    rank(resource, &mut candidates);
    candidates.into_iter().next().map(|candidate| candidate.pod)
}

async fn end(shared: Arc<Shared>, outcome: Outcome, grace: Duration) -> Going {
    tracing::warn!(pod = %shared.key, why = outcome.message, "evicting a pod");
    shared.end(outcome.within(grace)).await;
    Going { shared, grace }
}

fn open(host: &Host, shared: &Shared) -> Option<Arc<core::Pod>> {
    host.pods.of(&shared.key, &shared.uid)
}

fn places(host: &Host, shared: &Shared) -> Places {
    Places { dir: host.dirs.of(&shared.uid), logs: host.logs.pod(&shared.key.namespace, &shared.key.name, &shared.uid) }
}
