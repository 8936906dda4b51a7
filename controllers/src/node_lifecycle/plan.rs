//! What to do about a node. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::eviction::{Fate, fate};
use super::taints::{self, Readiness, readiness, taints};
use crate::pod;

/// The conditions that a silent node's agent would have to report.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What is known when a node is looked at.
#[derive(Debug)]
pub struct Observed {
    pub node: Arc<Node>,
    pub pods: Vec<Arc<Pod>>,
    /// For how long it has been silent.
    pub silent_for: Duration,
    /// Whether some node is ready: where none is, nothing is evicted.
    pub some_ready: bool,
    /// When a taint without a time of its own was first seen here.
    pub tainted_since: Timestamp,
    pub grace: Grace,
    pub now: Timestamp,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    pub silence: Duration,
    pub startup: Duration,
    pub eviction: Duration,
}

/// What to do; the status first, as the rest follows from it at the next look.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The node with the conditions of one that has fallen silent.
    pub silence: Option<Node>,
    pub taints: Option<Vec<Taint>>,
    /// Pods that can not be ready, as their node is not heard of.
    pub not_ready: Vec<Arc<Pod>>,
    pub evict: Vec<Arc<Pod>>,
    /// When to look again.
    pub recheck: Option<Duration>,
}

/// Decides.
pub fn plan(observed: &Observed) -> Plan {
    let left = grace(observed).checked_sub(observed.silent_for).filter(|left| !left.is_zero());
    if left.is_none()
        && let Some(silent) = silent(&observed.node, observed.now)
    {
        return Plan { silence: Some(silent), ..Plan::default() };
    }
    let mut plan = Plan { recheck: left, ..Plan::default() };
    let due = taints(&observed.node, observed.some_ready, observed.now);
    if !taints::same(&due, taints::current(&observed.node)) {
        plan.taints = Some(due.clone());
    }
    if readiness(&observed.node) == Some(Readiness::Unknown) {
        plan.not_ready = observed.pods.iter().filter(|pod| pod::is_ready(pod)).cloned().collect();
    }
    plan_evictions(observed, &due, &mut plan);
    plan
}

/// A node that has never been heard has longer.
fn grace(observed: &Observed) -> Duration {
    match readiness(&observed.node) {
        None => observed.grace.startup,
        Some(_) => observed.grace.silence,
    }
}

/// The node as one that is not heard, if it is not yet that.
fn silent(node: &Node, now: Timestamp) -> Option<Node> {
    let mut next = node.clone();
    let conditions = next.status.get_or_insert_default().conditions.get_or_insert_default();
    for kind in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            None => conditions.push(never_reported(kind, node, now)),
        }
    }
    (next != *node).then_some(next)
}

fn never_reported(kind: &str, node: &Node, now: Timestamp) -> NodeCondition {
    NodeCondition {
        type_: kind.to_owned(),
        status: "Unknown".to_owned(),
        reason: Some("NodeStatusNeverUpdated".to_owned()),
        message: Some("Kubelet never posted node status.".to_owned()),
        last_heartbeat_time: node.metadata.creation_timestamp.clone(),
        last_transition_time: Some(Time(now)),
    }
}

fn plan_evictions(observed: &Observed, taints: &[Taint], plan: &mut Plan) {
    for pod in observed.pods.iter().filter(|pod| pod::is_active(pod)) {
        match fate(pod, taints, observed.tainted_since, observed.grace.eviction, observed.now) {
            Fate::Stays => {}
            Fate::Goes { after } if after == SignedDuration::ZERO => plan.evict.push(pod.clone()),
            Fate::Goes { after } => {
                let after = after.unsigned_abs();
                plan.recheck = Some(plan.recheck.map_or(after, |soonest| soonest.min(after)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::{at, on, pod, ready};
    use k8s_openapi::api::core::v1::NodeStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn node(status: &str) -> Node {
        let conditions = REPORTED.map(|kind| NodeCondition {
            type_: kind.to_owned(),
            status: if kind == "Ready" { status } else { "False" }.to_owned(),
            ..NodeCondition::default()
        });
        Node {
            metadata: ObjectMeta { name: Some("n".into()), ..ObjectMeta::default() },
            status: Some(NodeStatus { conditions: Some(conditions.into()), ..NodeStatus::default() }),
            ..Node::default()
        }
    }

    fn observed(node: Node, silent_for: u64, now: i64) -> Observed {
        Observed {
            node: Arc::new(node),
            pods: vec![Arc::new(on(ready(pod("a"), 0), "n"))],
            silent_for: Duration::from_secs(silent_for),
            some_ready: true,
            tainted_since: at(0),
            grace: Grace {
                silence: Duration::from_secs(40),
                startup: Duration::from_secs(60),
                eviction: Duration::from_secs(300),
            },
            now: at(now),
        }
    }

    fn keys(taints: &[Taint]) -> Vec<String> {
        taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
    }

    /// The life of a node that falls silent and comes back.
    #[test]
    fn silence_is_said_then_tainted_then_evicts_and_ends() {
        let alive = plan(&observed(node("True"), 10, 10));
        assert_eq!(alive, Plan { recheck: Some(Duration::from_secs(30)), ..Plan::default() });

        let Some(mut silent) = plan(&observed(node("True"), 40, 40)).silence else { panic!("silence is not noticed") };
        assert_eq!(readiness(&silent), Some(Readiness::Unknown));

        let tainted = plan(&observed(silent.clone(), 41, 41));
        let taints = tainted.taints.expect("a silent node is tainted");
        assert_eq!(
            keys(&taints),
            ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"]
        );
        assert_eq!(tainted.not_ready.len(), 1);
        assert_eq!((tainted.evict.len(), tainted.recheck), (0, Some(Duration::from_secs(300))));

        silent.spec.get_or_insert_default().taints = Some(taints.clone());
        assert_eq!(plan(&observed(silent, 341, 341)).evict.len(), 1);

        let mut back = node("True");
        back.spec.get_or_insert_default().taints = Some(taints);
        assert_eq!(plan(&observed(back, 0, 400)).taints, Some(Vec::new()));
    }

    #[test]
    fn nothing_is_evicted_where_no_node_is_ready() {
        let silent = plan(&observed(node("True"), 40, 40)).silence.expect("silence is noticed");
        let mut alone = observed(silent, 4000, 4000);
        alone.some_ready = false;
        let plan = plan(&alone);
        assert_eq!(keys(&plan.taints.expect("it takes no new pods")), ["node.kubernetes.io/unreachable:NoSchedule"]);
        assert!(plan.evict.is_empty());
    }

    #[test]
    fn a_new_node_has_longer() {
        let new = Node { metadata: node("True").metadata, ..Node::default() };
        assert_eq!(plan(&observed(new.clone(), 50, 50)).recheck, Some(Duration::from_secs(10)));
        assert!(plan(&observed(new, 60, 60)).silence.is_some());
    }

    #[test]
    fn pressure_and_cordon_are_taints_and_other_taints_stay() {
        let mut pressed = node("True");
        pressed.status.get_or_insert_default().conditions.get_or_insert_default()[2].status = "True".into();
        let spec = pressed.spec.get_or_insert_default();
        spec.unschedulable = Some(true);
        let foreign = Taint { key: "mine".into(), effect: "NoSchedule".into(), ..Taint::default() };
        spec.taints = Some(vec![foreign]);
        let taints = plan(&observed(pressed, 0, 0)).taints.expect("two are missing");
        assert_eq!(
            keys(&taints),
            [
                "mine:NoSchedule",
                "node.kubernetes.io/disk-pressure:NoSchedule",
                "node.kubernetes.io/unschedulable:NoSchedule",
            ]
        );
    }
}
