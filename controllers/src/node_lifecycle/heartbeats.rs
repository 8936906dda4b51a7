//! When each node was last heard, by the clock of this process: a node's own clock may be wrong.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use tokio::time::Instant;

/// The last signs of life of all nodes. Starts empty: after a restart every node is as if just heard.
#[derive(Debug, Default)]
pub struct Heartbeats {
    nodes: Mutex<HashMap<String, Heartbeat>>,
}

#[derive(Clone, Debug)]
struct Heartbeat {
    /// What the lease said when it last changed.
    renewed: Option<MicroTime>,
    /// What the status said when it last changed.
    reported: Option<Time>,
    at: Instant,
}

impl Heartbeats {
    /// Takes note of a node's status.
    pub fn hear_node(&self, node: &Node, now: Instant) {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        let reported = ready.and_then(|ready| ready.last_heartbeat_time.clone());
        self.hear(node.metadata.name.as_deref().unwrap_or_default(), now, |heartbeat| {
            std::mem::replace(&mut heartbeat.reported, reported.clone()) != reported
        });
    }

    /// Takes note of a node's lease.
    pub fn hear_lease(&self, lease: &Lease, now: Instant) {
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        self.hear(lease.metadata.name.as_deref().unwrap_or_default(), now, |heartbeat| {
            std::mem::replace(&mut heartbeat.renewed, renewed.clone()) != renewed
        });
    }

    pub fn forget(&self, node: &str) {
        self.lock().remove(node);
    }

    /// When the node was last heard; `now`, if it never was.
    pub fn last(&self, node: &str, now: Instant) -> Instant {
        self.lock().get(node).map_or(now, |heartbeat| heartbeat.at)
    }

    fn hear(&self, node: &str, now: Instant, note: impl FnOnce(&mut Heartbeat) -> bool) {
        let mut nodes = self.lock();
        let heartbeat = nodes.entry(node.to_owned()).or_insert(Heartbeat { renewed: None, reported: None, at: now });
        if note(heartbeat) {
            heartbeat.at = now;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Heartbeat>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use std::time::Duration;

    /// A lease that is seen again without having been renewed is no sign of life, whatever time it tells.
    #[test]
    fn only_a_change_is_a_heartbeat() {
        let lease = |second| Lease {
            metadata: ObjectMeta { name: Some("n".into()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                renew_time: Some(MicroTime(Timestamp::from_second(second).expect("in range"))),
                ..LeaseSpec::default()
            }),
        };
        let (heartbeats, start) = (Heartbeats::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        heartbeats.hear_lease(&lease(100), start);
        heartbeats.hear_lease(&lease(100), after(10));
        assert_eq!(heartbeats.last("n", after(10)), start);
        heartbeats.hear_lease(&lease(50), after(20));
        assert_eq!(heartbeats.last("n", after(20)), after(20));
    }
}
