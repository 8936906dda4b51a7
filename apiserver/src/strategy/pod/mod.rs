//! Pods: pending until a kubelet says otherwise, bound once, and given the time that they ask for when they are deleted.
//!
//! Source: `pkg/registry/core/pod/strategy.go`.

mod app_armor;
mod label_keys;

use coracle_api::any::AnyObject;
use coracle_api::pods;
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Part, Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct PodStrategy;

impl Strategy for PodStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let pod = typed_mut::<Pod>(object);
        first_generation(&mut pod.metadata);
        let spec = pod.spec.get_or_insert_with(PodSpec::default);
        label_keys::merge(spec, &pod.metadata.labels.clone().unwrap_or_default());
        app_armor::from_annotations(spec, &pod.metadata);
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
        next_generation(&mut pod.metadata, pod.spec != old.spec);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (pod, old) = (typed_mut::<Pod>(object), typed::<Pod>(old));
        pod.spec.clone_from(&old.spec);
        pod.metadata.owner_references.clone_from(&old.metadata.owner_references);
        let default = PodStatus::default();
        let had = old.status.as_ref().unwrap_or(&default);
        let status = pod.status.get_or_insert_with(PodStatus::default);
        if status.qos_class.as_ref().is_none_or(String::is_empty) {
            status.qos_class.clone_from(&had.qos_class);
        }
        keep_generations(status, had);
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

/// Takes over what the containers ask for, and the pod as a whole. Containers that are not those of the pod are left for
/// validation to refuse. Source: `dropNonResizeUpdates`.
fn resize(spec: &mut PodSpec, asked: PodSpec) {
    let init = |spec: &PodSpec| spec.init_containers.clone().unwrap_or_default();
    if asked.containers.len() != spec.containers.len() || init(&asked).len() != init(spec).len() {
        *spec = asked;
        return;
    }
    let asked_init = init(&asked);
    resize_containers(&mut spec.containers, asked.containers);
    resize_containers(spec.init_containers.get_or_insert_default(), asked_init);
    spec.init_containers = spec.init_containers.take().filter(|list| !list.is_empty());
    spec.resources = asked.resources;
}

fn resize_containers(own: &mut Vec<Container>, asked: Vec<Container>) {
    if own.iter().zip(&asked).any(|(own, asked)| own.name != asked.name) {
        *own = asked;
        return;
    }
    for (own, asked) in own.iter_mut().zip(asked) {
        own.resources = asked.resources;
        own.resize_policy = asked.resize_policy;
    }
}

/// Of which generation something was seen is not forgotten by clients that do not know of it. Source:
/// `preserveOldObservedGeneration`.
fn keep_generations(status: &mut PodStatus, old: &PodStatus) {
    let unset = |generation: Option<i64>| generation.unwrap_or_default() == 0;
    if unset(status.observed_generation) {
        status.observed_generation = old.observed_generation;
    }
    let mut had: Vec<&PodCondition> = old.conditions.iter().flatten().collect();
    for condition in status.conditions.iter_mut().flatten() {
        let Some(same) = had.iter().position(|had| had.type_ == condition.type_) else { continue };
        let same = had.remove(same);
        if unset(condition.observed_generation) {
            condition.observed_generation = same.observed_generation;
        }
    }
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
