//! The values that fields take when nobody gave them any, per kind, as Kubernetes gives them before admission and
//! validation. What needs the cluster (addresses, priorities, service accounts) is given by the API server.
//!
//! Defaulting is idempotent: an object that has its defaults is left as it is. Source: `pkg/apis/*/v1/defaults.go`.

mod container;
mod pod;
mod service;
mod volume;
mod workload;

use k8s_openapi::ByteString;
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, discovery::v1 as discovery};

use crate::any::AnyObject;

pub use pod::{pod, pod_template};
pub use service::service;
pub use workload::{deployment, replica_set, replication_controller};

/// Gives an object of any kind its defaults.
pub fn apply(object: &mut AnyObject) {
    if let Some(o) = object.downcast_mut::<core::Pod>() {
        pod(o);
    } else if let Some(o) = object.downcast_mut::<apps::ReplicaSet>() {
        replica_set(o);
    } else if let Some(o) = object.downcast_mut::<apps::Deployment>() {
        deployment(o);
    } else if let Some(o) = object.downcast_mut::<core::ReplicationController>() {
        replication_controller(o);
    } else if let Some(o) = object.downcast_mut::<core::Service>() {
        service(o);
    } else if let Some(o) = object.downcast_mut::<core::Endpoints>() {
        endpoints(o);
    } else if let Some(o) = object.downcast_mut::<discovery::EndpointSlice>() {
        endpoint_slice(o);
    } else if let Some(o) = object.downcast_mut::<core::Namespace>() {
        namespace(o);
    } else if let Some(o) = object.downcast_mut::<core::Node>() {
        node(o);
    } else if let Some(o) = object.downcast_mut::<core::Secret>() {
        secret(o);
    }
}

/// Sets a field that nobody has set.
fn set<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

/// Sets a text that nobody has set; an empty one counts as not set, as Go can't tell.
fn set_text(field: &mut Option<String>, value: &str) {
    if field.as_ref().is_none_or(String::is_empty) {
        *field = Some(value.to_owned());
    }
}

/// Sets a number that nobody has set; zero counts as not set.
fn set_number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or(0) == 0 {
        *field = Some(value);
    }
}

/// The label by which namespaces are selected by name.
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A namespace is labelled with its name, and active.
pub fn namespace(namespace: &mut core::Namespace) {
    if let Some(name) = namespace.metadata.name.as_ref().filter(|n| !n.is_empty()) {
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.clone());
    }
    set_text(&mut namespace.status.get_or_insert_default().phase, "Active");
}

/// A node may give pods everything that it has.
pub fn node(node: &mut core::Node) {
    if let Some(status) = node.status.as_mut()
        && status.allocatable.is_none()
    {
        status.allocatable.clone_from(&status.capacity);
    }
}

/// A secret is opaque; what was given as text is among its data.
pub fn secret(secret: &mut core::Secret) {
    set_text(&mut secret.type_, "Opaque");
    if let Some(text) = secret.string_data.take().filter(|t| !t.is_empty()) {
        let data = secret.data.get_or_insert_default();
        data.extend(text.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
    }
}

/// Ports are TCP.
pub fn endpoints(endpoints: &mut core::Endpoints) {
    let ports = endpoints.subsets.iter_mut().flatten().flat_map(|s| s.ports.iter_mut().flatten());
    ports.for_each(|p| set_text(&mut p.protocol, "TCP"));
}

/// Ports are TCP and have an empty name.
pub fn endpoint_slice(slice: &mut discovery::EndpointSlice) {
    for port in slice.ports.iter_mut().flatten() {
        set(&mut port.name, String::new());
        set(&mut port.protocol, "TCP".to_owned());
    }
}
