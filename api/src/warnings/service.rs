//! What is said of services. Source: `pkg/api/service/warnings.go`.

use k8s_openapi::api::core::v1::Service;

use super::settings::{cidr, ip};
use crate::field::Path;

const SPEC: Path<'static> = Path::new("spec");
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";

pub(super) fn service(service: &Service, warnings: &mut Vec<String>) {
    let Some(spec) = &service.spec else { return };
    if service.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(HINTS)) {
        warnings.push(format!("annotation {HINTS} is deprecated, please use {MODE} instead"));
    }
    let type_ = spec.type_.as_deref().unwrap_or_default();
    let headless = type_ == "ClusterIP" && spec.cluster_ip.as_deref() == Some("None");
    let external = spec.external_ips.as_deref().unwrap_or_default();
    let balanced = spec.load_balancer_ip.as_deref().unwrap_or_default();
    let list = SPEC.child("clusterIPs");
    for (i, address) in spec.cluster_ips.iter().flatten().enumerate() {
        ip(address, &list.index(i), warnings);
    }
    let mut tell = |is_so: bool, what: &str| {
        if is_so {
            warnings.push(what.to_owned());
        }
    };
    if headless {
        tell(!balanced.is_empty(), "spec.loadBalancerIP is ignored for headless services");
        tell(!external.is_empty(), "spec.externalIPs is ignored for headless services");
        let sticks = spec.session_affinity.as_deref() != Some("None");
        tell(sticks, "spec.SessionAffinity is ignored for headless services");
    }
    let is_name = type_ == "ExternalName";
    let may_lack = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
    tell(!external.is_empty() && !headless && !is_name, may_lack);
    tell(!external.is_empty() && is_name, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    let named = spec.external_name.as_ref().is_some_and(|name| !name.is_empty());
    tell(named && !is_name, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    let close = spec.traffic_distribution.as_deref() == Some("PreferClose");
    tell(close, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    let list = SPEC.child("externalIPs");
    for (i, address) in external.iter().enumerate() {
        ip(address, &list.index(i), warnings);
    }
    ip(balanced, &SPEC.child("loadBalancerIP"), warnings);
    let list = SPEC.child("loadBalancerSourceRanges");
    for (i, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        cidr(range, &list.index(i), warnings);
    }
}
