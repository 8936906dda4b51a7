//! Notices that somebody else has written over what the kubelet says of a pod, so that it is said again.
//!
//! The node lifecycle controller does so to the pods of a node that it has not heard of for a while: when the node is back,
//! nobody but the kubelet can make them ready again. Source: kubelet, the status manager's `needsReconcile`.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::report::Conditions;
use crate::limits::STATUS_REPEAT;

/// When a pod's status is written though it has not changed here.
#[derive(Debug, Default)]
pub struct Overwritten {
    /// The version of the object with the status that was written last.
    version: Option<u64>,
    due: Option<Instant>,
    repeated: Option<Instant>,
}

impl Overwritten {
    /// The API server has the newest status, in an object of this version; `None`: it did not say.
    pub fn written(&mut self, version: Option<u64>) {
        self.version = version;
    }

    /// Compares what the API has with what was written. An object from before the write says nothing, and a quarrel with
    /// another writer goes on at a pace.
    pub fn look(&mut self, pod: &Pod, said: &Conditions, now: Instant) {
        let is_newer = version(&pod.metadata) > self.version && self.version.is_some();
        self.due = (is_newer && !agrees(pod, said)).then(|| match self.repeated {
            Some(repeated) => now.max(repeated + STATUS_REPEAT),
            None => now,
        });
    }

    /// When to write it again.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to write it again now; says so once.
    pub fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| due <= now);
        if is_due {
            self.due = None;
            self.repeated = Some(now);
        }
        is_due
    }
}

/// Versions of objects are ordered. Source: Kubernetes' API conventions from 1.35 on.
pub fn version(of: &ObjectMeta) -> Option<u64> {
    of.resource_version.as_ref()?.parse().ok()
}

/// Whether the conditions that the kubelet owns are as it said.
fn agrees(pod: &Pod, said: &Conditions) -> bool {
    let there = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    said.held.iter().all(|said| {
        let status = if said.is_true { "True" } else { "False" };
        there.iter().any(|condition| condition.type_ == said.kind && condition.status == status)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::report::Condition;
    use jiff::Timestamp;
    use serde_json::json;

    fn pod(version: &str, ready: &str) -> Pod {
        let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
        serde_json::from_value(json!({"metadata": {"resourceVersion": version}, "status": status})).expect("a pod")
    }

    fn ready() -> Conditions {
        let since = Timestamp::UNIX_EPOCH;
        let held = vec![Condition { kind: "Ready", is_true: true, reason: "", message: String::new(), since }];
        Conditions { held, lifted: Vec::new() }
    }

    #[test]
    fn only_what_came_after_the_write_and_differs_is_written_over() {
        let now = Instant::now();
        let table = [
            (None, "9", "False", false),
            (Some(5), "4", "False", false),
            (Some(5), "5", "False", false),
            (Some(5), "6", "True", false),
            (Some(5), "6", "False", true),
            (Some(5), "six", "False", false),
        ];
        for (written, version, status, is_due) in table {
            let mut overwritten = Overwritten::default();
            overwritten.written(written);
            overwritten.look(&pod(version, status), &ready(), now);
            assert_eq!(overwritten.take(now), is_due, "{written:?} {version} {status}");
            assert!(!overwritten.take(now));
        }
    }

    #[test]
    fn a_quarrel_goes_on_at_a_pace() {
        let now = Instant::now();
        let mut overwritten = Overwritten::default();
        overwritten.written(Some(1));
        overwritten.look(&pod("2", "False"), &ready(), now);
        assert!(overwritten.take(now));
        overwritten.written(Some(3));
        overwritten.look(&pod("4", "False"), &ready(), now);
        assert_eq!((overwritten.take(now), overwritten.due()), (false, Some(now + STATUS_REPEAT)));
        overwritten.look(&pod("5", "True"), &ready(), now);
        assert_eq!(overwritten.due(), None, "they agree again");
    }
}
