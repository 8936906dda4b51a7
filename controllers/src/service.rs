//! What both kinds of endpoints need of a service and of its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use coracle_client::{Delta, Index, Key};
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::pod;

pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// The kind of addresses that a set of endpoints has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    pub fn of(address: &str) -> Option<Self> {
        match address.parse().ok()? {
            IpAddr::V4(_) => Some(Self::V4),
            IpAddr::V6(_) => Some(Self::V6),
        }
    }
}

/// A service whose endpoints follow its selector.
#[derive(Debug)]
pub struct Selecting<'a> {
    pub service: &'a Service,
    pub spec: &'a ServiceSpec,
    selector: &'a BTreeMap<String, String>,
}

impl<'a> Selecting<'a> {
    /// `None` for a service whose endpoints are somebody else's: without a selector, a mere name for something outside,
    /// or on its way out.
    pub fn of(service: &'a Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
        let external = spec.type_.as_deref() == Some("ExternalName");
        let going = service.metadata.deletion_timestamp.is_some();
        (!external && !going).then_some(Self { service, spec, selector })
    }

    pub fn selects(&self, pod: &Pod) -> bool {
        let labels = pod.metadata.labels.as_ref();
        self.selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    }

    pub fn ports(&self) -> &'a [ServicePort] {
        self.spec.ports.as_deref().unwrap_or_default()
    }

    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
    }

    /// Whether the service wants its pods before they are ready, and when they are on their way out.
    pub fn publishes_not_ready(&self) -> bool {
        self.spec.publish_not_ready_addresses.unwrap_or(false)
    }

    /// The families that it has endpoints in, the primary one first.
    pub fn families(&self) -> Vec<Family> {
        let named = self.spec.ip_families.iter().flatten().filter_map(|family| match family.as_str() {
            "IPv4" => Some(Family::V4),
            "IPv6" => Some(Family::V6),
            _ => None,
        });
        let named: Vec<Family> = named.collect();
        if named.is_empty() {
            return vec![self.spec.cluster_ip.as_deref().and_then(Family::of).unwrap_or(Family::V4)];
        }
        named
    }

    /// The hostname under which a pod is to be found below the service's name.
    pub fn hostname(&self, pod: &Pod) -> Option<String> {
        let spec = pod.spec.as_ref()?;
        let below = spec.subdomain.as_deref() == self.service.metadata.name.as_deref();
        let same_namespace = pod.metadata.namespace == self.service.metadata.namespace;
        spec.hostname.clone().filter(|hostname| !hostname.is_empty() && below && same_namespace)
    }
}

/// Whether a pod can be an endpoint at all.
pub fn is_reachable(pod: &Pod) -> bool {
    !pod::is_finished(pod) && !pod::addresses(pod).is_empty()
}

/// The number of the pod's port that a service's port leads to; `None` when the pod has no port of that name.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => return Some(port.port),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let ports = serving_containers(pod).flat_map(|container| container.ports.iter().flatten());
    let mut named =
        ports.filter(|port| port.name.as_ref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol);
    named.next().map(|port| port.container_port)
}

/// The containers that run along with a pod: the main ones, and the sidecars.
fn serving_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        let sidecars = spec.init_containers.iter().flatten();
        spec.containers.iter().chain(sidecars.filter(|one| one.restart_policy.as_deref() == Some("Always")))
    })
}

/// What an endpoint says it stands for.
pub fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The services whose endpoints a change of a pod may change.
pub fn affected(services: &Index<Service>, delta: &Delta<Pod>) -> BTreeSet<Key> {
    let pods: Vec<&Pod> = match delta {
        Delta::Added(pod) | Delta::Deleted(pod) => vec![pod],
        Delta::Updated { old, new } if serves_alike(old, new) => return BTreeSet::new(),
        Delta::Updated { old, new } => vec![old, new],
    };
    let services = services.get(pods[0].metadata.namespace.as_deref().unwrap_or_default());
    let selecting = services
        .iter()
        .filter(|service| Selecting::of(service).is_some_and(|service| pods.iter().any(|pod| service.selects(pod))));
    selecting.map(|service| Key::of(&**service)).collect()
}

/// Whether nothing has changed that an endpoint tells.
fn serves_alike(old: &Pod, new: &Pod) -> bool {
    let hostname = |pod: &Pod| pod.spec.as_ref().map(|spec| (spec.hostname.clone(), spec.subdomain.clone()));
    old.metadata.labels == new.metadata.labels
        && old.metadata.uid == new.metadata.uid
        && pod::is_ready(old) == pod::is_ready(new)
        && pod::is_deleting(old) == pod::is_deleting(new)
        && pod::is_finished(old) == pod::is_finished(new)
        && pod::addresses(old) == pod::addresses(new)
        && pod::node_name(old) == pod::node_name(new)
        && hostname(old) == hostname(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::build::{pod, with};
    use k8s_openapi::api::core::v1::ContainerPort;

    #[test]
    fn ports_are_found_by_number_and_by_name() {
        let pod = with(pod("a"), |pod| {
            let port = |name: &str, number, protocol: &str| ContainerPort {
                name: Some(name.into()),
                container_port: number,
                protocol: Some(protocol.into()),
                ..ContainerPort::default()
            };
            let ports = Some(vec![port("dns", 53, "UDP"), port("http", 8080, "TCP")]);
            pod.spec.get_or_insert_default().containers = vec![Container { ports, ..Container::default() }];
        });
        let named = |name: &str| Some(IntOrString::String(name.into()));
        let cases = [
            (None, None, Some(80)),
            (Some(IntOrString::Int(8081)), None, Some(8081)),
            (named("http"), None, Some(8080)),
            (named("dns"), Some("UDP"), Some(53)),
            (named("dns"), None, None),
            (named("absent"), None, None),
        ];
        for (target_port_of, protocol, expected) in cases {
            let port = ServicePort {
                port: 80,
                target_port: target_port_of,
                protocol: protocol.map(str::to_owned),
                ..ServicePort::default()
            };
            assert_eq!(target_port(&pod, &port), expected, "{port:?}");
        }
    }
}
