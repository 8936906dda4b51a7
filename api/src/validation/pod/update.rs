//! What of a pod may change, and by whom: its spec hardly, its status by its node.

use k8s_openapi::api::core::v1::{
    ContainerStatus, EphemeralContainer, Pod, PodSpec, PodStatus, ResourceRequirements, Toleration,
};

use super::{SPEC, container, ip, scheduling};
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{IMMUTABLE, between, named_if_set, text};

const RULE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::validation) fn update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let default = PodSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    container::all(new, &SPEC, errors);
    if new.containers.len() != old.containers.len() {
        return errors.forbidden(&SPEC.child("containers"), "pod updates may not add or remove containers");
    }
    let count = |s: &PodSpec| s.init_containers.as_ref().map_or(0, Vec::len);
    if count(new) != count(old) {
        return errors.forbidden(&SPEC.child("initContainers"), "pod updates may not add or remove containers");
    }
    deadline(new.active_deadline_seconds, old.active_deadline_seconds, errors);
    gates(new, old, errors);
    tolerations(new, old, errors);
    let mut reverted = new.clone();
    revert(&mut reverted, old);
    if reverted != *old {
        errors.forbidden(&SPEC, RULE);
    }
}

/// A deadline may be set, and come closer.
fn deadline(new: Option<i64>, old: Option<i64>, errors: &mut Errors) {
    let path = SPEC.child("activeDeadlineSeconds");
    match (new, old) {
        (Some(new), old) => {
            between(new, 1, i32::MAX.into(), &path, errors);
            if old.is_some_and(|old| new > old) {
                errors.invalid(&path, &new, "must be less than or equal to previous value");
            }
        }
        (None, Some(_)) => errors.invalid(&path, &new, "must not update from a positive integer to nil value"),
        (None, None) => {}
    }
}

/// Gates may be opened, not closed.
fn gates(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    for gate in scheduling::gates(new) {
        if !scheduling::gates(old).contains(gate) {
            let rule = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.forbidden(&SPEC.child("schedulingGates"), &rule);
        }
    }
}

/// Tolerations may be added.
fn tolerations(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let path = SPEC.child("tolerations");
    let timeless = |t: &Toleration| Toleration { toleration_seconds: None, ..t.clone() };
    let kept: Vec<Toleration> = new.tolerations.iter().flatten().map(timeless).collect();
    if old.tolerations.iter().flatten().any(|t| !kept.contains(&timeless(t))) {
        errors.forbidden(&path, "existing toleration can not be modified except its tolerationSeconds");
    }
    scheduling::tolerations(new.tolerations.as_deref().unwrap_or_default(), &path, errors);
}

/// Takes back what may change.
fn revert(new: &mut PodSpec, old: &PodSpec) {
    let containers = new.containers.iter_mut().zip(&old.containers);
    let init = new.init_containers.iter_mut().flatten().zip(old.init_containers.iter().flatten());
    containers.chain(init).for_each(|(new, old)| new.image.clone_from(&old.image));
    new.active_deadline_seconds = old.active_deadline_seconds;
    new.tolerations.clone_from(&old.tolerations);
    if !scheduling::gates(old).is_empty() {
        // What keeps a pod from being scheduled may also narrow where it will be.
        new.scheduling_gates.clone_from(&old.scheduling_gates);
        if only_added(new, old) {
            new.node_selector.clone_from(&old.node_selector);
        }
        let node_affinity = old.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        if node_affinity.is_none() {
            new.affinity.clone_from(&old.affinity);
        }
    }
    if old.termination_grace_period_seconds.is_some_and(|s| s < 0) && new.termination_grace_period_seconds == Some(1) {
        new.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
}

fn only_added(new: &PodSpec, old: &PodSpec) -> bool {
    let has = |key: &String, value: &String| new.node_selector.as_ref().and_then(|s| s.get(key)) == Some(value);
    old.node_selector.iter().flatten().all(|(key, value)| has(key, value))
}

/// What is wrong with a pod that is to replace another through its subresource `ephemeralcontainers`: they may be added.
#[must_use]
pub fn update_ephemeral_containers(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    let list = SPEC.child("ephemeralContainers");
    let all = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.ephemeral_containers.clone()).unwrap_or_default();
    let (now, before): (Vec<EphemeralContainer>, _) = (all(new), all(old));
    for container in &before {
        match now.iter().find(|c| c.name == container.name) {
            None => {
                let rule = format!("existing ephemeral containers {:?} may not be removed\n", container.name);
                errors.forbidden(&list, &rule);
            }
            Some(kept) if kept != container => {
                let rule = format!("existing ephemeral containers {:?} may not be changed\n", container.name);
                errors.forbidden(&list, &rule);
            }
            Some(_) => {}
        }
    }
    if let Some(spec) = &new.spec {
        container::all(spec, &SPEC, &mut errors);
    }
    errors
}

/// What is wrong with a pod that is to replace another through its subresource `resize`: processor and memory of its
/// containers may change, as long as its class of service stays.
#[must_use]
pub fn update_resize(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    let default = PodSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    container::all(new, &SPEC, &mut errors);
    if crate::pods::qos_class(new) != crate::pods::qos_class(old) {
        errors.invalid(&SPEC, crate::pods::qos_class(new), "Pod QOS Class may not change as a result of resizing");
    }
    let resizable = |r: &ResourceRequirements| {
        let mut rest = r.clone();
        for list in [&mut rest.limits, &mut rest.requests] {
            let list = list.get_or_insert_default();
            list.remove("cpu");
            list.remove("memory");
        }
        rest
    };
    let mut reverted = new.clone();
    for (new, old) in reverted.containers.iter_mut().zip(&old.containers) {
        let both = new.resources.as_ref().map(resizable) == old.resources.as_ref().map(resizable);
        if both {
            new.resources.clone_from(&old.resources);
        }
    }
    if reverted != *old {
        errors.forbidden(&SPEC, "only cpu and memory resources are mutable");
    }
    errors
}

pub(in crate::validation) fn update_status(new: &Pod, old: &Pod, errors: &mut Errors) {
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.node_name.clone());
    if node(new) != node(old) {
        errors.forbidden(&SPEC.child("nodeName"), "may not be changed directly");
    }
    let status = Path::new("status");
    let default = PodStatus::default();
    let (after, before) = (new.status.as_ref().unwrap_or(&default), old.status.as_ref().unwrap_or(&default));
    named_if_set(after.nominated_node_name.as_ref(), names::dns_subdomain, &status.child("nominatedNodeName"), errors);
    let policy = text(old.spec.as_ref().and_then(|s| s.restart_policy.as_ref()));
    if policy != "Always" {
        let list = status.child("containerStatuses");
        let (after, before) = (after.container_statuses.as_deref(), before.container_statuses.as_deref());
        stay_ended(after.unwrap_or_default(), before.unwrap_or_default(), policy, &list, errors);
    }
    let class = text(before.qos_class.as_ref());
    if !class.is_empty() && text(after.qos_class.as_ref()) != class {
        errors.invalid(&status.child("qosClass"), &after.qos_class, IMMUTABLE);
    }
    let list = status.child("podIPs");
    for (i, address) in after.pod_ips.iter().flatten().enumerate() {
        ip::address(&address.ip, &list.index(i), errors);
    }
    let list = status.child("conditions");
    for (i, condition) in after.conditions.iter().flatten().enumerate() {
        let path = list.index(i);
        errors.invalid_each(&path.child("type"), &condition.type_, names::qualified(&condition.type_));
    }
}

/// What has ended for good does not run again.
fn stay_ended(new: &[ContainerStatus], old: &[ContainerStatus], policy: &str, list: &Path<'_>, errors: &mut Errors) {
    for was in old {
        let Some(ended) = was.state.as_ref().and_then(|s| s.terminated.as_ref()) else { continue };
        if policy == "OnFailure" && ended.exit_code != 0 {
            continue;
        }
        let Some((i, is)) = new.iter().enumerate().find(|(_, s)| s.name == was.name) else { continue };
        if is.state.as_ref().is_none_or(|s| s.terminated.is_none()) {
            let path = list.index(i);
            errors.forbidden(&path.child("state"), "may not be transitioned to non-terminated state");
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use crate::validation::tests::{object, refused_update};
    use crate::validation::{update_ephemeral_containers, update_resize, update_status};

    fn pod(fields: &str) -> String {
        let containers =
            if fields.contains("\"containers\"") { "" } else { r#""containers":[{"name":"c","image":"i"}],"# };
        format!(r#"{{"metadata":{{"name":"p","namespace":"n"}},"spec":{{{containers}{fields}}}}}"#)
    }

    #[test]
    fn specs_hardly_change() {
        for (old, new, expected) in [
            (r#""priority":0"#, r#""priority":0,"activeDeadlineSeconds":5,"tolerations":[{"key":"a"}]"#, &[][..]),
            (
                r#""containers":[{"name":"c","image":"i"}]"#,
                r#""containers":[{"name":"c","image":"j","imagePullPolicy":"Always"}]"#,
                &[],
            ),
            (r#""priority":0"#, r#""priority":1"#, &["spec Forbidden"]),
            (
                r#""containers":[{"name":"c","image":"i"}]"#,
                r#""containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]"#,
                &["spec.containers Forbidden"],
            ),
            (r#""activeDeadlineSeconds":5"#, r#""activeDeadlineSeconds":6"#, &["spec.activeDeadlineSeconds Invalid"]),
            (r#""tolerations":[{"key":"a"}]"#, r#""priority":null"#, &["spec.tolerations Forbidden"]),
            (r#""schedulingGates":[{"name":"a"}]"#, r#""nodeSelector":{"x":"y"}"#, &[]),
            (
                r#""priority":0"#,
                r#""priority":0,"schedulingGates":[{"name":"a"}]"#,
                &["spec.schedulingGates Forbidden", "spec Forbidden"],
            ),
        ] {
            assert_eq!(refused_update::<Pod>(&pod(old), &pod(new)), expected, "{old} to {new}");
        }
    }

    #[test]
    fn ephemeral_containers_are_added() {
        let typed = |fields: &str| object::<Pod>(&pod(fields)).downcast::<Pod>().expect("a pod");
        let none = typed(r#""priority":0"#);
        let one = typed(r#""ephemeralContainers":[{"name":"e","image":"i"}]"#);
        assert!(update_ephemeral_containers(&one, &none).is_empty());
        assert_eq!(update_ephemeral_containers(&none, &one).len(), 1);
    }

    #[test]
    fn resources_change_in_place() {
        let typed = |cpu: &str, image: &str| {
            let container = format!(
                r#""containers":[{{"name":"c","image":"{image}","resources":{{"requests":{{"cpu":"{cpu}"}}}}}}]"#
            );
            object::<Pod>(&pod(&container)).downcast::<Pod>().expect("a pod")
        };
        assert!(update_resize(&typed("2", "i"), &typed("1", "i")).is_empty());
        assert_eq!(update_resize(&typed("2", "j"), &typed("1", "i")).len(), 1);
    }

    #[test]
    fn what_ended_stays_ended() {
        let with = |state: &str| {
            object::<Pod>(&format!(
                r#"{{"metadata":{{"name":"p"}},"spec":{{"restartPolicy":"Never","containers":[{{"name":"c"}}]}},"status":{{"containerStatuses":[{{"name":"c","ready":false,"restartCount":0,"image":"","imageID":"","state":{state}}}]}}}}"#
            ))
        };
        let (ended, running) = (with(r#"{"terminated":{"exitCode":1}}"#), with(r#"{"running":{}}"#));
        assert_eq!(update_status(&running, &ended).len(), 1);
        assert!(update_status(&ended, &running).is_empty());
    }
}
