//! Removes pods that nobody else will: of nodes that have gone, that were deleted before they had a node, and finished
//! ones beyond a limit.
//!
//! Source: upstream's pod garbage collector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Client, DeleteOptions, Error, Informer, Key, Patch};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{Context, pod};

/// How many pods are removed at a time.
const REMOVALS_AT_ONCE: usize = 16;

/// Marks a node that is known to be off, so that its pods' deletions need not wait for it.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Runs the collector until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let mut collector = Collector::new(&context);
    let looking = async {
        collector.pods.synced().await;
        collector.nodes.synced().await;
        loop {
            collector.look().await;
            context.clock.sleep(context.config.pod_garbage_period).await;
        }
    };
    shutdown.run_until_cancelled(looking).await;
}

struct Collector {
    context: Context,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    /// Nodes that pods name and that are not there, and when that was first seen.
    missing_since: BTreeMap<String, Timestamp>,
}

impl Collector {
    fn new(context: &Context) -> Self {
        Self {
            pods: context.informers.get(),
            nodes: context.informers.get(),
            missing_since: BTreeMap::new(),
            context: context.clone(),
        }
    }

    async fn look(&mut self) {
        let now = self.context.clock.wall();
        let (pods, nodes) = (self.pods.list(), self.nodes.list());
        self.note_missing(&pods, &nodes, now);
        let observed = Observed {
            gone: self.confirm_gone(now).await,
            out_of_service: nodes
                .iter()
                .filter(|node| is_out_of_service(node))
                .filter_map(|node| node.metadata.name.clone())
                .collect(),
            finished_pods_max: self.context.config.finished_pods_max,
            pods,
        };
        let client = &self.context.client;
        let removals = plan(&observed).into_iter().map(|removal| async move { execute(client, &removal).await });
        let mut results = futures::stream::iter(removals).buffer_unordered(REMOVALS_AT_ONCE);
        while let Some(result) = results.next().await {
            if let Err(error) = result {
                tracing::warn!(%error, "a pod that is garbage cannot be removed now");
            }
        }
    }

    fn note_missing(&mut self, pods: &[Arc<Pod>], nodes: &[Arc<Node>], now: Timestamp) {
        let known: BTreeSet<&str> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
        let named: BTreeSet<&str> = pods.iter().filter_map(|pod| pod::node_name(pod)).collect();
        self.missing_since.retain(|node, _| named.contains(node.as_str()) && !known.contains(node.as_str()));
        for node in named.difference(&known) {
            self.missing_since.entry((*node).to_owned()).or_insert(now);
        }
    }

    /// The nodes that have been missing for long enough, and are missing at the server too.
    async fn confirm_gone(&self, now: Timestamp) -> BTreeSet<String> {
        let quarantine = signed(self.context.config.pod_garbage_quarantine);
        let overdue = self.missing_since.iter().filter(|(_, since)| now.duration_since(**since) >= quarantine);
        let mut gone = BTreeSet::new();
        for (node, _) in overdue {
            if let Ok(None) = self.context.client.all::<Node>().find(node).await {
                gone.insert(node.clone());
            }
        }
        gone
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let ready = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = ready.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    !is_ready && taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// What is known at a look.
#[derive(Debug, Default)]
struct Observed {
    pods: Vec<Arc<Pod>>,
    /// Nodes that are certainly no more.
    gone: BTreeSet<String>,
    /// Nodes of which somebody says that nothing runs there.
    out_of_service: BTreeSet<String>,
    finished_pods_max: usize,
}

/// A pod to be removed at once, and why.
#[derive(Clone, Debug, PartialEq)]
struct Removal {
    pod: Arc<Pod>,
    /// What its status says of that; `None` where nothing needs to be said.
    disruption: Option<&'static str>,
}

fn plan(observed: &Observed) -> Vec<Removal> {
    let mut removals: Vec<Removal> = observed.pods.iter().filter_map(|pod| removal(observed, pod)).collect();
    let mut finished: Vec<&Arc<Pod>> =
        observed.pods.iter().filter(|pod| pod::is_finished(pod) && !pod::is_deleting(pod)).collect();
    if observed.finished_pods_max > 0 && finished.len() > observed.finished_pods_max {
        finished.sort_by_key(|pod| (!is_evicted(pod), pod.metadata.creation_timestamp.clone(), Key::of(&***pod)));
        let surplus = finished.len() - observed.finished_pods_max;
        let surplus = finished.into_iter().take(surplus).map(|pod| Removal { pod: pod.clone(), disruption: None });
        removals.extend(
            surplus
                .filter(|surplus| !removals.iter().any(|one| Arc::ptr_eq(&one.pod, &surplus.pod)))
                .collect::<Vec<_>>(),
        );
    }
    removals
}

fn removal(observed: &Observed, pod: &Arc<Pod>) -> Option<Removal> {
    let disruption = match pod::node_name(pod) {
        Some(node) if observed.gone.contains(node) => Some("PodGC: node no longer exists"),
        Some(node) if pod::is_deleting(pod) && observed.out_of_service.contains(node) => {
            Some("PodGC: node is out of service")
        }
        None if pod::is_deleting(pod) => None,
        _ => return None,
    };
    Some(Removal { pod: pod.clone(), disruption: disruption.filter(|_| !pod::is_finished(pod)) })
}

fn is_evicted(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    pod::phase(pod) == pod::Phase::Failed && status.and_then(|status| status.reason.as_deref()) == Some("Evicted")
}

/// Says why in the pod's status, where somebody may still read it, and then removes it without a grace period: there
/// is nobody to wait for.
async fn execute(client: &Client, removal: &Removal) -> Result<(), Error> {
    let Key { namespace, name } = Key::of(&*removal.pod);
    let pods = client.namespaced::<Pod>(&namespace);
    if let Some(message) = removal.disruption {
        let patch = json!({ "metadata": { "uid": removal.pod.metadata.uid }, "status": {
            "phase": "Failed",
            "conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
            }],
        } });
        match pods.patch_status(&name, &Patch::Strategic(patch)).await {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    let preconditions = Preconditions { uid: removal.pod.metadata.uid.clone(), resource_version: None };
    let options =
        DeleteOptions { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteOptions::default() };
    match pods.delete(&name, &options).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::{at, deleting, in_phase, on, pod, with};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn removed(observed: &Observed) -> Vec<&str> {
        observed
            .pods
            .iter()
            .filter(|pod| plan(observed).iter().any(|one| Arc::ptr_eq(&one.pod, pod)))
            .map(|pod| pod.metadata.name.as_deref().unwrap_or_default())
            .collect()
    }

    #[test]
    fn only_what_nobody_cares_for_is_removed() {
        let pods = vec![
            on(pod("alive"), "here"),
            on(pod("lost"), "gone"),
            deleting(pod("never-bound")),
            deleting(on(pod("stopping"), "here")),
            deleting(on(pod("stuck"), "off")),
            on(pod("on-off"), "off"),
            pod("pending"),
        ];
        let observed = Observed {
            pods: pods.into_iter().map(Arc::new).collect(),
            gone: ["gone".to_owned()].into(),
            out_of_service: ["off".to_owned()].into(),
            finished_pods_max: 0,
        };
        assert_eq!(removed(&observed), ["lost", "never-bound", "stuck"]);
    }

    #[test]
    fn the_oldest_finished_pods_go_and_evicted_ones_before() {
        let finished = |name: &str, created: i64, reason: Option<&str>| {
            Arc::new(with(in_phase(on(pod(name), "here"), "Failed"), |pod| {
                pod.metadata.creation_timestamp = Some(Time(at(created)));
                pod.status.get_or_insert_default().reason = reason.map(str::to_owned);
            }))
        };
        let observed = Observed {
            pods: vec![finished("old", 0, None), finished("new", 9, None), finished("evicted", 5, Some("Evicted"))],
            finished_pods_max: 1,
            ..Observed::default()
        };
        assert_eq!(removed(&observed), ["old", "evicted"]);
    }
}
