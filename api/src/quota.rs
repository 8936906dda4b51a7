//! What objects count for in the quotas of their namespace: pure functions that the API server, which charges for an
//! object when it is made, and the controller, which counts again, both go by.
//!
//! Source: `pkg/quota/v1/evaluator/core` and `k8s.io/apiserver/pkg/quota/v1`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodAffinityTerm, PodSpec, ResourceQuota, ResourceRequirements, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::any::AnyObject;
use crate::pods;
use crate::quantity::{Quantity, parse_or_zero};

/// Amounts by the names that quotas have for them.
pub type Amounts = BTreeMap<String, Quantity>;

/// The kinds that quotas may count by their plural alone.
const COUNTED_BY_NAME: [&str; 4] = ["replicationcontrollers", "resourcequotas", "secrets", "configmaps"];

/// What containers must say for themselves as soon as a quota limits it.
const TO_BE_SAID: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// By which a claim named its class before there was a field for it.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The name under which a quota counts objects of any kind: `count/deployments.apps`.
#[must_use]
pub fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") }
}

/// What an object of this kind counts for.
#[must_use]
pub fn usage(group: &str, plural: &str, object: &AnyObject) -> Amounts {
    let mut usage = usage_of_any(group, plural);
    if let Some(pod) = object.downcast_ref::<Pod>() {
        usage.extend(usage_of_pod(pod));
    } else if let Some(service) = object.downcast_ref::<Service>() {
        usage.extend(usage_of_service(service));
    } else if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        usage.extend(usage_of_claim(claim));
    }
    usage
}

/// Whether objects of a kind can count for this at all.
#[must_use]
pub fn counts_for(group: &str, plural: &str, name: &str) -> bool {
    if usage_of_any(group, plural).contains_key(name) {
        return true;
    }
    match (group, plural) {
        ("", "pods") => {
            let standard = ["cpu", "memory", "ephemeral-storage"]
                .contains(&name.rsplit('.').next().unwrap_or_default())
                && matches!(name.split_once('.'), None | Some(("requests" | "limits", _)));
            let asked = name.strip_prefix("requests.");
            standard
                || name == "pods"
                || name.starts_with("hugepages-")
                || asked.is_some_and(|asked| asked.starts_with("hugepages-") || is_extended(asked))
        }
        ("", "services") => ["services", "services.nodeports", "services.loadbalancers"].contains(&name),
        ("", "persistentvolumeclaims") => {
            let of_class = name.split_once(".storageclass.storage.k8s.io/").map_or(name, |(_, name)| name);
            ["persistentvolumeclaims", "requests.storage"].contains(&of_class)
        }
        _ => false,
    }
}

/// Whether a resource is none of Kubernetes' own, or one that a class of devices stands for.
fn is_extended(name: &str) -> bool {
    name.starts_with("deviceclass.resource.kubernetes.io/") || (name.contains('/') && !name.contains("kubernetes.io/"))
}

/// What an object counts for of which no more is known than that it is there.
#[must_use]
pub fn usage_of_any(group: &str, plural: &str) -> Amounts {
    let mut usage = one(&count_name(group, plural));
    if group.is_empty() && COUNTED_BY_NAME.contains(&plural) {
        usage.extend(one(plural));
    }
    usage
}

fn one(name: &str) -> Amounts {
    Amounts::from([(name.to_owned(), Quantity::from_units(1))])
}

/// A pod counts for what it asks for, until it is finished.
#[must_use]
pub fn usage_of_pod(pod: &Pod) -> Amounts {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    if pods::is_finished(pod) {
        return Amounts::new();
    }
    let mut usage = compute(&pods::requests(spec), &pods::limits(spec));
    usage.extend(one("pods"));
    usage
}

/// Requests and limits by the names that quotas have for them.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    for (name, amount) in requests {
        let standard = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if standard || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
        }
        if standard || name.starts_with("hugepages-") || name.contains('/') {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
    usage
}

/// A service counts for the ports that it takes on every node, too.
#[must_use]
pub fn usage_of_service(service: &Service) -> Amounts {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let count = |number: usize| Quantity::from_units(i64::try_from(number).unwrap_or(i64::MAX));
    let (balancers, node_ports) = match spec.and_then(|spec| spec.type_.as_deref()) {
        Some("NodePort") => (0, ports.len()),
        Some("LoadBalancer") if spec.and_then(|spec| spec.allocate_load_balancer_node_ports) == Some(false) => {
            (1, ports.iter().filter(|port| port.node_port.unwrap_or_default() != 0).count())
        }
        Some("LoadBalancer") => (1, ports.len()),
        _ => (0, 0),
    };
    let mut usage = one("services");
    usage.insert("services.loadbalancers".to_owned(), count(balancers));
    usage.insert("services.nodeports".to_owned(), count(node_ports));
    usage
}

/// A claim counts for the room that it asks for, of its class too.
#[must_use]
pub fn usage_of_claim(claim: &PersistentVolumeClaim) -> Amounts {
    let mut usage = one("persistentvolumeclaims");
    let spec = claim.spec.as_ref();
    let annotation = claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    let class = annotation.or(spec.and_then(|spec| spec.storage_class_name.as_ref())).filter(|class| !class.is_empty());
    if let Some(class) = class {
        usage.extend(one(&format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims")));
    }
    let requests = spec.and_then(|spec| spec.resources.as_ref()).and_then(|resources| resources.requests.as_ref());
    if let Some(room) = requests.and_then(|requests| requests.get("storage")) {
        // What was allocated counts as long as it is more, so that nobody asks for less and has it back.
        let allocated = claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref()?.get("storage"));
        let room = parse_or_zero(Some(room)).max(parse_or_zero(allocated));
        let room = if room.is_whole() { room } else { Quantity::from_units(room.units()) };
        usage.insert("requests.storage".to_owned(), room);
        if let Some(class) = class {
            usage.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), room);
        }
    }
    usage
}

/// Amounts of a quota, read.
#[must_use]
pub fn amounts(list: Option<&BTreeMap<String, Text>>) -> Amounts {
    list.into_iter().flatten().map(|(name, text)| (name.clone(), parse_or_zero(Some(text)))).collect()
}

/// Amounts as a quota has them.
#[must_use]
pub fn texts(amounts: &Amounts) -> BTreeMap<String, Text> {
    amounts.iter().map(|(name, amount)| (name.clone(), amount.to_text())).collect()
}

/// Whether an object is among those that a quota's scopes are about.
#[must_use]
pub fn is_in_scope(quota: &ResourceQuota, object: &AnyObject) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let requirements =
        spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.as_deref().unwrap_or_default());
    spec.scopes.iter().flatten().all(|scope| has_scope(object, scope, "Exists", &[]))
        && requirements.into_iter().all(|requirement| {
            let values = requirement.values.as_deref().unwrap_or_default();
            has_scope(object, &requirement.scope_name, &requirement.operator, values)
        })
}

fn has_scope(object: &AnyObject, scope: &str, operator: &str, values: &[String]) -> bool {
    let selects = |value: &str| match operator {
        "Exists" => !value.is_empty(),
        "DoesNotExist" => value.is_empty(),
        "In" => values.iter().any(|one| one == value),
        _ => !values.iter().any(|one| one == value),
    };
    if let Some(claim) = object.downcast_ref::<PersistentVolumeClaim>() {
        let class = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
        return scope == "VolumeAttributesClass" && selects(class.unwrap_or_default());
    }
    let Some(spec) = object.downcast_ref::<Pod>().and_then(|pod| pod.spec.as_ref()) else { return false };
    match scope {
        "Terminating" => ends_by_itself(spec),
        "NotTerminating" => !ends_by_itself(spec),
        "BestEffort" => pods::qos_class(spec) == "BestEffort",
        "NotBestEffort" => pods::qos_class(spec) != "BestEffort",
        "PriorityClass" => selects(spec.priority_class_name.as_deref().unwrap_or_default()),
        "CrossNamespacePodAffinity" => reaches_other_namespaces(spec),
        _ => false,
    }
}

/// Whether a pod is among those that end by themselves.
#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(ends_by_itself)
}

fn ends_by_itself(spec: &PodSpec) -> bool {
    spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0)
}

fn reaches_other_namespaces(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let reaches = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|namespaces| !namespaces.is_empty()) || term.namespace_selector.is_some()
    };
    let near = affinity.pod_affinity.as_ref().map(|one| {
        (
            &one.required_during_scheduling_ignored_during_execution,
            &one.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let apart = affinity.pod_anti_affinity.as_ref().map(|one| {
        (
            &one.required_during_scheduling_ignored_during_execution,
            &one.preferred_during_scheduling_ignored_during_execution,
        )
    });
    near.into_iter().chain(apart).any(|(required, preferred)| {
        required.iter().flatten().any(reaches)
            || preferred.iter().flatten().any(|weighted| reaches(&weighted.pod_affinity_term))
    })
}

/// What containers of the pod do not say although the quota limits it, as `cpu for: a,b; memory for: b`.
#[must_use]
pub fn unsaid(pod: &Pod, limited: &[&str]) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if spec.resources.is_some() {
        return None;
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let default = ResourceRequirements::default();
        let resources = container.resources.as_ref().unwrap_or(&default);
        let said = compute(&amounts(resources.requests.as_ref()), &amounts(resources.limits.as_ref()));
        for name in TO_BE_SAID.into_iter().filter(|name| limited.contains(name) && !said.contains_key(*name)) {
            missing.entry(name).or_default().insert(&container.name);
        }
    }
    let lines: Vec<String> = missing
        .into_iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(",")))
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::object::Object;

    fn told(usage: &Amounts) -> String {
        usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(" ")
    }

    fn pod(spec: &str) -> Pod {
        Pod::decode(format!(r#"{{"spec":{spec}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn objects_count_for_what_they_take() {
        let running = pod(
            r#"{"containers":[{"name":"c","resources":{"requests":{"cpu":"100m","a.test/gpu":"1"},"limits":{"cpu":"1","memory":"1Gi"}}}]}"#,
        );
        assert_eq!(
            told(&usage("", "pods", &AnyObject::new(running.clone()))),
            "count/pods=1 cpu=100m limits.cpu=1 limits.memory=1Gi pods=1 requests.a.test/gpu=1 requests.cpu=100m"
        );
        let mut finished = running;
        finished.status.get_or_insert_default().phase = Some("Failed".to_owned());
        assert_eq!(told(&usage("", "pods", &AnyObject::new(finished))), "count/pods=1");
        for (service, expected) in [
            (r#"{"ports":[{"port":1}]}"#, "services=1 services.loadbalancers=0 services.nodeports=0"),
            (
                r#"{"type":"NodePort","ports":[{"port":1},{"port":2}]}"#,
                "services=1 services.loadbalancers=0 services.nodeports=2",
            ),
            (
                r#"{"type":"LoadBalancer","ports":[{"port":1}]}"#,
                "services=1 services.loadbalancers=1 services.nodeports=1",
            ),
            (
                r#"{"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{"port":1}]}"#,
                "services=1 services.loadbalancers=1 services.nodeports=0",
            ),
        ] {
            let service = Service::decode(format!(r#"{{"spec":{service}}}"#).as_bytes()).unwrap();
            assert_eq!(told(&usage_of_service(&service)), expected);
        }
        let claim = br#"{"spec":{"storageClassName":"fast","resources":{"requests":{"storage":"1Gi"}}}}"#;
        assert_eq!(
            told(&usage_of_claim(&PersistentVolumeClaim::decode(claim).unwrap())),
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/requests.storage=1Gi persistentvolumeclaims=1 requests.storage=1Gi"
        );
        assert_eq!(told(&usage_of_any("", "secrets")), "count/secrets=1 secrets=1");
        assert_eq!(told(&usage_of_any("apps", "deployments")), "count/deployments.apps=1");
    }

    #[test]
    fn scopes_choose_pods() {
        let best_effort = AnyObject::new(pod(r#"{"containers":[{"name":"c"}],"priorityClassName":"high"}"#));
        for (spec, expected) in [
            ("{}", true),
            (r#"{"scopes":["BestEffort","NotTerminating"]}"#, true),
            (r#"{"scopes":["NotBestEffort"]}"#, false),
            (r#"{"scopes":["Terminating"]}"#, false),
            (r#"{"scopes":["CrossNamespacePodAffinity"]}"#, false),
            (
                r#"{"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["high"]}]}}"#,
                true,
            ),
            (
                r#"{"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"NotIn","values":["high"]}]}}"#,
                false,
            ),
        ] {
            let quota = ResourceQuota::decode(format!(r#"{{"spec":{spec}}}"#).as_bytes()).unwrap();
            assert_eq!(is_in_scope(&quota, &best_effort), expected, "{spec}");
        }
        let quota = ResourceQuota::decode(br#"{"spec":{"scopes":["BestEffort"]}}"#).unwrap();
        assert!(!is_in_scope(&quota, &AnyObject::new(Service::default())));
    }

    #[test]
    fn kinds_count_for_what_is_theirs() {
        for (plural, names, others) in [
            (
                "pods",
                "cpu limits.cpu requests.memory requests.ephemeral-storage pods count/pods hugepages-2Mi requests.hugepages-2Mi requests.a.test/gpu",
                "services requests.storage secrets a.test/gpu requests.kubernetes.io/x limits.hugepages-2Mi",
            ),
            ("services", "services services.nodeports services.loadbalancers count/services", "pods cpu"),
            (
                "persistentvolumeclaims",
                "persistentvolumeclaims requests.storage a.b.storageclass.storage.k8s.io/requests.storage",
                "requests.cpu pods a.storageclass.storage.k8s.io/pods",
            ),
            ("secrets", "secrets count/secrets", "configmaps count/pods"),
            ("endpoints", "count/endpoints", "endpoints"),
        ] {
            names.split(' ').for_each(|name| assert!(counts_for("", plural, name), "{plural} {name}"));
            others.split(' ').for_each(|name| assert!(!counts_for("", plural, name), "{plural} {name}"));
        }
        assert!(counts_for("apps", "deployments", "count/deployments.apps"));
    }

    #[test]
    fn claims_count_for_what_was_allocated() {
        for (asked, allocated, expected) in
            [("1Gi", "", "1Gi"), ("1Gi", "2Gi", "2Gi"), ("2Gi", "1Gi", "2Gi"), ("1500m", "", "2")]
        {
            let claim = format!(
                r#"{{"spec":{{"resources":{{"requests":{{"storage":"{asked}"}}}}}},"status":{{"allocatedResources":{{{}}}}}}}"#,
                if allocated.is_empty() { String::new() } else { format!(r#""storage":"{allocated}""#) }
            );
            let usage = usage_of_claim(&PersistentVolumeClaim::decode(claim.as_bytes()).unwrap());
            assert_eq!(usage["requests.storage"].to_string(), expected, "{claim}");
        }
    }

    #[test]
    fn what_is_limited_must_be_said() {
        let pod = pod(
            r#"{"containers":[{"name":"a"},{"name":"b","resources":{"requests":{"cpu":"1"}}}],"initContainers":[{"name":"i"}]}"#,
        );
        assert_eq!(unsaid(&pod, &["pods"]), None);
        assert_eq!(
            unsaid(&pod, &["requests.cpu", "limits.memory"]).as_deref(),
            Some("limits.memory for: a,b,i; requests.cpu for: a,i")
        );
    }
}
