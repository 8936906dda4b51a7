//! What listens where, and who is behind it: from a service and its endpoint slices. Pure.
//! Source: kube-proxy's `ServiceChangeTracker` and `EndpointsChangeTracker`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// TCP or UDP; there is no SCTP here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// An address that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub address: SocketAddr,
    pub protocol: Protocol,
}

/// A place and the endpoints behind it, of which there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Front {
    pub place: Place,
    /// In order, each once.
    pub backends: Vec<SocketAddr>,
    /// How long a client stays with its endpoint.
    pub affinity: Option<Duration>,
}

/// Source: `DefaultClientIPServiceAffinitySeconds`.
const AFFINITY_DEFAULT: Duration = Duration::from_secs(10_800);

/// Everything that a service should listen on.
pub fn fronts(service: &Service, slices: &[&EndpointSlice], node_port_address: IpAddr) -> Vec<Front> {
    let Some(spec) = &service.spec else { return Vec::new() };
    if spec.type_.as_deref() == Some("ExternalName") || service.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let affinity = affinity(spec);
    let mut fronts = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Some(protocol) = protocol(port.protocol.as_deref()) else { continue };
        let backends = backends(port, protocol, slices);
        if backends.is_empty() {
            continue;
        }
        for address in addresses(spec, port, node_port_address) {
            fronts.push(Front { place: Place { address, protocol }, backends: backends.clone(), affinity });
        }
    }
    fronts
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Some(seconds.map_or(AFFINITY_DEFAULT, Duration::from_secs))
}

fn protocol(written: Option<&str>) -> Option<Protocol> {
    match written {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

/// The cluster IPs with the port, and the node port.
fn addresses(spec: &ServiceSpec, port: &ServicePort, node_port_address: IpAddr) -> Vec<SocketAddr> {
    let ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let ips = ips.filter_map(|ip| ip.parse::<IpAddr>().ok()).filter(IpAddr::is_loopback);
    let cluster = ips.zip(std::iter::repeat(u16::try_from(port.port).unwrap_or(0)));
    let node = port.node_port.and_then(|port| u16::try_from(port).ok()).map(|port| (node_port_address, port));
    let mut all: Vec<SocketAddr> = cluster.chain(node).filter(|(_, port)| *port != 0).map(SocketAddr::from).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The ready endpoints of a port; those that end but still serve, when there is no ready one.
fn backends(port: &ServicePort, protocol: Protocol, slices: &[&EndpointSlice]) -> Vec<SocketAddr> {
    let mut ready = Vec::new();
    let mut ending = Vec::new();
    for slice in slices {
        let same = |name: &Option<String>| name.as_deref().unwrap_or("") == port.name.as_deref().unwrap_or("");
        let mut ports = slice.ports.iter().flatten();
        let target =
            ports.find(|target| same(&target.name) && self::protocol(target.protocol.as_deref()) == Some(protocol));
        let Some(target) = target.and_then(|target| u16::try_from(target.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let to = if is_ready(endpoint) { &mut ready } else { &mut ending };
            if is_ready(endpoint) || is_ending(endpoint) {
                let ips = endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
                to.extend(ips.map(|ip| SocketAddr::new(ip, target)));
            }
        }
    }
    let mut backends = if ready.is_empty() { ending } else { ready };
    backends.sort_unstable();
    backends.dedup();
    backends
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn is_ending(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.is_some_and(|conditions| conditions.serving == Some(true) && conditions.terminating == Some(true))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;
    use expect_test::{Expect, expect};

    fn check(service: &str, slices: &[&str], want: &Expect) {
        let service = format!(r#"{{"metadata":{{"name":"s"}},"spec":{service}}}"#);
        let service = Service::decode(service.as_bytes()).unwrap();
        let slices: Vec<EndpointSlice> =
            slices.iter().map(|slice| EndpointSlice::decode(slice.as_bytes()).unwrap()).collect();
        let slices: Vec<&EndpointSlice> = slices.iter().collect();
        let lines: Vec<String> = fronts(&service, &slices, IpAddr::from([127, 0, 0, 1]))
            .iter()
            .map(|front| {
                format!(
                    "{:?} {} -> {:?} {:?}",
                    front.place.protocol, front.place.address, front.backends, front.affinity
                )
            })
            .collect();
        want.assert_eq(&lines.join("\n"));
    }

    const SLICE: &str = r#"{"addressType":"IPv4","ports":[{"name":"http","port":8080,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}],
        "endpoints":[{"addresses":["127.64.0.2"],"conditions":{"ready":true}},{"addresses":["127.64.0.1"]},
        {"addresses":["127.64.0.3"],"conditions":{"ready":false}}]}"#;

    #[test]
    fn ports_meet_endpoints_by_name_and_protocol() {
        check(
            r#"{"clusterIP":"127.96.0.9","clusterIPs":["127.96.0.9"],"type":"NodePort","sessionAffinity":"ClientIP","ports":[
              {"name":"http","port":80,"nodePort":30080},{"name":"dns","port":53,"protocol":"UDP"},{"name":"other","port":1}]}"#,
            &[SLICE, SLICE],
            &expect![[r#"
                Tcp 127.0.0.1:30080 -> [127.64.0.1:8080, 127.64.0.2:8080] Some(10800s)
                Tcp 127.96.0.9:80 -> [127.64.0.1:8080, 127.64.0.2:8080] Some(10800s)
                Udp 127.96.0.9:53 -> [127.64.0.1:53, 127.64.0.2:53] Some(10800s)"#]],
        );
    }

    #[test]
    fn headless_and_foreign_services_listen_nowhere() {
        let slice =
            r#"{"addressType":"IPv4","ports":[{"name":"","port":8080}],"endpoints":[{"addresses":["127.64.0.2"]}]}"#;
        check(r#"{"clusterIP":"None","ports":[{"port":80}]}"#, &[slice], &expect![""]);
        check(r#"{"type":"ExternalName","externalName":"x","ports":[{"port":80}]}"#, &[slice], &expect![""]);
        check(r#"{"clusterIP":"10.0.0.1","ports":[{"port":80}]}"#, &[slice], &expect![""]);
        check(r#"{"clusterIP":"127.96.0.9","ports":[{"port":80}]}"#, &[], &expect![""]);
        check(
            r#"{"clusterIP":"127.96.0.9","ports":[{"port":80}]}"#,
            &[slice],
            &expect!["Tcp 127.96.0.9:80 -> [127.64.0.2:8080] None"],
        );
    }

    #[test]
    fn who_ends_still_serves_when_nobody_else_does() {
        let ending = r#"{"addressType":"IPv4","ports":[{"port":8080}],"endpoints":[
            {"addresses":["127.64.0.2"],"conditions":{"ready":false,"serving":true,"terminating":true}},
            {"addresses":["127.64.0.3"],"conditions":{"ready":false,"serving":false,"terminating":true}}]}"#;
        check(
            r#"{"clusterIP":"127.96.0.9","ports":[{"port":80}]}"#,
            &[ending],
            &expect!["Tcp 127.96.0.9:80 -> [127.64.0.2:8080] None"],
        );
    }
}
