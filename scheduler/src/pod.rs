//! A pod as the scheduler sees it: parsed once, exact, comparable.

use std::sync::Arc;

use coracle_api::pods;
use coracle_client::{Key, PodRef};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, NodeSelectorTerm as TypedTerm, Pod, PodSpec, Toleration as TypedToleration,
};

use crate::filter::affinity::NodeSelectorTerm;
use crate::filter::ports::HostPort;
use crate::filter::taints::Toleration;
use crate::resources::Resources;

/// What decisions about a pod depend upon, and nothing else: two pods that are equal here are decided alike, so an
/// update that changes nothing of it is no reason to try again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodInfo {
    pub key: Key,
    pub uid: String,
    pub created: Timestamp,
    pub priority: i32,
    pub requests: Resources,
    /// The node that it is bound to, or must be.
    pub node_name: Option<String>,
    /// Labels that the node must have.
    pub node_selector: Vec<(String, String)>,
    /// One of these must match the node; `None`: any node.
    pub required: Option<Vec<NodeSelectorTerm>>,
    /// Each that matches speaks for the node, with this weight.
    pub preferred: Vec<(i64, NodeSelectorTerm)>,
    pub tolerations: Vec<Toleration>,
    pub host_ports: Vec<HostPort>,
    /// The uid of its controller: pods of one are spread.
    pub owner: Option<Arc<str>>,
    /// Gates keep it from being scheduled at all.
    pub gated: bool,
}

impl PodInfo {
    pub fn parse(pod: &Pod) -> Self {
        let (meta, empty) = (&pod.metadata, PodSpec::default());
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        let controller = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        Self {
            key: Key::of_meta(meta),
            uid: meta.uid.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
            priority: spec.priority.unwrap_or_default(),
            requests: Resources::of(pods::requests(spec).iter().map(|(name, amount)| (name.as_str(), *amount))),
            node_name: pods::node_name(pod).map(str::to_owned),
            node_selector: spec.node_selector.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            required: required.map(|selector| terms(&selector.node_selector_terms)),
            preferred: preferred
                .into_iter()
                .flatten()
                .map(|term| (i64::from(term.weight), NodeSelectorTerm::parse(&term.preference)))
                .collect(),
            tolerations: spec.tolerations.iter().flatten().map(toleration).collect(),
            host_ports: host_ports(spec),
            owner: controller.map(|owner| owner.uid.as_str().into()),
            gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
        }
    }

    pub fn reference(&self) -> PodRef {
        PodRef { namespace: self.key.namespace.clone(), name: self.key.name.clone(), uid: self.uid.clone() }
    }

    /// The labels that the node must have, as required by either way of saying so.
    pub fn is_choosy(&self) -> bool {
        !self.node_selector.is_empty() || self.required.is_some()
    }
}

fn terms(typed: &[TypedTerm]) -> Vec<NodeSelectorTerm> {
    typed.iter().map(NodeSelectorTerm::parse).collect()
}

fn toleration(typed: &TypedToleration) -> Toleration {
    Toleration {
        key: typed.key.clone().unwrap_or_default(),
        value: (typed.operator.as_deref() != Some("Exists")).then(|| typed.value.clone().unwrap_or_default()),
        effect: typed.effect.clone().filter(|effect| !effect.is_empty()),
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| pods::is_sidecar(container));
    let ports = |container: &Container| container.ports.clone().unwrap_or_default();
    let all = spec.containers.iter().chain(sidecars).flat_map(ports);
    all.filter_map(|port| {
        Some(HostPort {
            port: port.host_port.filter(|port| *port > 0)?,
            protocol: port.protocol.unwrap_or_else(|| "TCP".into()),
            address: port.host_ip.filter(|ip| !ip.is_empty() && ip != "0.0.0.0" && ip != "::"),
        })
    })
    .collect()
}
