//! What can be told of a pod from the pod alone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::quantity::{Quantity, parse_or_zero};

/// The condition of this type.
#[must_use]
pub fn condition<'p>(pod: &'p Pod, type_: &str) -> Option<&'p PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == type_)
}

/// Whether the pod may be sent requests.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// The pod's phase, empty if it has none.
#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Whether all its containers have stopped for good.
#[must_use]
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod counts for whoever keeps a number of them: neither finished nor being deleted.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// The node that the pod is bound to.
#[must_use]
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|n| !n.is_empty())
}

/// Whether an init container stays beside the others.
#[must_use]
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What the pod is assured of, by what its containers ask for. Source: `ComputePodQOS`.
#[must_use]
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let own = spec.resources.as_ref().filter(|r| asks(r.requests.as_ref()) || asks(r.limits.as_ref()));
    let all: Vec<Option<&ResourceRequirements>> = match own {
        Some(own) => vec![Some(own)],
        None => {
            spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|c| c.resources.as_ref()).collect()
        }
    };
    let anything = all.iter().flatten().any(|r| asks(r.requests.as_ref()) || asks(r.limits.as_ref()));
    let guaranteed = all.iter().all(|r| {
        r.is_some_and(|r| {
            ["cpu", "memory"].into_iter().all(|name| {
                let limit = amount(r.limits.as_ref(), name);
                let request = r.requests.as_ref().and_then(|q| q.get(name)).map_or(limit, |q| parse_or_zero(Some(q)));
                !limit.is_zero() && limit == request
            })
        })
    });
    match (anything, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Whether processor or memory are asked for.
fn asks(list: Option<&BTreeMap<String, Text>>) -> bool {
    ["cpu", "memory"].into_iter().any(|name| !amount(list, name).is_zero())
}

fn amount(list: Option<&BTreeMap<String, Text>>, name: &str) -> Quantity {
    parse_or_zero(list.and_then(|l| l.get(name)))
}

/// What the pod needs of a node: the sum of its containers and sidecars, or the most that an init container needs beside
/// the sidecars started before it, and the overhead. Source: `PodRequests`.
#[must_use]
pub fn requests(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    let mut total = total(spec, |resources| resources.requests.as_ref());
    total.add(spec.overhead.as_ref());
    total.0
}

/// What the pod may use of a node, summed as [`requests`]; the overhead is added where there is a limit. Source:
/// `PodLimits`.
#[must_use]
pub fn limits(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    let mut total = total(spec, |resources| resources.limits.as_ref());
    for (name, quantity) in spec.overhead.iter().flatten() {
        if let Some(limit) = total.0.get_mut(name).filter(|limit| !limit.is_zero()) {
            *limit += parse_or_zero(Some(quantity));
        }
    }
    total.0
}

/// What the containers of the pod ask for, summed as [`requests`]: without the pod's own, and the overhead. Source:
/// `AggregateContainerRequests`.
#[must_use]
pub fn requests_of_containers(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    of_containers(spec, |resources| resources.requests.as_ref()).0
}

/// What the containers of the pod may use. Source: `AggregateContainerLimits`.
#[must_use]
pub fn limits_of_containers(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    of_containers(spec, |resources| resources.limits.as_ref()).0
}

fn total(spec: &PodSpec, list: ListOf) -> Sums {
    let mut total = of_containers(spec, list);
    if let Some(own) = spec.resources.as_ref().and_then(list) {
        total.0.extend(own.iter().map(|(name, quantity)| (name.clone(), parse_or_zero(Some(quantity)))));
    }
    total
}

fn of_containers(spec: &PodSpec, list: ListOf) -> Sums {
    let mut total = Sums::default();
    spec.containers.iter().for_each(|c| total.add(of(c, list)));
    let (mut sidecars, mut most) = (Sums::default(), Sums::default());
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            total.add(of(container, list));
            sidecars.add(of(container, list));
            most.raise(&sidecars);
        } else {
            let mut beside = sidecars.clone();
            beside.add(of(container, list));
            most.raise(&beside);
        }
    }
    total.raise(&most);
    total
}

type ListOf = fn(&ResourceRequirements) -> Option<&BTreeMap<String, Text>>;

fn of(container: &Container, list: ListOf) -> Option<&BTreeMap<String, Text>> {
    container.resources.as_ref().and_then(list)
}

#[derive(Clone, Default)]
struct Sums(BTreeMap<String, Quantity>);

impl Sums {
    fn add(&mut self, list: Option<&BTreeMap<String, Text>>) {
        for (name, quantity) in list.into_iter().flatten() {
            *self.0.entry(name.clone()).or_insert(Quantity::ZERO) += parse_or_zero(Some(quantity));
        }
    }

    fn raise(&mut self, other: &Sums) {
        for (name, quantity) in &other.0 {
            let own = self.0.entry(name.clone()).or_insert(*quantity);
            *own = (*own).max(*quantity);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::object::Object;

    fn spec(json: &str) -> PodSpec {
        Pod::decode(format!(r#"{{"spec":{json}}}"#).as_bytes()).unwrap().spec.unwrap()
    }

    #[test]
    fn service_classes() {
        for (resources, class) in [
            (r#"[{"name":"a"}]"#, "BestEffort"),
            (r#"[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}}]"#, "Guaranteed"),
            (
                r#"[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1","memory":"1024Mi"}}}]"#,
                "Guaranteed",
            ),
            (r#"[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}},{"name":"b"}]"#, "Burstable"),
            (r#"[{"name":"a","resources":{"requests":{"cpu":"1"}}}]"#, "Burstable"),
            (r#"[{"name":"a","resources":{"requests":{"cpu":"0","x.io/y":"1"}}}]"#, "BestEffort"),
        ] {
            assert_eq!(qos_class(&spec(&format!(r#"{{"containers":{resources}}}"#))), class, "{resources}");
        }
    }

    #[test]
    fn requests_are_the_most_that_is_needed_at_once() {
        let spec = spec(
            r#"{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"overhead":{"cpu":"5m"},"initContainers":[
            {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},
            {"name":"i","resources":{"requests":{"cpu":"2","memory":"1Gi"}}}]}"#,
        );
        let requests = requests(&spec);
        assert_eq!(requests["cpu"].milli(), 2105);
        assert_eq!(requests["memory"].bytes(), 1 << 30);
    }
}
