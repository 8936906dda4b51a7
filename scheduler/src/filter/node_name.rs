//! A pod that names its node runs there or nowhere. Source: `NodeName`.

use crate::event::ClusterEvent;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub fn reason(pod: &PodInfo, node: &NodeInfo) -> Option<String> {
    let other = pod.node_name.as_ref().is_some_and(|name| *name != node.offer.name);
    other.then(|| "node(s) didn't match the requested node name".into())
}

pub fn is_helped(pod: &PodInfo, event: &ClusterEvent<'_>) -> bool {
    matches!(event, ClusterEvent::NodeAdded(node) if reason(pod, node).is_none())
}
