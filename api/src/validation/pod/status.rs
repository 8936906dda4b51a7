//! What of a pod's status may change: whatever its node saw, but what has ended for good has ended.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};

use super::{METADATA, annotations};
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::ip;
use crate::validation::rules::{IMMUTABLE, between, one_of, text};

const STATUS: Path<'static> = Path::new("status");
const SYSTEM_CONDITIONS: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];
const NOT_NEGATIVE: &str = "must be a non-negative integer";
const MESSAGE_BYTES_MAX: usize = 256;

pub(super) fn update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let (default_spec, default) = (PodSpec::default(), PodStatus::default());
    let spec = new.spec.as_ref().unwrap_or(&default_spec);
    let (after, before) = (new.status.as_ref().unwrap_or(&default), old.status.as_ref().unwrap_or(&default));
    let annotations_path = METADATA.child("annotations");
    annotations::update(&new.metadata, &old.metadata, &annotations_path, errors);
    annotations::check(Some(&new.metadata), spec, &annotations_path, errors);
    conditions(after.conditions.as_deref().unwrap_or_default(), &STATUS.child("conditions"), errors);
    nominated(after, before, old.spec.as_ref().and_then(|spec| spec.node_name.as_ref()), errors);
    if after.observed_generation.is_some_and(|generation| generation < 0) {
        errors.invalid(&STATUS.child("observedGeneration"), &after.observed_generation, NOT_NEGATIVE);
    }
    if text(after.qos_class.as_ref()) != text(before.qos_class.as_ref()) {
        errors.invalid(&STATUS.child("qosClass"), &after.qos_class, IMMUTABLE);
    }
    containers(after, before, spec, errors);
    claims(after, spec, errors);
    let addresses: Vec<&str> = after.pod_ips.iter().flatten().map(|address| address.ip.as_str()).collect();
    let known: Vec<&str> = before.pod_ips.iter().flatten().map(|address| address.ip.as_str()).collect();
    of_each_family(&addresses, &known, &STATUS.child("podIPs"), errors);
    let list = STATUS.child("hostIPs");
    let addresses: Vec<&str> = after.host_ips.iter().flatten().map(|address| address.ip.as_str()).collect();
    let known: Vec<&str> = before.host_ips.iter().flatten().map(|address| address.ip.as_str()).collect();
    if let Some(first) = addresses.first().filter(|first| text(after.host_ip.as_ref()) != **first) {
        errors.invalid(&list.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    of_each_family(&addresses, &known, &list, errors);
}

/// Kubernetes writes the last part of this path with a capital letter.
fn conditions(conditions: &[PodCondition], list: &Path<'_>, errors: &mut Errors) {
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        if condition.observed_generation.is_some_and(|generation| generation < 0) {
            errors.invalid(&path.child("observedGeneration"), &condition.observed_generation, NOT_NEGATIVE);
        }
        if !SYSTEM_CONDITIONS.contains(&condition.type_.as_str()) {
            errors.invalid_each(&path.child("Type"), &condition.type_, names::qualified(&condition.type_));
        }
    }
}

/// A node is meant for a pod only until the pod has one.
fn nominated(after: &PodStatus, before: &PodStatus, node: Option<&String>, errors: &mut Errors) {
    let (name, path) = (text(after.nominated_node_name.as_ref()), STATUS.child("nominatedNodeName"));
    if name.is_empty() || name == text(before.nominated_node_name.as_ref()) {
        return;
    }
    errors.invalid_each(&path, name, names::dns_subdomain(name));
    if !text(node).is_empty() {
        errors.forbidden(&path, "may not be set on pods that are already bound to a node");
    }
}

fn containers(after: &PodStatus, before: &PodStatus, spec: &PodSpec, errors: &mut Errors) {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (field, now, was, own) in [
        ("containerStatuses", &after.container_statuses, &before.container_statuses, Some(spec.containers.as_slice())),
        ("initContainerStatuses", &after.init_container_statuses, &before.init_container_statuses, Some(init)),
        ("ephemeralContainerStatuses", &after.ephemeral_container_statuses, &before.ephemeral_container_statuses, None),
    ] {
        let list = STATUS.child(field);
        let now = now.as_deref().unwrap_or_default();
        stay_ended(now, was.as_deref().unwrap_or_default(), own, spec, &list, errors);
        for (i, status) in now.iter().enumerate() {
            users(status, spec, &list.index(i), errors);
            devices(status, own, &list.index(i), errors);
        }
    }
}

/// What has ended for good does not run again. `own` are the containers that may be started again at all.
fn stay_ended(
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    own: Option<&[Container]>,
    spec: &PodSpec,
    list: &Path<'_>,
    errors: &mut Errors,
) {
    if own.is_some() && all_restart(spec) {
        return;
    }
    for (i, was) in old.iter().enumerate() {
        let Some(ended) = was.state.as_ref().and_then(|state| state.terminated.as_ref()) else { continue };
        let container = own.and_then(|own| own.iter().find(|container| container.name == was.name));
        let runs = |is: &ContainerStatus| is.state.as_ref().is_none_or(|state| state.terminated.is_none());
        let again = new.iter().any(|is| is.name == was.name && runs(is));
        if again && !container.is_some_and(|container| restarts(container, spec, ended.exit_code)) {
            errors.forbidden(&list.index(i).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}

/// Whether the end of one container may begin all of them anew.
fn all_restart(spec: &PodSpec) -> bool {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.flat_map(|container| container.restart_policy_rules.iter().flatten())
        .any(|rule| rule.action == "RestartAllContainers")
}

/// Whether a container that ended so is started again. Source: `ContainerShouldRestart`.
fn restarts(container: &Container, spec: &PodSpec, exit_code: i32) -> bool {
    let fits = |codes: &[i32], operator: &str| codes.contains(&exit_code) == (operator == "In");
    let by_rule = container.restart_policy_rules.iter().flatten().any(|rule| {
        let codes = rule.exit_codes.as_ref();
        codes.is_some_and(|codes| fits(codes.values.as_deref().unwrap_or_default(), &codes.operator))
    });
    match container.restart_policy.as_deref().or(spec.restart_policy.as_deref()) {
        _ if container.restart_policy.is_some() && by_rule => true,
        Some("OnFailure") => exit_code != 0,
        Some("Never") => false,
        _ => true,
    }
}

fn users(status: &ContainerStatus, spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let Some(user) = status.user.as_ref().and_then(|user| user.linux.as_ref()) else { return };
    let path = path.child("user");
    let path = path.child("linux");
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.forbidden(&path, "cannot be set for a windows pod");
    }
    let most = i64::from(i32::MAX);
    between(user.uid, 0, most, &path.child("uid"), errors);
    between(user.gid, 0, most, &path.child("gid"), errors);
    let list = path.child("supplementalGroups");
    for (i, group) in user.supplemental_groups.iter().flatten().enumerate() {
        between(*group, 0, most, &list.index(i), errors);
    }
}

/// How devices are that a container was given, if it asks for some.
fn devices(status: &ContainerStatus, own: Option<&[Container]>, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("allocatedResourcesStatus");
    let all = status.allocated_resources_status.as_deref().unwrap_or_default();
    let Some(own) = own else {
        if !all.is_empty() {
            errors.forbidden(&list, "must not be specified in container status");
        }
        return;
    };
    for (i, given) in all.iter().enumerate() {
        let path = list.index(i);
        if let Some(container) = own.iter().find(|container| container.name == status.name)
            && !asks_for(container, &given.name)
        {
            errors.invalid(&path.child("name"), &given.name, "must match one of the container's resource requests");
        }
        let list = path.child("resources");
        let mut seen = HashSet::new();
        for (i, one) in given.resources.iter().flatten().enumerate() {
            let path = list.index(i);
            one_of(text(one.health.as_ref()), &["Healthy", "Unhealthy", "Unknown"], &path.child("health"), errors);
            match one.message.as_deref() {
                Some("") => errors.required(&path.child("message"), "must be non-empty if specified"),
                Some(text) if text.len() > MESSAGE_BYTES_MAX => {
                    errors.too_long(&path.child("message"), MESSAGE_BYTES_MAX)
                }
                _ => {}
            }
            if !seen.insert(&one.resource_id) {
                errors.duplicate(&path.child("resourceID"), &one.resource_id);
            }
        }
    }
}

fn asks_for(container: &Container, name: &str) -> bool {
    let Some(resources) = &container.resources else { return false };
    match name.strip_prefix("claim:") {
        None => resources.requests.as_ref().is_some_and(|requests| requests.contains_key(name)),
        Some(claim) => resources.claims.iter().flatten().any(|own| match text(own.request.as_ref()) {
            "" => own.name == claim,
            request => format!("{}/{request}", own.name) == claim,
        }),
    }
}

fn claims(status: &PodStatus, spec: &PodSpec, errors: &mut Errors) {
    let list = STATUS.child("resourceClaimStatuses");
    let mut seen = HashSet::new();
    for (i, claim) in status.resource_claim_statuses.iter().flatten().enumerate() {
        let path = list.index(i);
        if !spec.resource_claims.iter().flatten().any(|own| own.name == claim.name) {
            let rule = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&path.child("name"), &claim.name, rule);
        }
        if !seen.insert(&claim.name) {
            errors.duplicate(&path.child("name"), &claim.name);
        }
        if let Some(name) = &claim.resource_claim_name {
            errors.invalid_each(&path.child("resourceClaimName"), name, names::dns_subdomain(name));
        }
    }
}

/// Addresses are at most one of each family; what was taken for one before still is.
fn of_each_family(addresses: &[&str], known: &[&str], list: &Path<'_>, errors: &mut Errors) {
    for (i, address) in addresses.iter().enumerate().filter(|(_, address)| !known.contains(address)) {
        ip::address(address, &list.index(i), errors);
    }
    let of_one = || [true, false].into_iter().any(|v6| addresses.iter().all(|ip| ip.contains(':') == v6));
    if addresses.len() > 2 || (addresses.len() == 2 && of_one()) {
        errors.invalid(list, addresses, "may specify no more than one IP for each IP family");
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use crate::validation::tests::refused_status;

    fn pod(spec: &str, status: &str) -> String {
        format!(r#"{{"metadata":{{"name":"p","namespace":"n"}},"spec":{{{spec}}},"status":{{{status}}}}}"#)
    }

    #[test]
    fn statuses_are_held_to_their_rules() {
        let spec = r#""nodeName":"n","containers":[{"name":"c","image":"i"}]"#;
        for (status, expected) in [
            (r#""podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]"#, &[][..]),
            (r#""podIPs":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]"#, &["status.podIPs Invalid"]),
            (r#""podIPs":[{"ip":"x"}]"#, &["status.podIPs[0] Invalid"]),
            (r#""hostIPs":[{"ip":"10.0.0.1"}],"hostIP":"10.0.0.2""#, &[]),
            (r#""conditions":[{"type":"A B","status":"True"}]"#, &["status.conditions[0].Type Invalid"]),
            (r#""qosClass":"Guaranteed""#, &["status.qosClass Invalid"]),
            (r#""nominatedNodeName":"m""#, &["status.nominatedNodeName Forbidden"]),
            (r#""observedGeneration":-1"#, &["status.observedGeneration Invalid"]),
            (r#""resourceClaimStatuses":[{"name":"a"}]"#, &["status.resourceClaimStatuses[0].name Invalid"]),
        ] {
            assert_eq!(refused_status::<Pod>(&pod(spec, ""), &pod(spec, status)), expected, "{status}");
        }
    }

    #[test]
    fn what_ended_stays_ended() {
        let with = |field: &str, state: &str| {
            format!(
                r#""{field}":[{{"name":"c","ready":false,"restartCount":0,"image":"","imageID":"","state":{state}}}]"#
            )
        };
        let (ended, runs) = (r#"{"terminated":{"exitCode":1}}"#, r#"{"running":{}}"#);
        let container = r#""containers":[{"name":"c","image":"i"}]"#;
        let again = r#"{"name":"c","image":"i","restartPolicy":"Always"}"#;
        for (spec, field, expected) in [
            (format!(r#""restartPolicy":"Never",{container}"#), "containerStatuses", 1),
            (format!(r#""restartPolicy":"OnFailure",{container}"#), "containerStatuses", 0),
            (format!(r#""restartPolicy":"Never","containers":[{again}]"#), "containerStatuses", 0),
            (
                format!(r#""restartPolicy":"Never","initContainers":[{again}],"containers":[]"#),
                "initContainerStatuses",
                0,
            ),
            (format!(r#""restartPolicy":"Always",{container}"#), "ephemeralContainerStatuses", 1),
        ] {
            let (before, after) = (pod(&spec, &with(field, ended)), pod(&spec, &with(field, runs)));
            let refused = refused_status::<Pod>(&before, &after);
            assert_eq!(refused, vec![format!("status.{field}[0].state Forbidden"); expected], "{spec} {field}");
            assert_eq!(refused_status::<Pod>(&after, &before), [""; 0]);
        }
    }
}
