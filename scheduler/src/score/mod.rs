//! Which of the nodes that a pod can run on is the best. A score goes from 0 to [`SCORE_MAX`]; each has a weight.

pub mod affinity;
pub mod balanced;
pub mod least_allocated;
pub mod spread;
pub mod taints;

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// What the best node of a score gets.
pub const SCORE_MAX: i64 = 100;

type Score = fn(&PodInfo, &[&NodeInfo]) -> Vec<i64>;

/// The scores and what each counts for. Source: the default plugins' weights.
const SCORES: [(Score, i64); 5] = [
    (taints::scores, 3),
    (affinity::scores, 2),
    (spread::scores, 2),
    (least_allocated::scores, 1),
    (balanced::scores, 1),
];

/// The sum of all scores for each of `nodes`.
pub fn total(pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
    let mut totals = vec![0; nodes.len()];
    for (score, weight) in SCORES {
        for (total, score) in totals.iter_mut().zip(score(pod, nodes)) {
            *total += weight * score;
        }
    }
    totals
}

/// Stretches counts so that the highest is [`SCORE_MAX`]; all are 0 where all counts are.
fn stretched(mut counts: Vec<i64>) -> Vec<i64> {
    let most = counts.iter().copied().max().unwrap_or_default();
    if most > 0 {
        counts.iter_mut().for_each(|count| *count = *count * SCORE_MAX / most);
    }
    counts
}

/// As [`stretched`], with the highest count last: the fewer the better.
fn reversed(counts: Vec<i64>) -> Vec<i64> {
    stretched(counts).into_iter().map(|count| SCORE_MAX - count).collect()
}

/// How much of a whole is used, from 0 to 1; all of it where there is none.
fn share(used: i64, whole: i64) -> f64 {
    if whole <= 0 { 1.0 } else { (used as f64 / whole as f64).clamp(0.0, 1.0) }
}

/// The shares of processor and memory that would be used with the pod.
fn shares(pod: &PodInfo, node: &NodeInfo) -> (f64, f64) {
    let (cpu_milli, memory_bytes) = pod.requests.or_unasked();
    let ((used_cpu, used_memory), has) = (node.load.weighed, &node.offer.allocatable);
    (
        share(used_cpu.saturating_add(cpu_milli), has.cpu_milli),
        share(used_memory.saturating_add(memory_bytes), has.memory_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_scores() {
        assert_eq!(stretched(vec![0, 5, 10]), [0, 50, 100]);
        assert_eq!(reversed(vec![0, 5, 10]), [100, 50, 0]);
        assert_eq!(stretched(vec![0, 0]), [0, 0]);
        assert_eq!(reversed(vec![0, 0]), [100, 100]);
    }
}
