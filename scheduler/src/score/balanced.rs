//! Processor and memory used alike, so that neither runs out while there is much of the other.
//! Source: `NodeResourcesBalancedAllocation`.

use super::{SCORE_MAX, shares};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub fn scores(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    // The standard deviation of two numbers is half of their distance.
    let balance = |node: &&NodeInfo| {
        let (cpu, memory) = shares(pod, node);
        ((1.0 - (cpu - memory).abs() / 2.0) * SCORE_MAX as f64) as i64
    };
    nodes.iter().map(balance).collect()
}
