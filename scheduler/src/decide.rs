//! Where a pod goes. Pure: the same snapshot, pod and turn give the same decision.

use std::collections::BTreeMap;
use std::fmt;

use crate::filter::{Filter, FilterSet};
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::score;
use crate::snapshot::Snapshot;

/// With at most so many nodes all are looked at; with more, a part is enough to choose among.
/// Source: `minFeasibleNodesToFind`.
const NODES_FULL: usize = 100;

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to this node.
    Node(String),
    /// It fits nowhere, as things are.
    Unschedulable(Rejection),
}

/// Why a pod fits nowhere. Printed as people know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejection {
    /// Each node, and why not there.
    pub nodes: Vec<(String, Vec<String>)>,
    /// Who rejected them.
    pub filters: FilterSet,
}

/// Decides about a pod. `turn` is any number that differs from decision to decision: it chooses among equally good
/// nodes, and where to begin to look when there are many.
pub fn decide(snapshot: &Snapshot, pod: &PodInfo, turn: u64) -> Decision {
    let nodes = snapshot.nodes();
    let mut random = mixed(turn);
    let start = if nodes.len() > NODES_FULL { random as usize % nodes.len() } else { 0 };
    let enough = enough(nodes.len());
    let (mut feasible, mut rejection) = (Vec::new(), Rejection::default());
    for node in nodes[start..].iter().chain(&nodes[..start]) {
        match filtered(pod, node) {
            None => feasible.push(node),
            Some((filter, reasons)) => {
                rejection.nodes.push((node.offer.name.clone(), reasons));
                rejection.filters.insert(filter);
            }
        }
        if feasible.len() == enough {
            break;
        }
    }
    match feasible[..] {
        [] => Decision::Unschedulable(rejection),
        [only] => Decision::Node(only.offer.name.clone()),
        _ => Decision::Node(best(pod, &feasible, &mut random).offer.name.clone()),
    }
}

/// The first filter that rejects the node, and its reasons.
fn filtered(pod: &PodInfo, node: &NodeInfo) -> Option<(Filter, Vec<String>)> {
    let reasons = Filter::ALL.into_iter().map(|filter| (filter, filter.reasons(pod, node)));
    reasons.into_iter().find(|(_, reasons)| !reasons.is_empty())
}

/// One of those with the highest score, each with the same chance.
fn best<'a>(pod: &PodInfo, feasible: &[&'a NodeInfo], random: &mut u64) -> &'a NodeInfo {
    let totals = score::total(pod, feasible);
    let (mut best, mut equals) = (0, 1);
    for (at, total) in totals.iter().enumerate().skip(1) {
        match total.cmp(&totals[best]) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Greater => (best, equals) = (at, 1),
            std::cmp::Ordering::Equal => {
                equals += 1;
                *random = mixed(*random);
                if random.is_multiple_of(equals) {
                    best = at;
                }
            }
        }
    }
    feasible[best]
}

/// How many feasible nodes are enough. Source: `numFeasibleNodesToFind`.
fn enough(nodes: usize) -> usize {
    if nodes <= NODES_FULL {
        return usize::MAX;
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(NODES_FULL)
}

/// A number that looks random, from one that need not (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl fmt::Display for Rejection {
    /// Source: `FitError`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.is_empty() {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        for reason in self.nodes.iter().flat_map(|(_, reasons)| reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        let mut reasons: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes.len(), reasons.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::filter::taints::{Effect, Taint};
    use crate::node::Offer;
    use crate::resources::Resources;

    const GIB: i64 = 1 << 30;

    fn resources(cpu_milli: i64, memory_gib: i64) -> Resources {
        Resources { cpu_milli, memory_bytes: memory_gib * GIB, ..Resources::default() }
    }

    fn node(name: &str, cpu_milli: i64, memory_gib: i64) -> Offer {
        Offer { name: name.into(), allocatable: resources(cpu_milli, memory_gib), pods_max: 110, ..Offer::default() }
    }

    fn pod(name: &str, cpu_milli: i64, memory_gib: i64) -> PodInfo {
        PodInfo {
            key: coracle_client::Key::new("default", name),
            uid: name.into(),
            requests: resources(cpu_milli, memory_gib),
            ..PodInfo::default()
        }
    }

    fn snapshot(nodes: Vec<Offer>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        nodes.into_iter().for_each(|offer| drop(snapshot.set_node(offer)));
        snapshot
    }

    fn place(snapshot: &mut Snapshot, pod: PodInfo, turn: u64) -> Decision {
        let decision = decide(snapshot, &pod, turn);
        if let Decision::Node(node) = &decision {
            snapshot.assume(Arc::new(pod), node);
        }
        decision
    }

    #[test]
    fn says_of_each_reason_how_many_nodes_it_rules_out() {
        let taint = |key: &str| Taint { key: key.into(), value: "x".into(), effect: Effect::NoSchedule };
        let nodes = vec![
            node("small", 1000, 1),
            Offer { taints: vec![taint("role")], ..node("tainted-1", 8000, 8) },
            Offer { taints: vec![taint("role")], ..node("tainted-2", 8000, 8) },
            Offer { unschedulable: true, ..node("cordoned", 8000, 8) },
            Offer { pods_max: 0, ..node("full", 1000, 8) },
        ];
        let Decision::Unschedulable(rejection) = decide(&snapshot(nodes), &pod("web", 2000, 2), 0) else {
            panic!("it fits nowhere")
        };
        expect_test::expect![[
            "0/5 nodes are available: 1 Insufficient memory, 1 Too many pods, 1 node(s) were unschedulable, \
             2 Insufficient cpu, 2 node(s) had untolerated taint {role: x}."
        ]]
        .assert_eq(&rejection.to_string());
        assert_eq!(rejection.filters.iter().collect::<Vec<_>>(), [Filter::Unschedulable, Filter::Taints, Filter::Fit]);
        let Decision::Unschedulable(nowhere) = decide(&Snapshot::default(), &pod("web", 1, 1), 0) else {
            panic!("there is no node")
        };
        assert_eq!(nowhere.to_string(), "no nodes available to schedule pods");
    }

    #[test]
    fn the_emptier_node_is_better_and_replicas_are_spread() {
        let mut cluster = snapshot(vec![node("a", 4000, 8), node("b", 4000, 8), node("c", 4000, 8)]);
        cluster.assume(Arc::new(pod("there", 2000, 4)), "a");
        cluster.assume(Arc::new(pod("also", 2000, 4)), "b");
        assert_eq!(decide(&cluster, &pod("new", 500, 1), 7), Decision::Node("c".into()));
        let mut cluster = snapshot(vec![node("a", 4000, 8), node("b", 4000, 8), node("c", 4000, 8)]);
        let replica = |n: u64| PodInfo { owner: Some("web".into()), ..pod(&format!("web-{n}"), 100, 0) };
        let nodes: BTreeSet<_> = (0..3).map(|n| format!("{:?}", place(&mut cluster, replica(n), n))).collect();
        assert_eq!(nodes.len(), 3);
    }

    #[test]
    fn equal_nodes_take_turns() {
        let cluster = snapshot(vec![node("a", 4000, 8), node("b", 4000, 8), node("c", 4000, 8)]);
        let chosen = |name: &str| {
            let name = Decision::Node(name.into());
            (0..3000).filter(|turn| decide(&cluster, &pod("web", 100, 1), *turn) == name).count()
        };
        assert!(["a", "b", "c"].into_iter().all(|name| (900..1100).contains(&chosen(name))));
    }

    #[test]
    fn of_many_nodes_a_part_is_enough() {
        assert_eq!([100, 101, 1000, 5000, 100_000].map(enough), [usize::MAX, 100, 420, 500, 5000]);
    }

    fn offers() -> impl Strategy<Value = Vec<Offer>> {
        let offer = (0..4000i64, 0..8i64, 0..20i64, any::<bool>());
        proptest::collection::vec(offer, 0..6).prop_map(|offers| {
            let named = offers.into_iter().enumerate().map(|(n, (cpu, memory, pods_max, unschedulable))| Offer {
                pods_max,
                unschedulable,
                ..node(&format!("node-{n}"), cpu, memory)
            });
            named.collect()
        })
    }

    fn pods() -> impl Strategy<Value = Vec<(i64, i64)>> {
        proptest::collection::vec((0..1500i64, 0..3i64), 0..60)
    }

    proptest! {
        #[test]
        fn never_gives_more_than_there_is(offers in offers(), pods in pods(), seed: u64) {
            let mut cluster = snapshot(offers);
            for (n, (cpu, memory)) in pods.into_iter().enumerate() {
                let decision = place(&mut cluster, pod(&format!("pod-{n}"), cpu, memory), seed.wrapping_add(n as u64));
                if let Decision::Unschedulable(rejection) = decision {
                    prop_assert_eq!(rejection.nodes.len(), cluster.nodes().len());
                    prop_assert!(rejection.nodes.iter().all(|(_, reasons)| !reasons.is_empty()));
                }
            }
            for node in cluster.nodes() {
                let (has, used) = (&node.offer.allocatable, &node.load.requested);
                prop_assert!(used.cpu_milli <= has.cpu_milli && used.memory_bytes <= has.memory_bytes);
                prop_assert!(node.load.pods <= node.offer.pods_max);
                prop_assert!(!node.offer.unschedulable || node.load.pods == 0);
            }
        }

        #[test]
        fn the_same_turn_decides_alike(offers in offers(), pods in pods(), seed: u64) {
            let run = || {
                let mut cluster = snapshot(offers.clone());
                let pods = pods.iter().enumerate();
                pods.map(|(n, &(cpu, memory))| place(&mut cluster, pod(&format!("pod-{n}"), cpu, memory), seed ^ n as u64)).collect::<Vec<_>>()
            };
            prop_assert_eq!(run(), run());
        }

        #[test]
        fn whatever_came_and_went_leaves_no_trace(offers in offers(), pods in pods()) {
            let mut cluster = snapshot(offers);
            let before: Vec<_> = cluster.nodes().to_vec();
            let keys: Vec<_> = pods.iter().enumerate().filter_map(|(n, &(cpu, memory))| {
                let pod = PodInfo { owner: Some(format!("owner-{}", n % 3).into()), ..pod(&format!("pod-{n}"), cpu, memory) };
                let key = pod.key.clone();
                matches!(place(&mut cluster, pod, n as u64), Decision::Node(_)).then_some(key)
            }).collect();
            keys.iter().for_each(|key| drop(cluster.remove_pod(key)));
            prop_assert_eq!(cluster.nodes(), before);
        }
    }
}
