//! What a service asks of a load balancer, and what the balancer says of itself.

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceSpec};

use super::SPEC;
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::ip;
use crate::validation::rules::{one_of, text};

const ALONE: &str = "may only be used when `type` is 'LoadBalancer'";
const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

pub(super) fn is_balanced(spec: &ServiceSpec) -> bool {
    text(spec.type_.as_ref()) == "LoadBalancer"
}

/// Whether a load balancer asks the nodes for the service's health.
pub(super) fn is_asked_for_health(spec: &ServiceSpec) -> bool {
    is_balanced(spec) && spec.external_traffic_policy.as_deref() == Some("Local")
}

pub(super) fn balancer(service: &Service, spec: &ServiceSpec, errors: &mut Errors) {
    source_ranges(service, spec, errors);
    match spec.allocate_load_balancer_node_ports {
        None if is_balanced(spec) => errors.required(&Path::new("allocateLoadBalancerNodePorts"), ""),
        Some(_) if !is_balanced(spec) => errors.forbidden(&SPEC.child("allocateLoadBalancerNodePorts"), ALONE),
        _ => {}
    }
    let path = SPEC.child("loadBalancerClass");
    match &spec.load_balancer_class {
        Some(class) if is_balanced(spec) => errors.invalid_each(&path, class, names::qualified(class)),
        Some(_) => errors.forbidden(&path, ALONE),
        None => {}
    }
}

/// Kubernetes writes this path with a capital letter. An annotation may say the same.
fn source_ranges(service: &Service, spec: &ServiceSpec, errors: &mut Errors) {
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    if !ranges.is_empty() {
        let list = SPEC.child("LoadBalancerSourceRanges");
        if !is_balanced(spec) {
            errors.forbidden(&list, ALONE);
        }
        for (i, range) in ranges.iter().enumerate() {
            ip::cidr(range.trim(), &list.index(i), errors);
        }
    } else if let Some(noted) = service.metadata.annotations.as_ref().and_then(|all| all.get(RANGES)) {
        let metadata = Path::new("metadata");
        let annotations = metadata.child("annotations");
        let path = annotations.key(RANGES);
        if !is_balanced(spec) {
            errors.forbidden(&path, ALONE);
        }
        for range in noted.trim().split(',').filter(|_| !noted.trim().is_empty()) {
            ip::cidr(range.trim(), &path, errors);
        }
    }
}

pub(super) fn update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    if is_balanced(new) && is_balanced(old) && new.load_balancer_class != old.load_balancer_class {
        errors.invalid(&SPEC.child("loadBalancerClass"), &new.load_balancer_class, "may not change once set");
    }
    if is_asked_for_health(new)
        && is_asked_for_health(old)
        && new.health_check_node_port.unwrap_or(0) != old.health_check_node_port.unwrap_or(0)
    {
        errors.forbidden(&SPEC.child("healthCheckNodePort"), "field is immutable");
    }
}

pub(super) fn status(service: &Service, errors: &mut Errors) {
    let path = Path::new("status");
    let path = path.child("loadBalancer");
    let list = path.child("ingress");
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingresses = balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default();
    if !ingresses.is_empty() && !service.spec.as_ref().is_some_and(is_balanced) {
        return errors.forbidden(&list, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (i, ingress) in ingresses.iter().enumerate() {
        one_ingress(ingress, &list.index(i), errors);
    }
}

fn one_ingress(ingress: &LoadBalancerIngress, path: &Path<'_>, errors: &mut Errors) {
    let address = text(ingress.ip.as_ref());
    if !address.is_empty() {
        ip::address(address, &path.child("ip"), errors);
    }
    match &ingress.ip_mode {
        None if !address.is_empty() => errors.required(&path.child("ipMode"), "must be specified when `ip` is set"),
        Some(_) if address.is_empty() => {
            errors.forbidden(&path.child("ipMode"), "may not be specified when `ip` is not set");
        }
        Some(mode) => one_of(mode, &["Proxy", "VIP"], &path.child("ipMode"), errors),
        None => {}
    }
    let hostname = text(ingress.hostname.as_ref());
    if !hostname.is_empty() {
        errors.invalid_each(&path.child("hostname"), hostname, names::dns_subdomain(hostname));
        if ip::is_address(hostname) {
            errors.invalid(&path.child("hostname"), hostname, "must be a DNS name, not an IP address");
        }
    }
}
