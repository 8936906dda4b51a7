//! More of processor and memory left. Source: `NodeResourcesFit` with `LeastAllocated`.

use super::{SCORE_MAX, shares};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

pub fn scores(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let left = |node: &&NodeInfo| {
        let (cpu, memory) = shares(pod, node);
        ((2.0 - cpu - memory) / 2.0 * SCORE_MAX as f64) as i64
    };
    nodes.iter().map(left).collect()
}
