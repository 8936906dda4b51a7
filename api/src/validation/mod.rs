//! What an object of each kind must be, and what of it may change: pure functions from objects to
//! [`field::Errors`](crate::field::Errors). They are called once an object has its defaults and its name.
//!
//! A rule is a line that reads as the documentation of the field; the order of rules is that of the fields.
//! Source: `pkg/apis/*/validation`.

mod config;
mod endpoints;
mod event;
mod ip;
mod labels;
mod lease;
mod meta;
mod namespace;
mod node;
mod pod;
mod rules;
mod service;
mod subresource;
mod workload;

use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v1 as autoscaling, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events,
};

pub use pod::{update_ephemeral_containers, update_resize};
pub use subresource::{binding, delete_options, token_request};

use crate::any::AnyObject;
use crate::field::Errors;

/// What is wrong with an object that is to be created.
#[must_use]
pub fn create(object: &AnyObject) -> Errors {
    let mut errors = Errors::new();
    let e = &mut errors;
    if let Some(o) = object.downcast_ref::<core::Pod>() {
        pod::create(o, e);
    } else if let Some(o) = object.downcast_ref::<apps::Deployment>() {
        workload::deployment(o, e);
    } else if let Some(o) = object.downcast_ref::<apps::ReplicaSet>() {
        workload::replica_set(o, e);
    } else if let Some(o) = object.downcast_ref::<core::ReplicationController>() {
        workload::replication_controller(o, e);
    } else if let Some(o) = object.downcast_ref::<core::Service>() {
        service::create(o, e);
    } else if let Some(o) = object.downcast_ref::<core::Endpoints>() {
        endpoints::endpoints(o, e);
    } else if let Some(o) = object.downcast_ref::<discovery::EndpointSlice>() {
        endpoints::slice(o, e);
    } else if let Some(o) = object.downcast_ref::<core::Node>() {
        node::create(o, e);
    } else if let Some(o) = object.downcast_ref::<core::Namespace>() {
        namespace::create(o, e);
    } else if let Some(o) = object.downcast_ref::<core::ConfigMap>() {
        config::config_map(o, e);
    } else if let Some(o) = object.downcast_ref::<core::Secret>() {
        config::secret(o, e);
    } else if let Some(o) = object.downcast_ref::<core::ServiceAccount>() {
        config::service_account(o, e);
    } else if let Some(o) = object.downcast_ref::<coordination::Lease>() {
        lease::create(o, e);
    } else if let Some(o) = object.downcast_ref::<core::Event>() {
        event::core(o, e);
    } else if let Some(o) = object.downcast_ref::<events::Event>() {
        event::events(o, e);
    } else if let Some(o) = object.downcast_ref::<autoscaling::Scale>() {
        subresource::scale(o, e);
    }
    errors
}

/// What is wrong with an object that is to replace `old`, an object of the same type.
#[must_use]
pub fn update(new: &AnyObject, old: &AnyObject) -> Errors {
    let mut errors = Errors::new();
    let e = &mut errors;
    meta::update(new.meta(), old.meta(), e);
    if let Some((new, old)) = both::<core::Pod>(new, old) {
        pod::update(new, old, e);
    } else if let Some((new, old)) = both::<apps::Deployment>(new, old) {
        workload::update_deployment(new, old, e);
    } else if let Some((new, old)) = both::<apps::ReplicaSet>(new, old) {
        workload::update_replica_set(new, old, e);
    } else if let Some((new, _)) = both::<core::ReplicationController>(new, old) {
        workload::replication_controller_spec(new, e);
    } else if let Some((new, old)) = both::<core::Service>(new, old) {
        service::update(new, old, e);
    } else if let Some((new, _)) = both::<core::Endpoints>(new, old) {
        endpoints::subsets(new, e);
    } else if let Some((new, old)) = both::<discovery::EndpointSlice>(new, old) {
        endpoints::update_slice(new, old, e);
    } else if let Some((new, old)) = both::<core::Node>(new, old) {
        node::update(new, old, e);
    } else if let Some((new, old)) = both::<core::ConfigMap>(new, old) {
        config::update_config_map(new, old, e);
    } else if let Some((new, old)) = both::<core::Secret>(new, old) {
        config::update_secret(new, old, e);
    } else if let Some((new, old)) = both::<coordination::Lease>(new, old) {
        lease::update(new, old, e);
    } else if let Some((new, _)) = both::<core::Event>(new, old) {
        event::core_fields(new, e);
    } else if let Some((new, _)) = both::<autoscaling::Scale>(new, old) {
        subresource::scale(new, e);
    }
    errors
}

/// What is wrong with an object whose status is to replace that of `old`.
#[must_use]
pub fn update_status(new: &AnyObject, old: &AnyObject) -> Errors {
    let mut errors = Errors::new();
    let e = &mut errors;
    meta::update(new.meta(), old.meta(), e);
    if let Some((new, old)) = both::<core::Pod>(new, old) {
        pod::update_status(new, old, e);
    } else if let Some((new, _)) = both::<apps::Deployment>(new, old) {
        workload::deployment_status(new, e);
    } else if let Some((new, _)) = both::<apps::ReplicaSet>(new, old) {
        workload::replica_set_status(new, e);
    } else if let Some((new, _)) = both::<core::ReplicationController>(new, old) {
        workload::replication_controller_status(new, e);
    } else if let Some((new, _)) = both::<core::Service>(new, old) {
        service::status(new, e);
    } else if let Some((new, _)) = both::<core::Node>(new, old) {
        node::status(new, e);
    } else if let Some((new, _)) = both::<core::Namespace>(new, old) {
        namespace::status(new, e);
    }
    errors
}

fn both<'o, T: crate::Object>(new: &'o AnyObject, old: &'o AnyObject) -> Option<(&'o T, &'o T)> {
    new.downcast_ref().zip(old.downcast_ref())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::defaults;

    /// An object with its defaults.
    pub(crate) fn object<T: crate::Object>(json: &str) -> AnyObject {
        let mut object = AnyObject::new(T::decode(json.as_bytes()).unwrap());
        defaults::apply(&mut object);
        object
    }

    fn causes(errors: &Errors) -> Vec<String> {
        errors.iter().map(|e| format!("{} {}", e.field, &e.reason.as_str()["FieldValue".len()..])).collect()
    }

    /// The fields and reasons of what is wrong with an object to be created.
    pub(crate) fn refused<T: crate::Object>(json: &str) -> Vec<String> {
        causes(&create(&object::<T>(json)))
    }

    /// The same for an object that is to replace another.
    pub(crate) fn refused_update<T: crate::Object>(old: &str, new: &str) -> Vec<String> {
        causes(&update(&object::<T>(new), &object::<T>(old)))
    }
}
