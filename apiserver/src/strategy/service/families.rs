//! The address families of a service. The cluster has one: IPv4.

use k8s_openapi::api::core::v1::ServiceSpec;

use super::has_cluster_ip;

const IPV4: &str = "IPv4";

/// Fills in what a service with an address says of families. Source: upstream's `initIPFamilyFields`.
pub(super) fn complete(spec: &mut ServiceSpec) {
    if !has_cluster_ip(spec) {
        return;
    }
    if spec.ip_family_policy.as_ref().is_none_or(String::is_empty) {
        spec.ip_family_policy = Some("SingleStack".to_owned());
    }
    if spec.ip_families.as_ref().is_none_or(Vec::is_empty) {
        spec.ip_families = Some(vec![IPV4.to_owned()]);
    }
}
