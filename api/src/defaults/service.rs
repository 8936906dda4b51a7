//! The defaults of services.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Defaults, set, set_text};

impl Defaults for core::Service {
    fn set_defaults(&mut self) {
        service(self);
    }
}

/// How long a client stays with a pod: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

/// A service of type `ClusterIP` whose ports are TCP and lead to the same port of the pods.
fn service(service: &mut core::Service) {
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
                r#"{"internalTrafficPolicy":"Cluster","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"None","type":"ClusterIP"}"#,
            ),
            (
                r#"{"type":"ExternalName","externalName":"a.b"}"#,
                r#"{"externalName":"a.b","sessionAffinity":"None","type":"ExternalName"}"#,
            ),
            (
                r#"{"clusterIP":"None","selector":{"a":"b"}}"#,
                r#"{"clusterIP":"None","internalTrafficPolicy":"Cluster","selector":{"a":"b"},"sessionAffinity":"None","type":"ClusterIP"}"#,
            ),
            (
                r#"{"type":"LoadBalancer","sessionAffinity":"ClientIP"}"#,
                r#"{"allocateLoadBalancerNodePorts":true,"externalTrafficPolicy":"Cluster","internalTrafficPolicy":"Cluster","sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"type":"LoadBalancer"}"#,
            ),
        ] {
            let mut object = core::Service::decode(format!(r#"{{"spec":{given}}}"#).as_bytes()).unwrap();
            service(&mut object);
            let json = format!(
                r#"{{"apiVersion":"v1","kind":"Service","metadata":{{}},"spec":{expected},"status":{{"loadBalancer":{{}}}}}}"#
            );
            assert_eq!(String::from_utf8(object.encode().to_vec()).unwrap(), json);
        }
    }
}
