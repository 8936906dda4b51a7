//! Which pods a controller gives up first that has too many.
//!
//! Source: upstream's ranking of active pods, with its logarithmic buckets of age: pods of about the same age are told
//! apart by uid, which is as good as by lot and the same at every look.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// Lower goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` of `pods` to delete, the most expendable first.
///
/// `related` are the active pods of all sets of the same owner: a node that holds several of them loses one first.
pub fn expendable(mut pods: Vec<Arc<Pod>>, count: usize, related: &[Arc<Pod>], now: Timestamp) -> Vec<Arc<Pod>> {
    if count < pods.len() {
        let crowd = crowds(related);
        pods.sort_by_cached_key(|pod| Rank::of(pod, &crowd, now));
        pods.truncate(count);
    }
    pods
}

fn crowds(related: &[Arc<Pod>]) -> HashMap<&str, usize> {
    let mut crowds = HashMap::new();
    for node in related.iter().filter(|pod| pod::is_active(pod)).filter_map(|pod| pod::node_name(pod)) {
        *crowds.entry(node).or_default() += 1;
    }
    crowds
}

/// Compared field by field, in this order: least goes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    assigned: bool,
    phase: pod::Phase,
    ready: bool,
    deletion_cost: i32,
    crowd: Reverse<usize>,
    ready_for: Age,
    restarts: Reverse<(i32, i32)>,
    created: Age,
    uid: String,
}

impl Rank {
    fn of(pod: &Pod, crowds: &HashMap<&str, usize>, now: Timestamp) -> Rank {
        let node = pod::node_name(pod);
        Rank {
            assigned: node.is_some(),
            phase: pod::phase(pod),
            ready: pod::is_ready(pod),
            deletion_cost: deletion_cost(pod),
            crowd: Reverse(node.and_then(|node| crowds.get(node)).copied().unwrap_or(0)),
            ready_for: if pod::is_ready(pod) { Age::since(pod::ready_since(pod), now) } else { Age::UNKNOWN },
            restarts: Reverse(pod::restarts(pod)),
            created: Age::since(pod.metadata.creation_timestamp.as_ref().map(|time| time.0), now),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
        }
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// How old, in powers of two of a nanosecond; younger is less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Age(i32);

impl Age {
    const UNKNOWN: Age = Age(-1);

    fn since(start: Option<Timestamp>, now: Timestamp) -> Age {
        let Some(start) = start else { return Age::UNKNOWN };
        let nanoseconds = now.duration_since(start).as_nanos();
        match nanoseconds.cmp(&0) {
            Ordering::Greater => Age((nanoseconds as f64).log2().round() as i32),
            _ => Age::UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::*;

    /// Each case: the first pod goes before the second.
    #[test]
    fn order() {
        let restarted = |pod, count| {
            with(pod, |pod: &mut Pod| {
                pod.status.get_or_insert_default().container_statuses =
                    Some(vec![k8s_openapi::api::core::v1::ContainerStatus {
                        restart_count: count,
                        ..Default::default()
                    }])
            })
        };
        let costing = |pod, cost: &str| {
            with(pod, |pod: &mut Pod| {
                pod.metadata.annotations = Some([(DELETION_COST.to_owned(), cost.to_owned())].into())
            })
        };
        let created = |pod, second| {
            with(pod, |pod: &mut Pod| {
                pod.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(second)))
            })
        };
        let cases = [
            ("unassigned", pod("z"), on(pod("a"), "n")),
            ("pending", on(pod("z"), "n"), on(in_phase(pod("a"), "Running"), "n")),
            ("not ready", on(in_phase(pod("z"), "Running"), "n"), on(ready(pod("a"), 0), "n")),
            ("cheaper", costing(on(ready(pod("z"), 0), "n"), "-5"), on(ready(pod("a"), 0), "n")),
            ("doubled up", on(ready(pod("z"), 0), "full"), on(ready(pod("a"), 900), "n")),
            ("ready for less time", on(ready(pod("z"), 990), "n"), on(ready(pod("a"), 0), "n")),
            ("more restarts", restarted(on(ready(pod("z"), 0), "n"), 3), on(ready(pod("a"), 0), "n")),
            ("younger", created(on(ready(pod("z"), 0), "n"), 990), on(ready(pod("a"), 0), "n")),
            ("by uid when about as old", on(ready(pod("a"), 1), "n"), on(ready(pod("z"), 0), "n")),
        ];
        let related: Vec<_> = ["r1", "r2", "r3"].map(|name| Arc::new(on(pod(name), "full"))).into();
        for (name, first, second) in cases {
            let first = Arc::new(first);
            let chosen = expendable(vec![Arc::new(second), first.clone()], 1, &related, at(1000));
            assert_eq!(chosen, [first], "{name}");
        }
    }
}
