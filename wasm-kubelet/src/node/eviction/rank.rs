//! Which pod goes first. Pure. Source: kubelet, `rankMemoryPressure` and `rankDiskPressureFunc`.

use std::cmp::Reverse;

use crate::node::eviction::signal::Resource;

/// A pod that might go, and what it has of a resource.
#[derive(Clone, Debug)]
pub struct Candidate<P> {
    pub pod: P,
    pub priority: i32,
    pub used: u64,
    /// What it was promised.
    pub requested: u64,
}

/// Puts those that go first to the front: who uses more than was asked for, then who matters least, then who uses the most
/// beyond its request. Pods that are alike stay as they were.
pub fn rank<P>(resource: Resource, candidates: &mut [Candidate<P>]) {
    candidates.sort_by_key(|it| {
        // Nobody asks for inodes or processes.
        let requested = if matches!(resource, Resource::Memory | Resource::Storage) { it.requested } else { 0 };
        let beyond = i128::from(it.used) - i128::from(requested);
        (Reverse(beyond > 0), it.priority, Reverse(beyond))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(resource: Resource, pods: &[(&'static str, i32, u64, u64)]) -> Vec<&'static str> {
        let candidate = |&(pod, priority, used, requested): &(&'static str, i32, u64, u64)| Candidate {
            pod,
            priority,
            used,
            requested,
        };
        let mut candidates: Vec<_> = pods.iter().map(candidate).collect();
        rank(resource, &mut candidates);
        candidates.into_iter().map(|it| it.pod).collect()
    }

    #[test]
    fn first_who_takes_more_than_it_asked_for_then_who_matters_least_then_who_takes_the_most() {
        let pods = [
            ("modest", 0, 100, 200),
            ("modest-low", -5, 199, 200),
            ("a-little-over", 0, 210, 200),
            ("best-effort", 0, 50, 0),
            ("over-and-important", 1000, 900, 0),
            ("over-and-low", -1, 1, 0),
            ("exact", 0, 200, 200),
        ];
        let want =
            ["over-and-low", "best-effort", "a-little-over", "over-and-important", "modest-low", "exact", "modest"];
        assert_eq!(ranked(Resource::Memory, &pods), want);
        assert_eq!(ranked(Resource::Storage, &pods), want);
    }

    #[test]
    fn nobody_has_asked_for_inodes() {
        let pods = [("few", 0, 10, 0), ("many", 0, 100, 1 << 30), ("none", -9, 0, 0)];
        assert_eq!(ranked(Resource::Inodes, &pods), ["many", "few", "none"]);
    }
}
