//! Which endpoints object to write so that it says what the pods are. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::subsets::{Subsets, subsets};
use crate::service::{HEADLESS_LABEL, Selecting};

const MANAGER_LABEL: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Old clients keep the lock of a leader election in an endpoints object, under this annotation.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";

/// Whether this controller wrote it.
pub fn is_managed(meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().and_then(|labels| labels.get(MANAGER_LABEL)).is_some_and(|manager| manager == MANAGER)
}

/// Whether it is a lock, and no endpoints.
pub fn is_lock(meta: &ObjectMeta) -> bool {
    meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LOCK))
}

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Plan {
    Keep,
    Create(Endpoints),
    Update(Endpoints),
}

/// Decides.
pub fn plan(service: &Selecting<'_>, pods: &[Arc<Pod>], current: Option<&Endpoints>) -> Plan {
    let Subsets { subsets, truncated } = subsets(service, pods.iter().map(|pod| &**pod));
    let meta = &service.service.metadata;
    let mut next = current.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta { name: meta.name.clone(), namespace: meta.namespace.clone(), ..ObjectMeta::default() },
        ..Endpoints::default()
    });
    next.metadata.labels = Some(labels(service));
    note_capacity(&mut next.metadata, truncated);
    next.subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    match current {
        None => Plan::Create(next),
        Some(current) if *current == next => Plan::Keep,
        Some(_) => Plan::Update(next),
    }
}

fn labels(service: &Selecting<'_>) -> BTreeMap<String, String> {
    let mut labels = service.service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGER_LABEL.to_owned(), MANAGER.to_owned());
    labels.remove(HEADLESS_LABEL);
    if service.is_headless() {
        labels.insert(HEADLESS_LABEL.to_owned(), String::new());
    }
    labels
}

fn note_capacity(meta: &mut ObjectMeta, truncated: bool) {
    let mut annotations = meta.annotations.take().unwrap_or_default();
    match truncated {
        true => annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned()),
        false => annotations.remove(OVER_CAPACITY),
    };
    meta.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
}

#[cfg(test)]
mod tests {
    use super::super::subsets::ADDRESSES_MAX;
    use super::*;
    use crate::pod::build::*;
    use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

    fn service(ports: Vec<ServicePort>, cluster_ip: &str) -> Service {
        let spec = ServiceSpec {
            selector: Some([("app".to_owned(), "web".to_owned())].into()),
            cluster_ip: Some(cluster_ip.into()),
            ports: Some(ports),
            ..ServiceSpec::default()
        };
        let metadata = ObjectMeta { name: Some("web".into()), ..ObjectMeta::default() };
        Service { metadata, spec: Some(spec), ..Service::default() }
    }

    fn created(service: &Service, pods: Vec<Pod>) -> Endpoints {
        let pods: Vec<_> = pods.into_iter().map(Arc::new).collect();
        let selecting = Selecting::of(service).expect("a service with a selector");
        let Plan::Create(endpoints) = plan(&selecting, &pods, None) else { panic!("nothing is created") };
        assert_eq!(plan(&selecting, &pods, Some(&endpoints)), Plan::Keep);
        endpoints
    }

    #[test]
    fn ready_and_not_ready_addresses_are_apart() {
        let service = service(vec![ServicePort { port: 80, ..ServicePort::default() }], "127.96.0.2");
        let pods = vec![
            addressed(ready(pod("b"), 0), "127.64.0.2"),
            addressed(pod("a"), "127.64.0.1"),
            addressed(deleting(ready(pod("c"), 0)), "127.64.0.3"),
            pod("without-address"),
        ];
        let endpoints = created(&service, pods);
        let subsets = endpoints.subsets.expect("two pods can be reached");
        let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
            list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>()
        };
        assert_eq!(subsets.len(), 1);
        assert_eq!(
            (ips(&subsets[0].addresses), ips(&subsets[0].not_ready_addresses)),
            (vec!["127.64.0.2".to_owned()], vec!["127.64.0.1".to_owned()])
        );
    }

    #[test]
    fn a_headless_service_needs_no_ports() {
        let pods = || vec![addressed(ready(pod("a"), 0), "127.64.0.1")];
        let headless = created(&service(Vec::new(), "None"), pods());
        assert_eq!(headless.subsets.map(|subsets| subsets.len()), Some(1));
        assert_eq!(
            headless.metadata.labels.and_then(|labels| labels.get(HEADLESS_LABEL).cloned()),
            Some(String::new())
        );
        assert_eq!(created(&service(Vec::new(), "127.96.0.2"), pods()).subsets, None);
    }

    #[test]
    fn too_many_are_cut_off_and_that_is_said() {
        let service = service(vec![ServicePort { port: 80, ..ServicePort::default() }], "127.96.0.2");
        let pods = (0..ADDRESSES_MAX + 1)
            .map(|n| addressed(ready(pod(&format!("p{n}")), 0), &format!("127.64.{}.{}", n / 250, n % 250 + 1)));
        let endpoints = created(&service, pods.collect());
        let count: usize = endpoints.subsets.iter().flatten().map(|one| one.addresses.iter().flatten().count()).sum();
        assert_eq!(count, ADDRESSES_MAX);
        assert_eq!(
            endpoints.metadata.annotations.and_then(|all| all.get(OVER_CAPACITY).cloned()),
            Some("truncated".into())
        );
    }
}
