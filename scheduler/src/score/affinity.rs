//! More of what the pod would like in a node. Source: `NodeAffinity`.

use super::stretched;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub fn scores(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let weight = |node: &&NodeInfo| -> i64 {
        pod.preferred.iter().filter(|(_, term)| term.matches(&node.offer)).map(|(weight, _)| weight).sum()
    };
    stretched(nodes.iter().map(weight).collect())
}
