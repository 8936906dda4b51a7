//! Fewer pods of the same controller. Source: what the default constraints of `PodTopologySpread` and, before them,
//! `SelectorSpread` aim at.

use super::reversed;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub fn scores(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let Some(owner) = &pod.owner else { return vec![0; nodes.len()] };
    let count = |node: &&NodeInfo| node.load.owners.get(owner).copied().unwrap_or_default();
    reversed(nodes.iter().map(count).collect())
}
