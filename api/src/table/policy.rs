//! The rows of what governs others: quotas, the classes of pods, the components of the cluster.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1 as core, node::v1 as node, scheduling::v1 as scheduling};
use serde_json::Value;

use super::{Cells, age, cells};
use crate::quantity::parse_or_zero;

impl Cells for core::ResourceQuota {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in self.status.iter().flat_map(|status| status.hard.iter().flatten()) {
            let used = self.status.as_ref().and_then(|status| status.used.as_ref()?.get(name));
            let list = if name.starts_with("limits.") { &mut limits } else { &mut requests };
            list.push(format!("{name}: {}/{}", parse_or_zero(used), parse_or_zero(Some(hard))));
        }
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            requests.join(", ").into(),
            limits.join(", ").into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for scheduling::PriorityClass {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            self.value.unwrap_or_default().into(),
            self.global_default.unwrap_or_default().into(),
            age(&self.metadata, now).into(),
            cells::text(self.preemption_policy.as_ref()).into(),
        ]
    }
}

impl Cells for node::RuntimeClass {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            self.handler.as_str().into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for core::ComponentStatus {
    fn cells(&self, _: Timestamp) -> Vec<Value> {
        let healthy = self.conditions.iter().flatten().find(|condition| condition.type_ == "Healthy");
        let word = match healthy {
            None => "Unknown",
            Some(condition) if condition.status == "True" => "Healthy",
            Some(_) => "Unhealthy",
        };
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            word.into(),
            cells::text(healthy.and_then(|condition| condition.message.as_ref())).into(),
            cells::text(healthy.and_then(|condition| condition.error.as_ref())).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    #[test]
    fn quotas_tell_limits_apart() {
        let quota = r#"{"metadata":{"name":"q"},"status":{"hard":{"limits.cpu":"2","pods":"3","requests.cpu":"1"},"used":{"pods":"1","requests.cpu":"500m"}}}"#;
        assert_eq!(
            line::<core::ResourceQuota>(quota),
            "q | pods: 1/3, requests.cpu: 500m/1 | limits.cpu: 0/2 | <unknown>"
        );
    }

    #[test]
    fn classes_and_components() {
        let class = r#"{"metadata":{"name":"p"},"value":7,"preemptionPolicy":"Never"}"#;
        assert_eq!(line::<scheduling::PriorityClass>(class), "p | 7 | false | <unknown> | Never");
        let component =
            r#"{"metadata":{"name":"etcd-0"},"conditions":[{"type":"Healthy","status":"True","message":"ok"}]}"#;
        assert_eq!(line::<core::ComponentStatus>(component), "etcd-0 | Healthy | ok | ");
    }
}
