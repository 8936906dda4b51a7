//! Pods as subsets of endpoints: the addresses that have the same ports, ready and not. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Pod, ServicePort};

use crate::pod;
use crate::service::{Family, Selecting, is_reachable, target_port, target_ref};

/// An endpoints object holds no more addresses than this; slices hold them all.
pub const ADDRESSES_MAX: usize = 1000;

/// Subsets, and whether some address had no place.
#[derive(Debug, Default, PartialEq)]
pub struct Subsets {
    pub subsets: Vec<EndpointSubset>,
    pub truncated: bool,
}

/// A set of ports, comparable.
type Ports = Vec<(String, i32, String, Option<String>)>;

/// Where an address stands in its subset, so that the same pods always make the same object.
type Place = (String, String);

#[derive(Default)]
struct Subset {
    ready: BTreeMap<Place, EndpointAddress>,
    not_ready: BTreeMap<Place, EndpointAddress>,
}

/// Sorts pods into subsets.
pub fn subsets<'a>(service: &Selecting<'_>, pods: impl Iterator<Item = &'a Pod>) -> Subsets {
    let family = service.families().first().copied().unwrap_or(Family::V4);
    let mut subsets: BTreeMap<Ports, Subset> = BTreeMap::new();
    for pod in pods.filter(|pod| is_listed(service, pod)) {
        let Some(address) = address(service, pod, family) else { continue };
        let Some(ports) = ports(service, pod) else { continue };
        let subset = subsets.entry(ports).or_default();
        let ready = service.publishes_not_ready() || pod::is_ready(pod);
        let list = if ready { &mut subset.ready } else { &mut subset.not_ready };
        list.insert((address.ip.clone(), pod.metadata.uid.clone().unwrap_or_default()), address);
    }
    limit(subsets)
}

fn is_listed(service: &Selecting<'_>, pod: &Pod) -> bool {
    is_reachable(pod) && (service.publishes_not_ready() || !pod::is_deleting(pod))
}

fn address(service: &Selecting<'_>, pod: &Pod, family: Family) -> Option<EndpointAddress> {
    let ip = pod::addresses(pod).into_iter().find(|address| Family::of(address) == Some(family))?;
    Some(EndpointAddress {
        ip: ip.to_owned(),
        hostname: service.hostname(pod),
        node_name: pod::node_name(pod).map(str::to_owned),
        target_ref: Some(target_ref(pod)),
    })
}

/// The pod's ports. None at all is an endpoint only of a headless service, which may be without ports.
fn ports(service: &Selecting<'_>, pod: &Pod) -> Option<Ports> {
    let number = |port: &ServicePort| {
        target_port(pod, port).map(|number| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            (port.name.clone().unwrap_or_default(), number, protocol, port.app_protocol.clone())
        })
    };
    let ports: Ports = service.ports().iter().filter_map(number).collect();
    let portless = service.is_headless() && service.ports().is_empty();
    (portless || !ports.is_empty()).then_some(ports)
}

/// Ready addresses go first where there are too many.
fn limit(subsets: BTreeMap<Ports, Subset>) -> Subsets {
    let total: usize = subsets.values().map(|subset| subset.ready.len() + subset.not_ready.len()).sum();
    let ready: usize = subsets.values().map(|subset| subset.ready.len()).sum();
    let mut room_ready = ready.min(ADDRESSES_MAX);
    let mut room_not_ready = ADDRESSES_MAX - room_ready;
    let take = |addresses: BTreeMap<Place, EndpointAddress>, room: &mut usize| -> Vec<EndpointAddress> {
        let taken: Vec<EndpointAddress> = addresses.into_values().take(*room).collect();
        *room -= taken.len();
        taken
    };
    let listed = subsets.into_iter().filter_map(|(ports, subset)| {
        let addresses = take(subset.ready, &mut room_ready);
        let not_ready = take(subset.not_ready, &mut room_not_ready);
        let empty = addresses.is_empty() && not_ready.is_empty();
        (!empty).then(|| EndpointSubset {
            addresses: some(addresses),
            not_ready_addresses: some(not_ready),
            ports: some(ports.into_iter().map(port).collect()),
        })
    });
    Subsets { subsets: listed.collect(), truncated: total > ADDRESSES_MAX }
}

fn port((name, port, protocol, app_protocol): (String, i32, String, Option<String>)) -> EndpointPort {
    EndpointPort { name: Some(name).filter(|name| !name.is_empty()), port, protocol: Some(protocol), app_protocol }
}

/// An empty list is not written, as Kubernetes does not.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
