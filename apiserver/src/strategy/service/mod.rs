//! Services: an address and ports that are theirs alone.
//!
//! Source: `pkg/registry/core/service/strategy.go`, `storage/storage.go` and `storage/alloc.go`.

mod allocator;
mod families;

pub(crate) use allocator::Allocators;

use async_trait::async_trait;
use coracle_api::any::AnyObject;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServiceSpec, ServiceStatus};

use super::{Strategy, typed, typed_mut};
use crate::api::Api;

/// The `clusterIP` of a service without an address.
const HEADLESS: &str = "None";

pub(super) struct ServiceStrategy;

#[async_trait]
impl Strategy for ServiceStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let service = typed_mut::<Service>(object);
        service.status =
            Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus::default()), ..ServiceStatus::default() });
        let spec = service.spec.get_or_insert_with(ServiceSpec::default);
        if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
            // Of the list nothing is made but this: clients that know of it say both.
            spec.cluster_ips = spec.cluster_ip.clone().filter(|ip| !ip.is_empty()).map(|ip| vec![ip]);
        }
        families::complete(spec, None);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (service, old) = (typed_mut::<Service>(object), typed::<Service>(old));
        service.status.clone_from(&old.status);
        if let (Some(spec), Some(old)) = (&mut service.spec, &old.spec) {
            keep_allocated(spec, old);
            same_addresses(spec, old);
            drop_what_the_type_has_not(spec, old);
            families::downgrade(spec, old);
            families::complete(spec, Some(old));
        }
        if service.spec.as_ref().is_none_or(|spec| type_of(spec) != "LoadBalancer") {
            service.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus::default());
        }
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<Service>(object).spec.clone_from(&typed::<Service>(old).spec);
    }

    async fn admit(&self, api: &Api, object: &mut AnyObject, dry_run: bool) -> Result<(), ApiError> {
        api.allocators.admit(api, typed_mut::<Service>(object), None, dry_run)
    }

    fn admit_update(&self, api: &Api, object: &mut AnyObject, old: &AnyObject, dry_run: bool) -> Result<(), ApiError> {
        let old = typed::<Service>(old).spec.as_ref();
        api.allocators.admit(api, typed_mut::<Service>(object), old, dry_run)
    }

    fn replaced(&self, api: &Api, gone: &AnyObject, stays: &AnyObject) {
        api.allocators.release_difference(typed::<Service>(gone), typed::<Service>(stays));
    }

    fn released(&self, api: &Api, object: &AnyObject) {
        api.allocators.release(typed::<Service>(object));
    }

    fn outlives_client(&self) -> bool {
        true
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

fn type_of(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().filter(|type_| !type_.is_empty()).unwrap_or("ClusterIP")
}

/// Whether services of the type have an address of the cluster.
fn has_cluster_ip(spec: &ServiceSpec) -> bool {
    type_of(spec) != "ExternalName"
}

fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some(HEADLESS)
}

/// Whether every port has one on the nodes too.
fn has_node_ports(spec: &ServiceSpec) -> bool {
    match type_of(spec) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports.unwrap_or(true),
        _ => false,
    }
}

/// Whether the service answers health checks of a load balancer on a port of its own.
fn has_health_check_port(spec: &ServiceSpec) -> bool {
    type_of(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// What an update does not say and was allocated stays. Source: upstream's `patchAllocatedValues`.
fn keep_allocated(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let unsaid = |ip: &Option<String>| ip.as_ref().is_none_or(String::is_empty);
    if has_cluster_ip(spec) && has_cluster_ip(old) {
        if unsaid(&spec.cluster_ip) {
            spec.cluster_ip.clone_from(&old.cluster_ip);
        }
        if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) && spec.cluster_ip == old.cluster_ip {
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    if has_node_ports(spec) && has_node_ports(old) {
        let (now, before) = (node_ports(spec), node_ports(old));
        let mut taken: Vec<i32> = before.into_iter().filter(|port| now.contains(port)).collect();
        for port in spec.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or_default() == 0) {
            let name = port.name.as_deref().unwrap_or_default();
            let same = old.ports.iter().flatten().rfind(|old| old.name.as_deref().unwrap_or_default() == name);
            port.node_port = same.and_then(|same| same.node_port).filter(|port| !taken.contains(port));
            taken.extend(port.node_port);
        }
    }
    if has_health_check_port(spec) && has_health_check_port(old) && spec.health_check_node_port.unwrap_or_default() == 0
    {
        spec.health_check_node_port = old.health_check_node_port;
    }
}

fn node_ports(spec: &ServiceSpec) -> Vec<i32> {
    spec.ports.iter().flatten().filter_map(|port| port.node_port).filter(|port| *port != 0).collect()
}

/// `clusterIP` and the first of `clusterIPs` are two names of one thing: clients of before the second change the first
/// alone. Source: upstream's `normalizeClusterIPs`.
fn same_addresses(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let one = |spec: &ServiceSpec| spec.cluster_ip.clone().filter(|ip| !ip.is_empty());
    let all = |spec: &ServiceSpec| spec.cluster_ips.clone().unwrap_or_default();
    let (now, before) = (one(spec), one(old));
    if all(spec).is_empty() && now == before {
        spec.cluster_ips.clone_from(&old.cluster_ips);
    } else if all(spec) == all(old) && now != before {
        spec.cluster_ips = now.map(|ip| vec![ip]);
    }
}

/// What a service had for its type goes when its type changes, unless the update says something new of it.
///
/// Source: upstream's `dropTypeDependentFields`.
fn drop_what_the_type_has_not(spec: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(old) && !has_cluster_ip(spec) {
        if (&spec.cluster_ip, &spec.cluster_ips) == (&old.cluster_ip, &old.cluster_ips) {
            spec.cluster_ip = None;
            spec.cluster_ips = None;
        }
        if spec.ip_families == old.ip_families {
            spec.ip_families = None;
        }
        if spec.ip_family_policy == old.ip_family_policy {
            spec.ip_family_policy = None;
        }
        if spec.internal_traffic_policy == old.internal_traffic_policy {
            spec.internal_traffic_policy = None;
        }
    }
    if has_node_ports(old) && !has_node_ports(spec) {
        let before = node_ports(old);
        if node_ports(spec).iter().all(|port| before.contains(port)) {
            spec.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
        }
    }
    if has_health_check_port(old)
        && !has_health_check_port(spec)
        && spec.health_check_node_port == old.health_check_node_port
    {
        spec.health_check_node_port = None;
    }
    let external = |spec: &ServiceSpec| {
        matches!(type_of(spec), "NodePort" | "LoadBalancer")
            || (type_of(spec) == "ClusterIP" && spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()))
    };
    if external(old) && !external(spec) && spec.external_traffic_policy == old.external_traffic_policy {
        spec.external_traffic_policy = None;
    }
    let balanced = |spec: &ServiceSpec| type_of(spec) == "LoadBalancer";
    if balanced(old) && !balanced(spec) {
        if spec.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            spec.allocate_load_balancer_node_ports = None;
        }
        if spec.load_balancer_class == old.load_balancer_class {
            spec.load_balancer_class = None;
        }
    }
}
