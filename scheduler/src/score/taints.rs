//! Fewer taints that would rather keep the pod off. Source: `TaintToleration`.

use super::reversed;
use crate::filter::taints::{Effect, untolerated};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub fn scores(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let count = |node: &&NodeInfo| untolerated(pod, node, &[Effect::PreferNoSchedule]).count() as i64;
    reversed(nodes.iter().map(count).collect())
}
