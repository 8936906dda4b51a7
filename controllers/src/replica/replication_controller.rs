//! The replication controller as a [`Set`].

use k8s_openapi::api::core::v1::{ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::set::{Condition, Replicated, Set, Status, min_ready, replicas};
use coracle_api::selector::LabelSelector;

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";

    fn set(&self) -> Option<Set<'_>> {
        let spec = self.spec.as_ref()?;
        Some(Set {
            meta: &self.metadata,
            replicas: replicas(spec.replicas),
            min_ready: min_ready(spec.min_ready_seconds),
            selector: LabelSelector::of_labels(spec.selector.as_ref().filter(|labels| !labels.is_empty())?),
            template: spec.template.as_ref(),
            reports_terminating: false,
            status: self.status.as_ref().map(read).unwrap_or_default(),
        })
    }

    fn with_status(&self, status: &Status) -> Self {
        Self { status: Some(write(status)), ..self.clone() }
    }
}

fn read(status: &ReplicationControllerStatus) -> Status {
    Status {
        replicas: status.replicas,
        fully_labeled: status.fully_labeled_replicas.unwrap_or_default(),
        ready: status.ready_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
        terminating: None,
        observed_generation: status.observed_generation.unwrap_or_default(),
        conditions: status.conditions.iter().flatten().map(read_condition).collect(),
    }
}

fn write(status: &Status) -> ReplicationControllerStatus {
    ReplicationControllerStatus {
        replicas: status.replicas,
        fully_labeled_replicas: Some(status.fully_labeled),
        ready_replicas: Some(status.ready),
        available_replicas: Some(status.available),
        observed_generation: Some(status.observed_generation),
        conditions: Some(status.conditions.iter().map(write_condition).collect()),
    }
}

fn read_condition(condition: &ReplicationControllerCondition) -> Condition {
    Condition {
        kind: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
        since: condition.last_transition_time.as_ref().map(|time| time.0),
    }
}

fn write_condition(condition: &Condition) -> ReplicationControllerCondition {
    ReplicationControllerCondition {
        type_: condition.kind.clone(),
        status: condition.status.clone(),
        reason: Some(condition.reason.clone()),
        message: Some(condition.message.clone()),
        last_transition_time: condition.since.map(Time),
    }
}
