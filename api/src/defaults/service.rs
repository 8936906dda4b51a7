//! The defaults of services.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{set, set_text};

/// How long a client stays with a pod: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

/// A service of type `ClusterIP` whose ports are TCP and lead to the same port of the pods.
pub fn service(service: &mut core::Service) {
    let spec = service.spec.get_or_insert_default();
    set_text(&mut spec.session_affinity, "None");
    set_text(&mut spec.type_, "ClusterIP");
    if spec.session_affinity.as_deref() == Some("None") {
        spec.session_affinity_config = None;
    } else if spec.session_affinity.as_deref() == Some("ClientIP") {
        let client = spec.session_affinity_config.get_or_insert_default().client_ip.get_or_insert_default();
        set(&mut client.timeout_seconds, AFFINITY_SECONDS);
    }
    spec.ports.iter_mut().flatten().for_each(port);
    let type_ = spec.type_.as_deref().unwrap_or_default();
    let external_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    if matches!(type_, "NodePort" | "LoadBalancer") || (type_ == "ClusterIP" && external_ips) {
        set_text(&mut spec.external_traffic_policy, "Cluster");
    }
    if matches!(type_, "NodePort" | "LoadBalancer" | "ClusterIP") {
        set(&mut spec.internal_traffic_policy, "Cluster".to_owned());
    }
    if type_ == "LoadBalancer" {
        set(&mut spec.allocate_load_balancer_node_ports, true);
        let balancer = service.status.as_mut().and_then(|s| s.load_balancer.as_mut());
        for ingress in balancer.into_iter().flat_map(|b| b.ingress.iter_mut().flatten()) {
            if ingress.ip.as_ref().is_some_and(|ip| !ip.is_empty()) {
                set(&mut ingress.ip_mode, "VIP".to_owned());
            }
        }
    }
}

fn port(port: &mut core::ServicePort) {
    set_text(&mut port.protocol, "TCP");
    let unset = match &port.target_port {
        None => true,
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(name)) => name.is_empty(),
    };
    if unset {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

/// The address families of a service in a cluster of IPv4 alone, and the first of `clusterIPs` beside `clusterIP`.
///
/// Source: `alloc.initIPFamilyFields` and `normalizeClusterIPs` of the service registry.
pub fn service_families(spec: &mut core::ServiceSpec) {
    if spec.type_.as_deref() == Some("ExternalName") {
        return;
    }
    match (spec.cluster_ip.as_ref().filter(|ip| !ip.is_empty()), &mut spec.cluster_ips) {
        (Some(ip), ips @ None) => *ips = Some(vec![ip.clone()]),
        (None, Some(ips)) => spec.cluster_ip = ips.first().cloned(),
        _ => {}
    }
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let selects = spec.selector.as_ref().is_some_and(|s| !s.is_empty());
    if headless && !selects && spec.ip_family_policy.is_none() && spec.ip_families.is_none() {
        // Whoever makes the endpoints may use either family.
        spec.ip_family_policy = Some("RequireDualStack".to_owned());
        spec.ip_families = Some(vec!["IPv4".to_owned(), "IPv6".to_owned()]);
        return;
    }
    set(&mut spec.ip_family_policy, "SingleStack".to_owned());
    if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
        spec.ip_families = Some(vec!["IPv4".to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::object::Object;

    #[test]
    fn services_have_what_kubernetes_gives_them() {
        for (given, expected) in [
            (
                r#"{"ports":[{"port":80}]}"#,
                r#"{"internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","type":"ClusterIP"}"#,
            ),
            (
                r#"{"type":"ExternalName","externalName":"a.b"}"#,
                r#"{"externalName":"a.b","sessionAffinity":"None","type":"ExternalName"}"#,
            ),
            (
                r#"{"clusterIP":"None","selector":{"a":"b"}}"#,
                r#"{"clusterIP":"None","clusterIPs":["None"],"internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","selector":{"a":"b"},"sessionAffinity":"None","type":"ClusterIP"}"#,
            ),
            (
                r#"{"type":"LoadBalancer","sessionAffinity":"ClientIP"}"#,
                r#"{"allocateLoadBalancerNodePorts":true,"externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"type":"LoadBalancer"}"#,
            ),
        ] {
            let mut object = core::Service::decode(format!(r#"{{"spec":{given}}}"#).as_bytes()).unwrap();
            service(&mut object);
            service_families(object.spec.as_mut().unwrap());
            let json = format!(
                r#"{{"apiVersion":"v1","kind":"Service","metadata":{{}},"spec":{expected},"status":{{"loadBalancer":{{}}}}}}"#
            );
            assert_eq!(String::from_utf8(object.encode().to_vec()).unwrap(), json);
        }
    }
}
