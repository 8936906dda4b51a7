//! What of a pod may change while it runs, through its subresource `resize`: processor and memory.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::{SPEC, annotations, own_spec};
use crate::field::{Errors, Path};
use crate::pods;
use crate::validation::rules::text;

type Amounts = Option<BTreeMap<String, Text>>;

/// What is wrong with a pod that is to replace another through its subresource `resize`: processor and memory of its
/// containers may change, as long as its class of service stays.
#[must_use]
pub fn update_resize(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    let default = PodSpec::default();
    let (spec, old_spec) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    if annotations::is_mirror(&old.metadata) {
        errors.forbidden(&Path::ROOT, "static pods cannot be resized");
        return errors;
    }
    if old_spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        errors.forbidden(&Path::ROOT, "windows pods cannot be resized");
        return errors;
    }
    own_spec(&new.metadata, spec, &mut errors);
    if class(old) != pods::qos_class(spec) {
        errors.invalid(&SPEC, class(old), "Pod QOS Class may not change as a result of resizing");
    }
    if !node_resizes(old) {
        errors.forbidden(&SPEC, "Pod running on node without support for resize");
    }
    let mut reverted = spec.clone();
    of_pod(&mut reverted, old_spec, &mut errors);
    if same_containers(spec, old_spec, &mut errors) {
        containers(spec, old_spec, &mut errors);
        init_containers(spec, old_spec, &mut errors);
        let of_both =
            |new: &mut Container, old: &Container| new.resources = keep(new.resources.as_ref(), old.resources.as_ref());
        reverted.containers.iter_mut().zip(&old_spec.containers).for_each(|(new, old)| of_both(new, old));
        let init = reverted.init_containers.iter_mut().flatten();
        init.zip(old_spec.init_containers.iter().flatten()).for_each(|(new, old)| of_both(new, old));
        if errors.is_empty() && reverted != *old_spec {
            errors.forbidden(&SPEC, "only cpu and memory resources are mutable");
        }
    }
    errors
}

fn class(pod: &Pod) -> &str {
    let told = text(pod.status.as_ref().and_then(|status| status.qos_class.as_ref()));
    if told.is_empty() { pod.spec.as_ref().map_or("BestEffort", pods::qos_class) } else { told }
}

/// Nodes that can resize say what containers have.
fn node_resizes(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut running = statuses.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.next().is_none_or(|status| status.resources.is_some())
}

/// What the pod has as a whole may change too.
fn of_pod(new: &mut PodSpec, old: &PodSpec, errors: &mut Errors) {
    let path = SPEC.child("resources");
    let asks = |resources: &Option<ResourceRequirements>| {
        let some = |list: &Amounts| list.as_ref().is_some_and(|list| !list.is_empty());
        resources.as_ref().is_some_and(|own| some(&own.requests) || some(&own.limits))
    };
    if !asks(&new.resources) && !asks(&old.resources) {
        return;
    }
    match (&new.resources, &old.resources) {
        (None, Some(_)) => return errors.forbidden(&path, "pod-level resources cannot be removed"),
        (Some(now), Some(before)) => removed(now, before, "pod-level resource", &path, errors),
        _ => {}
    }
    let mut kept = keep(new.resources.as_ref(), old.resources.as_ref());
    if old.resources.is_none() && kept.as_ref().is_some_and(|kept| *kept == ResourceRequirements::default()) {
        kept = None;
    }
    if kept != normal(old.resources.as_ref()) {
        errors.forbidden(&SPEC, "only cpu and memory resources are mutable at pod-level");
    }
    new.resources.clone_from(&old.resources);
}

fn same_containers(new: &PodSpec, old: &PodSpec, errors: &mut Errors) -> bool {
    let before = errors.len();
    let init = |spec: &PodSpec| spec.init_containers.clone().unwrap_or_default();
    for (field, now, was) in
        [("containers", &new.containers, &old.containers), ("initContainers", &init(new), &init(old))]
    {
        let list = SPEC.child(field);
        if now.len() != was.len() {
            errors.forbidden(&list, &format!("{field} may not be added or removed on resize"));
            continue;
        }
        for (i, _) in now.iter().zip(was).enumerate().filter(|(_, (now, was))| now.name != was.name) {
            let rule = format!("{field} may not be renamed or reordered on resize");
            errors.forbidden(&list.index(i).child("name"), &rule);
        }
    }
    errors.len() == before
}

fn containers(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let list = SPEC.child("containers");
    for (i, (now, was)) in new.containers.iter().zip(&old.containers).enumerate() {
        of_container(now, was, &list.index(i).child("resources"), errors);
        if !only_resized(now, was) {
            errors.forbidden(&SPEC, "only cpu and memory resources are mutable");
        }
    }
}

fn init_containers(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let list = SPEC.child("initContainers");
    let both = new.init_containers.iter().flatten().zip(old.init_containers.iter().flatten());
    for (i, (now, was)) in both.enumerate() {
        let path = list.index(i);
        of_container(now, was, &path.child("resources"), errors);
        if !only_resized(now, was) {
            let rule = "only cpu and memory resources for init or sidecar containers are mutable";
            errors.forbidden(&path, rule);
        }
        let restarts = |c: &Container| c.resize_policy.iter().flatten().any(|p| p.restart_policy == "RestartContainer");
        if now != was && !pods::is_sidecar(now) && restarts(now) {
            let rule = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.forbidden(&path, rule);
        }
    }
}

fn of_container(new: &Container, old: &Container, path: &Path<'_>, errors: &mut Errors) {
    let default = ResourceRequirements::default();
    let (now, before) = (new.resources.as_ref().unwrap_or(&default), old.resources.as_ref().unwrap_or(&default));
    removed(now, before, "resource", path, errors);
}

/// What was asked for once is asked for still.
fn removed(new: &ResourceRequirements, old: &ResourceRequirements, what: &str, path: &Path<'_>, errors: &mut Errors) {
    for (field, now, before) in [("requests", &new.requests, &old.requests), ("limits", &new.limits, &old.limits)] {
        let has = |name: &String| now.as_ref().is_some_and(|now| now.contains_key(name));
        if !before.iter().flatten().all(|(name, _)| has(name)) {
            errors.forbidden(&path.child(field), &format!("{what} {field} cannot be removed"));
        }
    }
}

/// Whether nothing else has changed. Devices that are claimed count as if there were none.
fn only_resized(new: &Container, old: &Container) -> bool {
    let claimless = |resources: Option<ResourceRequirements>| {
        resources.map(|own| ResourceRequirements { claims: None, ..own }).filter(|own| *own != Default::default())
    };
    let kept = Container { resources: claimless(keep(new.resources.as_ref(), old.resources.as_ref())), ..new.clone() };
    kept == Container { resources: claimless(normal(old.resources.as_ref())), ..old.clone() }
}

/// What is asked for, with processor and memory as they were.
fn keep(new: Option<&ResourceRequirements>, old: Option<&ResourceRequirements>) -> Option<ResourceRequirements> {
    let of = |resources: Option<&ResourceRequirements>| resources.cloned().unwrap_or_default();
    let (mut kept, old) = (of(new), of(old));
    for (list, was) in [(&mut kept.requests, &old.requests), (&mut kept.limits, &old.limits)] {
        let list = list.get_or_insert_default();
        for name in ["cpu", "memory"] {
            match was.as_ref().and_then(|was| was.get(name)) {
                Some(was) => list.insert(name.to_owned(), was.clone()),
                None => list.remove(name),
            };
        }
    }
    normal(Some(&kept))
}

/// Nothing asked for is nothing, however it is said.
fn normal(resources: Option<&ResourceRequirements>) -> Option<ResourceRequirements> {
    let some = |list: &Amounts| list.clone().filter(|list| !list.is_empty());
    let own = resources?;
    let normal =
        ResourceRequirements { requests: some(&own.requests), limits: some(&own.limits), claims: own.claims.clone() };
    Some(normal).filter(|normal| *normal != ResourceRequirements::default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::update_resize;
    use crate::validation::tests::object;

    fn pod(spec: &str) -> Pod {
        let json = format!(r#"{{"metadata":{{"name":"p","namespace":"n"}},"spec":{{{spec}}}}}"#);
        object::<Pod>(&json).downcast::<Pod>().expect("a pod")
    }

    fn container(fields: &str) -> String {
        format!(r#""containers":[{{"name":"c","image":"i",{fields}}}]"#)
    }

    #[test]
    fn resources_change_in_place() {
        let cpu = |cpu: &str| container(&format!(r#""resources":{{"requests":{{"cpu":"{cpu}"}}}}"#));
        let both = container(r#""resources":{"requests":{"cpu":"1"},"limits":{"memory":"1Gi"}}"#);
        let none = container(r#""command":null"#);
        for (old, new, expected) in [
            (cpu("1"), cpu("2"), &[][..]),
            (cpu("1"), both.clone(), &[]),
            (cpu("1"), none.clone(), &["spec Invalid", "spec.containers[0].resources.requests Forbidden"]),
            (none, cpu("1"), &["spec Invalid"]),
            (
                both,
                cpu("1"),
                &["spec.containers[0].resources.requests Forbidden", "spec.containers[0].resources.limits Forbidden"],
            ),
            (
                cpu("1"),
                cpu("1").replace("\"cpu\"", "\"ephemeral-storage\""),
                &["spec Invalid", "spec.containers[0].resources.requests Forbidden", "spec Forbidden"],
            ),
            (cpu("1"), cpu("2").replace("\"c\"", "\"d\""), &["spec.containers[0].name Forbidden"]),
            (cpu("1"), cpu("2").replace("\"i\"", "\"j\""), &["spec Forbidden"]),
        ] {
            let errors = update_resize(&pod(&new), &pod(&old));
            let causes: Vec<String> =
                errors.iter().map(|e| format!("{} {}", e.field, &e.reason.as_str()["FieldValue".len()..])).collect();
            assert_eq!(causes, expected, "{new}");
        }
    }
}
