//! A node must have left what a pod asks for. Source: `NodeResourcesFit`.

use crate::event::ClusterEvent;
use crate::node::{NodeInfo, Offer};
use crate::pod::PodInfo;
use crate::resources::Resources;

pub fn reasons(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let mut reasons = Vec::new();
    if node.load.pods >= node.offer.pods_max {
        reasons.push("Too many pods".into());
    }
    let lacking = node.offer.allocatable.lacking(&node.load.requested, &pod.requests);
    reasons.extend(lacking.map(|resource| format!("Insufficient {resource}")));
    reasons
}

pub fn is_helped(pod: &PodInfo, event: &ClusterEvent<'_>) -> bool {
    match event {
        ClusterEvent::NodeAdded(node) => reasons(pod, node).is_empty(),
        ClusterEvent::NodeChanged { old, new } => has_grown(old, &new.offer) && reasons(pod, new).is_empty(),
        // At least its place among the pods is free now; what else is, the next decision sees.
        ClusterEvent::PodGone(_) => true,
    }
}

fn has_grown(old: &Offer, new: &Offer) -> bool {
    let grown = old.allocatable.lacking(&Resources::default(), &new.allocatable).next().is_some();
    grown || new.pods_max > old.pods_max
}
