//! The taints that a node has for its conditions. Pure.
//!
//! Source: upstream's mapping of conditions to taints.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub const NO_SCHEDULE: &str = "NoSchedule";
pub const NO_EXECUTE: &str = "NoExecute";

/// Conditions that keep pods away, with the status that does so.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Whether a node is ready, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady,
    Unknown,
}

/// The status of a condition; `None` for one that the node does not have.
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

pub fn readiness(node: &Node) -> Option<Readiness> {
    condition(node, "Ready").map(|status| match status {
        "True" => Readiness::Ready,
        "False" => Readiness::NotReady,
        _ => Readiness::Unknown,
    })
}

/// The taints that `node` should have: its own, and those that follow from its conditions. With `evict`, silence and
/// unreadiness also drive pods away. A taint that it has already keeps its time.
pub fn taints(node: &Node, evict: bool, now: Timestamp) -> Vec<Taint> {
    let current = current(node);
    let mut taints: Vec<Taint> = current.iter().filter(|taint| !is_ours(taint)).cloned().collect();
    for (key, effect) in due(node, evict) {
        let kept = current.iter().find(|taint| taint.key == key && taint.effect == effect).cloned();
        taints.push(kept.unwrap_or_else(|| Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(Time(now)),
            value: None,
        }));
    }
    taints
}

/// The taints that `node` has.
pub fn current(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn due(node: &Node, evict: bool) -> Vec<(&'static str, &'static str)> {
    let mut due = Vec::new();
    let silence = match readiness(node) {
        Some(Readiness::NotReady) => Some(NOT_READY),
        Some(Readiness::Unknown) => Some(UNREACHABLE),
        _ => None,
    };
    due.extend(silence.map(|key| (key, NO_SCHEDULE)));
    let pressed = PRESSURES.iter().filter(|(kind, _)| condition(node, kind) == Some("True"));
    due.extend(pressed.map(|(_, key)| (*key, NO_SCHEDULE)));
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        due.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    due.extend(silence.filter(|_| evict).map(|key| (key, NO_EXECUTE)));
    due
}

fn is_ours(taint: &Taint) -> bool {
    let pressures = PRESSURES.iter().map(|(_, key)| *key);
    match taint.effect.as_str() {
        NO_SCHEDULE => pressures.chain([NOT_READY, UNREACHABLE, UNSCHEDULABLE]).any(|key| key == taint.key),
        NO_EXECUTE => [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()),
        _ => false,
    }
}

/// Whether two lists of taints say the same: their times and order are of no account.
pub fn same(one: &[Taint], other: &[Taint]) -> bool {
    let among = |taint: &Taint, others: &[Taint]| {
        others
            .iter()
            .any(|other| (&taint.key, &taint.effect, &taint.value) == (&other.key, &other.effect, &other.value))
    };
    one.len() == other.len() && one.iter().all(|taint| among(taint, other))
}
