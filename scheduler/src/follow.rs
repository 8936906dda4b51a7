//! Keeps the scheduler's state in step with the caches. What a pod or node was before does not matter but for what it
//! sets free.

use coracle_api::pods;
use coracle_client::{Delta, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::time::Instant;

use crate::event::ClusterEvent;
use crate::node::Offer;
use crate::pod::PodInfo;
use crate::queue::Queue;
use crate::snapshot::Snapshot;

/// All that the scheduler knows; rebuilt from a list and a watch at every start.
#[derive(Debug, Default)]
pub struct State {
    pub snapshot: Snapshot,
    pub queue: Queue,
}

/// What a pod is to this scheduler.
enum Role {
    /// It takes room on a node.
    Placed { node: String },
    /// It waits for a node, from this scheduler.
    Waiting,
    /// Neither.
    Other,
}

impl State {
    pub fn node(&mut self, delta: &Delta<Node>, now: Instant) {
        match delta {
            Delta::Added(node) | Delta::Updated { new: node, .. } => self.set_node(Offer::parse(node), now),
            Delta::Deleted(node) => self.snapshot.remove_node(node.metadata.name.as_deref().unwrap_or_default()),
        }
    }

    /// `scheduler` is the name that pods call this scheduler by.
    pub fn pod(&mut self, delta: &Delta<Pod>, scheduler: &str, now: Instant) {
        match delta {
            Delta::Updated { old, new } if is_alike(old, new) => {}
            Delta::Added(pod) | Delta::Updated { new: pod, .. } => self.set_pod(pod, scheduler, now),
            Delta::Deleted(_) => {
                let key = delta.key();
                self.queue.remove(&key);
                self.free(&key, now);
            }
        }
    }

    /// The room that a pod had, or was to have, is free.
    pub fn free(&mut self, key: &Key, now: Instant) {
        if let Some(gone) = self.snapshot.remove_pod(key) {
            self.queue.wake(&ClusterEvent::PodGone(&gone), now);
        }
    }

    fn set_node(&mut self, offer: Offer, now: Instant) {
        let name = offer.name.clone();
        let old = self.snapshot.set_node(offer);
        let Some(new) = self.snapshot.node(&name) else { return };
        match &old {
            None => self.queue.wake(&ClusterEvent::NodeAdded(new), now),
            Some(old) if *old != new.offer => self.queue.wake(&ClusterEvent::NodeChanged { old, new }, now),
            Some(_) => {}
        }
    }

    fn set_pod(&mut self, pod: &Pod, scheduler: &str, now: Instant) {
        let info = PodInfo::parse(pod);
        match role(pod, scheduler) {
            Role::Placed { node } => {
                self.queue.remove(&info.key);
                let requests = info.requests.clone();
                let before = self.snapshot.set_pod(info, &node);
                if let Some(before) = before.filter(|before| before.requests != requests) {
                    self.queue.wake(&ClusterEvent::PodGone(&before), now);
                }
            }
            // The cache does not know yet what is already decided.
            Role::Waiting if self.snapshot.is_assumed(&info.key, &info.uid) => {}
            Role::Waiting => self.queue.upsert(info, now),
            Role::Other => {
                self.queue.remove(&info.key);
                self.free(&info.key, now);
            }
        }
    }
}

fn role(pod: &Pod, scheduler: &str) -> Role {
    let asks_for = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).filter(|name| !name.is_empty());
    match pods::node_name(pod) {
        _ if pods::is_finished(pod) => Role::Other,
        Some(node) => Role::Placed { node: node.to_owned() },
        None if pods::is_active(pod) && asks_for.unwrap_or(crate::run::DEFAULT_NAME) == scheduler => Role::Waiting,
        None => Role::Other,
    }
}

/// Whether nothing has changed that the scheduler looks at. A running pod's status changes often.
fn is_alike(old: &Pod, new: &Pod) -> bool {
    old.spec == new.spec
        && pods::is_finished(old) == pods::is_finished(new)
        && old.metadata.deletion_timestamp.is_some() == new.metadata.deletion_timestamp.is_some()
        && old.metadata.owner_references == new.metadata.owner_references
}
