//! A node as the scheduler sees it: what it offers, and what the pods on it take of that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_api::quantity::parse_or_zero;
use k8s_openapi::api::core::v1::Node;

use crate::filter::ports::HostPort;
use crate::filter::taints::Taint;
use crate::pod::PodInfo;
use crate::resources::Resources;

/// A node and its load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeInfo {
    pub offer: Offer,
    pub load: Load,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Resources,
    pub pods_max: i64,
}

/// The sum of the pods on a node, those included that are only assumed to be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    pub requested: Resources,
    /// As scores count it: cpu in thousandths, memory in bytes.
    pub weighed: (i64, i64),
    pub pods: i64,
    pub ports: Vec<HostPort>,
    /// The pods of each controller.
    pub owners: HashMap<Arc<str>, i64>,
}

impl Offer {
    pub fn parse(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten().map(Taint::parse).collect(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
            allocatable: Resources::of_list(allocatable),
            pods_max: parse_or_zero(allocatable.and_then(|list| list.get("pods"))).units(),
        }
    }
}

impl Load {
    pub fn add(&mut self, pod: &PodInfo) {
        self.requested.add(&pod.requests);
        let (cpu_milli, memory_bytes) = pod.requests.or_unasked();
        self.weighed.0 = self.weighed.0.saturating_add(cpu_milli);
        self.weighed.1 = self.weighed.1.saturating_add(memory_bytes);
        self.pods += 1;
        self.ports.extend(pod.host_ports.iter().cloned());
        if let Some(owner) = &pod.owner {
            *self.owners.entry(Arc::clone(owner)).or_default() += 1;
        }
    }

    pub fn remove(&mut self, pod: &PodInfo) {
        self.requested.remove(&pod.requests);
        let (cpu_milli, memory_bytes) = pod.requests.or_unasked();
        self.weighed.0 -= cpu_milli;
        self.weighed.1 -= memory_bytes;
        self.pods -= 1;
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|used| used == port) {
                self.ports.swap_remove(at);
            }
        }
        if let Some(owner) = &pod.owner
            && let Some(count) = self.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
    }
}
