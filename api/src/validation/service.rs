//! Services.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::meta::{self, Naming};
use super::rules::{
    IMMUTABLE, between, immutable, named, named_if_set, one_of, one_of_if_set, port, port_or_name, required,
    required_one_of, text, unique,
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
        status(self, errors);
    }
}

const SPEC: Path<'static> = Path::new("spec");
const HEADLESS: &str = "None";
const POLICIES: [&str; 2] = ["Cluster", "Local"];
/// A day, in seconds.
const AFFINITY_SECONDS_MAX: i64 = 86_400;

pub(super) fn create(service: &Service, errors: &mut Errors) {
    meta::create(&service.metadata, Naming { name: names::dns_1035_label, namespaced: true }, errors);
    let default = ServiceSpec::default();
    spec(service.spec.as_ref().unwrap_or(&default), errors);
}

fn spec(spec: &ServiceSpec, errors: &mut Errors) {
    let type_ = text(spec.type_.as_ref());
    let ports = spec.ports.as_deref().unwrap_or_default();
    let headless = cluster_ips(spec).first().is_some_and(|ip| *ip == HEADLESS);
    if ports.is_empty() && !headless && type_ != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    match type_ {
        "LoadBalancer" if headless => {
            let rule = "may not be set to 'None' for LoadBalancer services";
            errors.invalid(&SPEC.child("clusterIPs").index(0), HEADLESS, rule);
        }
        "NodePort" if headless => {
            let rule = "may not be set to 'None' for NodePort services";
            errors.invalid(&SPEC.child("clusterIPs").index(0), HEADLESS, rule);
        }
        "ExternalName" => external_name(spec, errors),
        _ => {}
    }
    all_ports(ports, type_, headless, errors);
    labels::labels(spec.selector.as_ref(), &SPEC.child("selector"), errors);
    required_one_of(
        text(spec.session_affinity.as_ref()),
        &["ClientIP", "None"],
        &SPEC.child("sessionAffinity"),
        errors,
    );
    affinity(spec, errors);
    addresses(spec, type_, errors);
    required_one_of(type_, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &SPEC.child("type"), errors);
    traffic(spec, type_, errors);
}

fn external_name(spec: &ServiceSpec, errors: &mut Errors) {
    if !cluster_ips(spec).is_empty() {
        errors.forbidden(&SPEC.child("clusterIPs"), "may not be set for ExternalName services");
    }
    if spec.ip_families.as_ref().is_some_and(|f| !f.is_empty()) {
        errors.forbidden(&SPEC.child("ipFamilies"), "may not be set for ExternalName services");
    }
    if spec.ip_family_policy.is_some() {
        errors.forbidden(&SPEC.child("ipFamilyPolicy"), "may not be set for ExternalName services");
    }
    named(
        text(spec.external_name.as_ref()).trim_end_matches('.'),
        names::dns_subdomain,
        &SPEC.child("externalName"),
        errors,
    );
}

fn all_ports(ports: &[ServicePort], type_: &str, headless: bool, errors: &mut Errors) {
    let list = SPEC.child("ports");
    for (i, service_port) in ports.iter().enumerate() {
        let path = list.index(i);
        one_port(service_port, ports.len() > 1, headless, &path, errors);
        let node_port = service_port.node_port.unwrap_or(0);
        if type_ == "ClusterIP" && node_port != 0 {
            errors.forbidden(&path.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    unique(ports, |p| p.name.clone().filter(|n| !n.is_empty()), &list, Some("name"), errors);
    unique(
        ports,
        |p| p.node_port.filter(|n| *n != 0).map(|n| (p.protocol.clone(), n)),
        &list,
        Some("nodePort"),
        errors,
    );
    unique(ports, |p| Some((p.protocol.clone(), p.port)), &list, None, errors);
}

fn one_port(service_port: &ServicePort, named: bool, headless: bool, path: &Path<'_>, errors: &mut Errors) {
    match text(service_port.name.as_ref()) {
        "" if named => errors.required(&path.child("name"), ""),
        "" => {}
        name => errors.invalid_each(&path.child("name"), name, names::dns_label(name)),
    }
    port(service_port.port, &path.child("port"), errors);
    let protocol = text(service_port.protocol.as_ref());
    required_one_of(protocol, &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
    if let Some(target) = &service_port.target_port
        && (!headless || matches!(target, k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(_)))
    {
        port_or_name(target, &path.child("targetPort"), errors);
    }
    named_if_set(service_port.app_protocol.as_ref(), names::qualified, &path.child("appProtocol"), errors);
}

fn affinity(spec: &ServiceSpec, errors: &mut Errors) {
    let config = spec.session_affinity_config.as_ref();
    let path = SPEC.child("sessionAffinityConfig");
    match spec.session_affinity.as_deref() {
        Some("ClientIP") => {
            let client_ip = path.child("clientIP");
            match config.and_then(|c| c.client_ip.as_ref()).and_then(|c| c.timeout_seconds) {
                Some(seconds) => between(seconds, 1, AFFINITY_SECONDS_MAX, &client_ip.child("timeoutSeconds"), errors),
                None => errors.required(&path, "when session affinity type is ClientIP"),
            }
        }
        _ if config.is_some() => errors.forbidden(&path, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<&str> {
    let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
    let alone = spec.cluster_ip.as_deref().filter(|_| spec.cluster_ips.is_none());
    listed.chain(alone).filter(|ip| !ip.is_empty()).collect()
}

fn addresses(spec: &ServiceSpec, type_: &str, errors: &mut Errors) {
    if type_ != "ExternalName" {
        let list = SPEC.child("clusterIPs");
        let ips = cluster_ips(spec);
        if ips.len() > 2 {
            errors.invalid(&list, &ips, "may only hold up to 2 values");
        }
        for (i, ip) in ips.iter().enumerate() {
            if *ip != HEADLESS || i > 0 {
                ip::address(ip, &list.index(i), errors);
            }
        }
        let list = SPEC.child("ipFamilies");
        let families = spec.ip_families.as_deref().unwrap_or_default();
        for (i, family) in families.iter().enumerate() {
            one_of(family, &["IPv4", "IPv6"], &list.index(i), errors);
        }
        unique(families, |f| Some(f.clone()), &list, None, errors);
        let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        one_of_if_set(spec.ip_family_policy.as_ref(), &policies, &SPEC.child("ipFamilyPolicy"), errors);
    }
    let list = SPEC.child("externalIPs");
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        ip::endpoint(ip, &list.index(i), errors);
    }
    let list = SPEC.child("loadBalancerSourceRanges");
    for (i, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        if type_ == "LoadBalancer" {
            ip::cidr(range.trim(), &list.index(i), errors);
        } else {
            errors.forbidden(&list, "may only be used when `type` is 'LoadBalancer'");
        }
    }
}

fn traffic(spec: &ServiceSpec, type_: &str, errors: &mut Errors) {
    let external = matches!(type_, "NodePort" | "LoadBalancer")
        || (type_ == "ClusterIP" && spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()));
    let path = SPEC.child("externalTrafficPolicy");
    match text(spec.external_traffic_policy.as_ref()) {
        "" if external => errors.required(&path, "when Type is NodePort or LoadBalancer"),
        "" => {}
        policy if !external => errors.invalid(&path, policy, "may only be set for externally-accessible services"),
        policy => one_of(policy, &POLICIES, &path, errors),
    }
    one_of_if_set(spec.internal_traffic_policy.as_ref(), &POLICIES, &SPEC.child("internalTrafficPolicy"), errors);
    let health = spec.health_check_node_port.unwrap_or(0);
    if health < 0 {
        errors.invalid(&SPEC.child("healthCheckNodePort"), &health, super::rules::NOT_NEGATIVE);
    }
    if type_ == "LoadBalancer" && spec.allocate_load_balancer_node_ports.is_none() {
        required("", &SPEC.child("allocateLoadBalancerNodePorts"), errors);
    }
    if type_ != "LoadBalancer" && spec.allocate_load_balancer_node_ports.is_some() {
        errors
            .forbidden(&SPEC.child("allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'");
    }
    if type_ != "LoadBalancer" && spec.load_balancer_class.is_some() {
        errors.forbidden(&SPEC.child("loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'");
    }
    named_if_set(spec.load_balancer_class.as_ref(), names::qualified, &SPEC.child("loadBalancerClass"), errors);
    let distributions = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    one_of_if_set(spec.traffic_distribution.as_ref(), &distributions, &SPEC.child("trafficDistribution"), errors);
}

pub(super) fn update(new: &Service, old: &Service, errors: &mut Errors) {
    let default = ServiceSpec::default();
    let (new, old) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    let external = |s: &ServiceSpec| text(s.type_.as_ref()) == "ExternalName";
    if !external(new) && !external(old) {
        if let (Some(before), Some(after)) = (cluster_ips(old).first(), cluster_ips(new).first())
            && before != after
        {
            errors.invalid(&SPEC.child("clusterIPs").index(0), after, IMMUTABLE);
        }
        let primary = |s: &ServiceSpec| s.ip_families.as_ref().and_then(|f| f.first().cloned());
        if primary(old).is_some() && primary(new).is_some() {
            immutable(&primary(new), &primary(old), &SPEC.child("ipFamilies").index(0), errors);
        }
    }
    if [new, old].iter().all(|s| text(s.type_.as_ref()) == "LoadBalancer")
        && new.load_balancer_class != old.load_balancer_class
    {
        errors.invalid(&SPEC.child("loadBalancerClass"), &new.load_balancer_class, "may not change once set");
    }
    spec(new, errors);
}

pub(super) fn status(service: &Service, errors: &mut Errors) {
    let path = Path::new("status");
    let path = path.child("loadBalancer");
    let list = path.child("ingress");
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    for (i, ingress) in balancer.iter().flat_map(|b| b.ingress.iter().flatten()).enumerate() {
        let path = list.index(i);
        if let Some(ip) = ingress.ip.as_ref().filter(|ip| !ip.is_empty()) {
            ip::address(ip, &path.child("ip"), errors);
        }
        one_of_if_set(ingress.ip_mode.as_ref(), &["Proxy", "VIP"], &path.child("ipMode"), errors);
        named_if_set(ingress.hostname.as_ref(), names::dns_subdomain, &path.child("hostname"), errors);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use crate::validation::tests::{refused, refused_update};

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
}
