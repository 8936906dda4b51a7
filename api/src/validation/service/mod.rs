//! Services.

mod addresses;
mod balancer;

use k8s_openapi::api::core::v1::{ClientIPConfig, Service, ServicePort, ServiceSpec};

pub use addresses::service_addresses;

use super::meta::{self, Naming};
use super::rules::{
    between, named, one_of, one_of_if_set, port, port_or_name, required, required_one_of, text, unique,
};
use super::{Validate, ip, labels};
use crate::field::{Errors, Path};
use crate::names;

impl Validate for Service {
    fn validate(&self, errors: &mut Errors) {
        create(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update(self, old, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        balancer::status(self, errors);
    }
}

const SPEC: Path<'static> = Path::new("spec");
const HEADLESS: &str = "None";
const POLICIES: [&str; 2] = ["Cluster", "Local"];
/// A day, in seconds.
const AFFINITY_SECONDS_MAX: i64 = 86_400;
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

pub(super) fn create(service: &Service, errors: &mut Errors) {
    meta::create(&service.metadata, Naming { name: names::dns_label, namespaced: true }, errors);
    spec(service, &[], errors);
}

pub(super) fn update(new: &Service, old: &Service, errors: &mut Errors) {
    let default = ServiceSpec::default();
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    addresses::update(new_spec, old_spec, errors);
    balancer::update(new_spec, old_spec, errors);
    spec(new, old_spec.external_ips.as_deref().unwrap_or_default(), errors);
}

/// The rules of both; `external_ips` are those that the service has had.
fn spec(service: &Service, external_ips: &[String], errors: &mut Errors) {
    let default = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&default);
    topology(service, errors);
    let type_ = text(spec.type_.as_ref());
    let ports = spec.ports.as_deref().unwrap_or_default();
    let headless = addresses::is_headless(spec);
    if ports.is_empty() && !headless && type_ != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    match type_ {
        "LoadBalancer" | "NodePort" if headless => {
            let rule = format!("may not be set to 'None' for {type_} services");
            errors.invalid(&SPEC.child("clusterIPs").index(0), HEADLESS, &rule);
        }
        "ExternalName" => external_name(spec, errors),
        _ => {}
    }
    all_ports(ports, type_, errors);
    labels::labels(spec.selector.as_ref(), &SPEC.child("selector"), errors);
    let affinities = ["ClientIP", "None"];
    required_one_of(text(spec.session_affinity.as_ref()), &affinities, &SPEC.child("sessionAffinity"), errors);
    affinity(spec, errors);
    addresses::addresses(spec, errors);
    let list = SPEC.child("externalIPs");
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        let path = list.index(i);
        let before = errors.len();
        if !external_ips.contains(ip) {
            ip::endpoint(ip, &path, errors);
        }
        if errors.len() == before && ip::is_loopback(ip) {
            errors.invalid(&path, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        }
    }
    required_one_of(type_, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &SPEC.child("type"), errors);
    balancer::balancer(service, spec, errors);
    traffic(spec, type_, errors);
}

/// The older annotation says what the newer says, or nothing.
fn topology(service: &Service, errors: &mut Errors) {
    let said = |key: &str| service.metadata.annotations.as_ref().and_then(|all| all.get(key));
    if let (Some(mode), Some(hints)) = (said(TOPOLOGY_MODE), said(TOPOLOGY_HINTS))
        && mode != hints
    {
        let rule = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        let metadata = Path::new("metadata");
        errors.invalid(&metadata.child("annotations").key(TOPOLOGY_MODE), mode, &rule);
    }
}

fn external_name(spec: &ServiceSpec, errors: &mut Errors) {
    addresses::none(spec, errors);
    let name = text(spec.external_name.as_ref());
    named(name.strip_suffix('.').unwrap_or(name), names::dns_subdomain, &SPEC.child("externalName"), errors);
}

fn all_ports(ports: &[ServicePort], type_: &str, errors: &mut Errors) {
    let list = SPEC.child("ports");
    for (i, service_port) in ports.iter().enumerate() {
        let path = list.index(i);
        one_port(service_port, ports.len() > 1, &path, errors);
        if type_ == "ClusterIP" && service_port.node_port.is_some_and(|port| port != 0) {
            errors.forbidden(&path.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    unique(ports, |p| p.name.clone().filter(|n| !n.is_empty()), &list, Some("name"), errors);
    let node_port = |p: &ServicePort| p.node_port.filter(|n| *n != 0).map(|n| (p.protocol.clone(), n));
    unique(ports, node_port, &list, Some("nodePort"), errors);
    unique(ports, |p| Some((p.protocol.clone(), p.port)), &list, None, errors);
}

fn one_port(service_port: &ServicePort, named: bool, path: &Path<'_>, errors: &mut Errors) {
    match text(service_port.name.as_ref()) {
        "" if named => errors.required(&path.child("name"), ""),
        "" => {}
        name => errors.invalid_each(&path.child("name"), name, names::dns_label(name)),
    }
    port(service_port.port, &path.child("port"), errors);
    let protocol = text(service_port.protocol.as_ref());
    required_one_of(protocol, &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
    if let Some(target) = &service_port.target_port {
        port_or_name(target, &path.child("targetPort"), errors);
    }
    if let Some(protocol) = &service_port.app_protocol {
        errors.invalid_each(&path.child("appProtocol"), protocol, names::qualified(protocol));
    }
}

fn affinity(spec: &ServiceSpec, errors: &mut Errors) {
    let config = spec.session_affinity_config.as_ref();
    let path = SPEC.child("sessionAffinityConfig");
    let rule = "when session affinity type is ClientIP";
    match (spec.session_affinity.as_deref(), config.map(|config| config.client_ip.as_ref())) {
        (Some("ClientIP"), None) => errors.required(&path, rule),
        (Some("ClientIP"), Some(client_ip)) => {
            let path = path.child("clientIP");
            match client_ip {
                None => errors.required(&path, rule),
                Some(ClientIPConfig { timeout_seconds: None }) => errors.required(&path.child("timeoutSeconds"), rule),
                Some(ClientIPConfig { timeout_seconds: Some(seconds) }) => {
                    between(*seconds, 1, AFFINITY_SECONDS_MAX, &path.child("timeoutSeconds"), errors);
                }
            }
        }
        (Some("None"), Some(_)) => errors.forbidden(&path, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn traffic(spec: &ServiceSpec, type_: &str, errors: &mut Errors) {
    let external = matches!(type_, "NodePort" | "LoadBalancer")
        || (type_ == "ClusterIP" && spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()));
    let path = SPEC.child("externalTrafficPolicy");
    match text(spec.external_traffic_policy.as_ref()) {
        "" if external => errors.required(&path, ""),
        "" => {}
        policy if !external => errors.invalid(&path, policy, "may only be set for externally-accessible services"),
        policy => one_of(policy, &POLICIES, &path, errors),
    }
    health(spec, errors);
    let path = SPEC.child("internalTrafficPolicy");
    match spec.internal_traffic_policy.as_deref() {
        None if matches!(type_, "NodePort" | "LoadBalancer" | "ClusterIP") => required("", &path, errors),
        None => {}
        Some(policy) => one_of(policy, &POLICIES, &path, errors),
    }
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    one_of_if_set(spec.traffic_distribution.as_ref(), &distributions, &SPEC.child("trafficDistribution"), errors);
}

/// The port for health checks is one that was given: validation may be asked before.
fn health(spec: &ServiceSpec, errors: &mut Errors) {
    let path = SPEC.child("healthCheckNodePort");
    match spec.health_check_node_port.unwrap_or(0) {
        0 => {}
        health if balancer::is_asked_for_health(spec) => port(health, &path, errors),
        health => {
            let rule = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(&path, &health, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use crate::validation::tests::{refused, refused_status, refused_update};

    fn service(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"s","namespace":"n"}},"spec":{spec}}}"#)
    }

    #[test]
    fn services_are_held_to_their_rules() {
        for (spec, expected) in [
            (r#"{"ports":[{"port":80}],"selector":{"app":"x"}}"#, &[][..]),
            (r#"{"clusterIP":"None"}"#, &[]),
            (r#"{"ports":[]}"#, &["spec.ports Required"]),
            (r#"{"ports":[{"port":0}]}"#, &["spec.ports[0].port Invalid", "spec.ports[0].targetPort Invalid"]),
            (r#"{"ports":[{"port":80},{"port":81}]}"#, &["spec.ports[0].name Required", "spec.ports[1].name Required"]),
            (
                r#"{"ports":[{"name":"a","port":80},{"name":"a","port":80}]}"#,
                &["spec.ports[1].name Duplicate", "spec.ports[1] Duplicate"],
            ),
            (r#"{"ports":[{"port":80}],"type":"Odd"}"#, &["spec.type NotSupported"]),
            (r#"{"ports":[{"port":80}],"clusterIP":"300.1.1.1"}"#, &["spec.clusterIPs[0] Invalid"]),
            (r#"{"ports":[{"port":80}],"sessionAffinity":"Sticky"}"#, &["spec.sessionAffinity NotSupported"]),
            (r#"{"ports":[{"port":80,"targetPort":"Bad_Name"}]}"#, &["spec.ports[0].targetPort Invalid"]),
            (r#"{"ports":[{"port":80,"nodePort":30000}]}"#, &["spec.ports[0].nodePort Forbidden"]),
            (r#"{"type":"ExternalName"}"#, &["spec.externalName Required"]),
            (r#"{"ports":[{"port":80}],"externalTrafficPolicy":"Local"}"#, &["spec.externalTrafficPolicy Invalid"]),
            (r#"{"ports":[{"port":80}],"type":"LoadBalancer","clusterIP":"None"}"#, &["spec.clusterIPs[0] Invalid"]),
            (r#"{"ports":[{"port":80}],"clusterIP":"1.1.1.1","clusterIPs":["1.1.1.2"]}"#, &["spec.clusterIPs Invalid"]),
            (
                r#"{"ports":[{"port":80}],"clusterIP":"None","clusterIPs":["None","1.1.1.2"]}"#,
                &["spec.clusterIPs Invalid"],
            ),
            (r#"{"ports":[{"port":80}],"clusterIP":"1.1.1.1","ipFamilies":["IPv6"]}"#, &["spec.clusterIPs[0] Invalid"]),
            (r#"{"ports":[{"port":80}],"ipFamilies":["IPv4","IPv4"]}"#, &["spec.ipFamilies[1] Duplicate"]),
            (r#"{"ports":[{"port":80,"appProtocol":""}]}"#, &["spec.ports[0].appProtocol Invalid"; 2]),
            (r#"{"ports":[{"port":10250}],"type":"LoadBalancer"}"#, &[]),
            (r#"{"ports":[{"port":80}],"healthCheckNodePort":30000}"#, &["spec.healthCheckNodePort Invalid"]),
            (
                r#"{"ports":[{"port":80}],"externalIPs":["0.0.0.0","127.0.0.1"]}"#,
                &["spec.externalIPs[0] Invalid", "spec.externalIPs[1] Invalid"],
            ),
            (
                r#"{"ports":[{"port":80}],"type":"LoadBalancer","loadBalancerSourceRanges":["10.0.0.1/8"," 10.0.0.0/8 "]}"#,
                &["spec.LoadBalancerSourceRanges[0] Invalid"],
            ),
            (
                r#"{"ports":[{"port":80}],"loadBalancerSourceRanges":["x"]}"#,
                &["spec.LoadBalancerSourceRanges Forbidden", "spec.LoadBalancerSourceRanges[0] Invalid"],
            ),
            (
                r#"{"ports":[{"port":80}],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":0}}}"#,
                &["spec.sessionAffinityConfig.clientIP.timeoutSeconds Invalid"],
            ),
            (r#"{"ports":[{"port":80}],"trafficDistribution":"Odd"}"#, &["spec.trafficDistribution NotSupported"]),
        ] {
            assert_eq!(refused::<Service>(&service(spec)), expected, "{spec}");
        }
    }

    #[test]
    fn addresses_stay() {
        let at =
            |ip: &str| service(&format!(r#"{{"ports":[{{"port":80}}],"clusterIP":"{ip}","clusterIPs":["{ip}"]}}"#));
        assert_eq!(refused_update::<Service>(&at("10.0.0.1"), &at("10.0.0.2")), ["spec.clusterIPs[0] Invalid"]);
        let moved = service(r#"{"type":"ExternalName","externalName":"a.b"}"#);
        assert_eq!(refused_update::<Service>(&at("10.0.0.1"), &moved), [""; 0]);
    }

    #[test]
    fn balancers_tell_where_they_are() {
        let with = |type_: &str, ingress: &str| {
            let meta = r#""metadata":{"name":"s","namespace":"n"}"#;
            format!(r#"{{{meta},"spec":{{"type":"{type_}"}},"status":{{"loadBalancer":{{"ingress":[{ingress}]}}}}}}"#)
        };
        for (type_, ingress, expected) in [
            ("ClusterIP", r#"{"ip":"1.1.1.1"}"#, &["status.loadBalancer.ingress Forbidden"][..]),
            ("LoadBalancer", r#"{"ip":"1.1.1.1"}"#, &[]),
            (
                "LoadBalancer",
                r#"{"ip":"x","ipMode":"Odd"}"#,
                &["status.loadBalancer.ingress[0].ip Invalid", "status.loadBalancer.ingress[0].ipMode NotSupported"],
            ),
            (
                "LoadBalancer",
                r#"{"hostname":"1.1.1.1","ipMode":"VIP"}"#,
                &["status.loadBalancer.ingress[0].ipMode Forbidden", "status.loadBalancer.ingress[0].hostname Invalid"],
            ),
        ] {
            let service = with(type_, ingress);
            assert_eq!(refused_status::<Service>(&service, &service), expected, "{ingress}");
        }
    }
}
