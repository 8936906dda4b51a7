//! A pod as an endpoint.

use k8s_openapi::api::core::v1::{Pod, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

use crate::pod;
use crate::service::{Family, Selecting, target_port, target_ref};

/// The pod's endpoint in one family of addresses, if it has an address there.
pub fn endpoint(service: &Selecting<'_>, pod: &Pod, family: Family, zone: Option<String>) -> Option<Endpoint> {
    let addresses = pod::addresses(pod).into_iter().filter(|address| Family::of(address) == Some(family));
    let addresses: Vec<String> = addresses.map(str::to_owned).collect();
    if addresses.is_empty() {
        return None;
    }
    let (serving, terminating) = (pod::is_ready(pod), pod::is_deleting(pod));
    Some(Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(service.publishes_not_ready() || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: service.hostname(pod),
        node_name: pod::node_name(pod).map(str::to_owned),
        target_ref: Some(target_ref(pod)),
        zone,
        ..Endpoint::default()
    })
}

/// The service's ports as this pod has them: a named target port may be another number in every pod.
pub fn ports(service: &Selecting<'_>, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.ports().iter();
    ports.filter_map(|port| target_port(pod, port).map(|number| endpoint_port(port, number))).collect()
}

fn endpoint_port(port: &ServicePort, number: i32) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(number),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    }
}

/// Whether two endpoints are one and the same, be its conditions what they may.
pub fn same(one: &Endpoint, other: &Endpoint) -> bool {
    let uid = |endpoint: &Endpoint| endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    one.addresses == other.addresses
        && uid(one) == uid(other)
        && one.hostname == other.hostname
        && one.node_name == other.node_name
}
