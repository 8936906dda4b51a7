//! Pods: pending until a kubelet says otherwise, bound once, and given the time that they ask for when they are deleted.
//!
//! Source: `pkg/registry/core/pod/strategy.go`.

mod label_keys;

use coracle_api::any::AnyObject;
use coracle_api::pods;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Part, Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct PodStrategy;

impl Strategy for PodStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let pod = typed_mut::<Pod>(object);
        first_generation(&mut pod.metadata);
        let spec = pod.spec.get_or_insert_with(PodSpec::default);
        label_keys::merge(spec, &pod.metadata.labels.clone().unwrap_or_default());
        pod.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(pods::qos_class(spec).to_owned()),
            conditions: is_gated(spec).then(|| vec![gated()]),
            ..PodStatus::default()
        });
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (pod, old) = (typed_mut::<Pod>(object), typed::<Pod>(old));
        pod.status.clone_from(&old.status);
        if let (Some(spec), Some(status)) = (&pod.spec, &mut pod.status)
            && !is_gated(spec)
        {
            // The scheduler will say anew; that the pod was gated is no longer so.
            let was_gated = |condition: &PodCondition| condition.reason.as_deref() == Some(SCHEDULING_GATED);
            if let Some(conditions) = &mut status.conditions {
                conditions.retain(|condition| !was_gated(condition));
            }
        }
        next_generation(&mut pod.metadata, pod.spec != old.spec);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (pod, old) = (typed_mut::<Pod>(object), typed::<Pod>(old));
        pod.spec.clone_from(&old.spec);
        pod.metadata.owner_references.clone_from(&old.metadata.owner_references);
        let old_class = old.status.as_ref().and_then(|status| status.qos_class.clone());
        let status = pod.status.get_or_insert_with(PodStatus::default);
        if status.qos_class.as_ref().is_none_or(String::is_empty) {
            status.qos_class = old_class;
        }
    }

    fn prepare_for_part(&self, part: Part, object: &mut AnyObject, old: &AnyObject) {
        let (pod, old) = (typed_mut::<Pod>(object), typed::<Pod>(old));
        let asked = (pod.metadata.resource_version.take(), pod.spec.take().unwrap_or_default());
        *pod = old.clone();
        pod.metadata.resource_version = asked.0;
        let spec = pod.spec.get_or_insert_with(PodSpec::default);
        match part {
            Part::EphemeralContainers => spec.ephemeral_containers = asked.1.ephemeral_containers,
            Part::Resize => resize(spec, asked.1),
            Part::Main | Part::Status | Part::Finalize | Part::Approval => {}
        }
        next_generation(&mut pod.metadata, pod.spec != old.spec);
    }

    fn grace_seconds(&self, object: &AnyObject, asked: Option<i64>) -> Option<i64> {
        let pod = typed::<Pod>(object);
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let unscheduled = spec.and_then(|spec| spec.node_name.as_deref()).is_none_or(str::is_empty);
        if unscheduled || matches!(phase, Some("Succeeded" | "Failed")) {
            return Some(0);
        }
        let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = asked.or(own).unwrap_or_default();
        // A negative grace period asks for the shortest that a kubelet keeps.
        Some(if seconds < 0 { 1 } else { seconds })
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

/// The reason of a condition that says that a pod waits for its gates.
const SCHEDULING_GATED: &str = "SchedulingGated";

/// Whether something still holds the pod back from being scheduled.
pub(crate) fn is_gated(spec: &PodSpec) -> bool {
    spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
}

fn gated() -> PodCondition {
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some(SCHEDULING_GATED.to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        last_transition_time: Some(Time(crate::clock::now())),
        ..PodCondition::default()
    }
}

/// Takes over the resources of the containers that both have.
fn resize(spec: &mut PodSpec, asked: PodSpec) {
    let wanted = asked.containers.into_iter().chain(asked.init_containers.unwrap_or_default());
    for container in wanted {
        let mut all = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
        if let Some(own) = all.find(|own| own.name == container.name) {
            own.resources = container.resources;
            own.resize_policy = container.resize_policy;
        }
    }
    spec.resources = asked.resources;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_for_pods_that_run() {
        let pod = |node: &str, phase: &str, own: Option<i64>| {
            AnyObject::new(Pod {
                spec: Some(PodSpec {
                    node_name: Some(node.to_owned()),
                    termination_grace_period_seconds: own,
                    ..PodSpec::default()
                }),
                status: Some(PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() }),
                ..Pod::default()
            })
        };
        for (object, asked, expected) in [
            (pod("n", "Running", Some(30)), None, 30),
            (pod("n", "Running", Some(30)), Some(5), 5),
            (pod("n", "Running", Some(30)), Some(0), 0),
            (pod("n", "Running", Some(30)), Some(-1), 1),
            (pod("n", "Running", None), None, 0),
            (pod("", "Pending", Some(30)), Some(9), 0),
            (pod("n", "Succeeded", Some(30)), None, 0),
        ] {
            assert_eq!(PodStrategy.grace_seconds(&object, asked), Some(expected));
        }
    }
}
