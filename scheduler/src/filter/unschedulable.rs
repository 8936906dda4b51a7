//! Cordoned nodes take no pods, but those that tolerate it. Source: `NodeUnschedulable`.

use super::taints::{Effect, Taint};
use crate::event::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub fn reason(pod: &PodInfo, node: &NodeInfo) -> Option<String> {
    (node.offer.unschedulable && !is_tolerated(pod)).then(|| "node(s) were unschedulable".into())
}

pub fn is_helped(pod: &PodInfo, event: &ClusterEvent<'_>) -> bool {
    match event {
        ClusterEvent::NodeAdded(node) => reason(pod, node).is_none(),
        ClusterEvent::NodeChanged { old, new } => old.unschedulable && reason(pod, new).is_none(),
        ClusterEvent::PodGone(_) => false,
    }
}

/// The taint by which a cordon could be written.
fn is_tolerated(pod: &PodInfo) -> bool {
    let cordon =
        Taint { key: "node.kubernetes.io/unschedulable".into(), value: String::new(), effect: Effect::NoSchedule };
    pod.tolerations.iter().any(|toleration| toleration.tolerates(&cordon))
}
