//! The values that fields take when nobody gave them any, per kind, as Kubernetes gives them before admission and
//! validation. What needs the cluster (addresses, priorities, service accounts) is given by the API server.
//!
//! Defaulting is idempotent: an object that has its defaults is left as it is. Source: `pkg/apis/*/v1/defaults.go`.

mod admission;
mod autoscaler;
mod batch;
mod container;
mod custom_resource_definition;
mod device;
mod flow;
mod networking;
mod none;
mod pod;
mod policy;
mod rbac;
mod service;
mod storage;
mod volume;
mod workload;

use k8s_openapi::ByteString;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

use crate::any::AnyObject;

pub(crate) use autoscaler::{CPU_PERCENT, cpu as cpu_metric};
use pod::pod_template;

/// The defaults of a kind.
pub trait Defaults {
    /// Gives the fields that nobody gave a value theirs.
    fn set_defaults(&mut self) {}
}

/// Gives an object of any kind its defaults.
pub fn apply(object: &mut AnyObject) {
    object.erased_mut().set_defaults();
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
impl Defaults for core::Namespace {
    fn set_defaults(&mut self) {
        if let Some(name) = self.metadata.name.as_ref().filter(|n| !n.is_empty()) {
            let labels = self.metadata.labels.get_or_insert_default();
            labels.insert(NAMESPACE_NAME_LABEL.to_owned(), name.clone());
        }
        set_text(&mut self.status.get_or_insert_default().phase, "Active");
    }
}

/// A node may give pods everything that it has. The first of its ranges is shown on its own too; told alone, or against
/// the list, it is the only one.
impl Defaults for core::Node {
    fn set_defaults(&mut self) {
        if let Some(spec) = &mut self.spec {
            let first = spec.pod_cidrs.as_ref().and_then(|ranges| ranges.first()).cloned();
            match spec.pod_cidr.clone().filter(|range| !range.is_empty()) {
                Some(range) if first.as_ref() != Some(&range) => spec.pod_cidrs = Some(vec![range]),
                Some(_) => {}
                None => spec.pod_cidr = first,
            }
        }
        if let Some(status) = self.status.as_mut()
            && status.allocatable.is_none()
        {
            status.allocatable.clone_from(&status.capacity);
        }
    }
}

/// A secret is opaque; what was given as text is among its data.
impl Defaults for core::Secret {
    fn set_defaults(&mut self) {
        set_text(&mut self.type_, "Opaque");
        if let Some(text) = self.string_data.take().filter(|t| !t.is_empty()) {
            let data = self.data.get_or_insert_default();
            data.extend(text.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
        }
    }
}

/// Ports are TCP.
impl Defaults for core::Endpoints {
    fn set_defaults(&mut self) {
        let ports = self.subsets.iter_mut().flatten().flat_map(|s| s.ports.iter_mut().flatten());
        ports.for_each(|p| set_text(&mut p.protocol, "TCP"));
    }
}

/// Ports are TCP and have an empty name.
impl Defaults for discovery::EndpointSlice {
    fn set_defaults(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            set(&mut port.name, String::new());
            set(&mut port.protocol, "TCP".to_owned());
        }
    }
}

/// A service that serves a version is reached over HTTPS.
impl Defaults for apiregistration::APIService {
    fn set_defaults(&mut self) {
        if let Some(service) = self.spec.as_mut().and_then(|s| s.service.as_mut()) {
            set(&mut service.port, 443);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::object::Object;

    /// An object with its defaults, as it is written. Given them again it stays the same.
    pub(crate) fn completed<T: Object>(json: &str) -> String {
        let mut object = T::decode(json.as_bytes()).unwrap();
        object.set_defaults();
        let completed = object.clone();
        object.set_defaults();
        assert_eq!(object, completed);
        String::from_utf8(object.encode().to_vec()).unwrap()
    }
}
