//! What an object of each kind must be, and what of it may change: pure functions from objects to
//! [`field::Errors`](crate::field::Errors). They are called once an object has its defaults and its name.
//!
//! A rule is a line that reads as the documentation of the field; the order of rules is that of the fields.
//! Source: `pkg/apis/*/validation`.

mod admission;
mod amounts;
mod api_service;
mod autoscaler;
mod certificate;
mod claim;
mod conditions;
mod config;
mod cron_job;
mod csi;
mod custom_resource_definition;
mod daemon_set;
mod device;
mod disruption_budget;
mod endpoints;
mod event;
mod flow;
mod ip;
mod job;
mod labels;
mod lease;
mod limit_range;
pub(crate) mod meta;
mod namespace;
mod networking;
mod node;
mod persistent_volume;
mod plain;
mod pod;
mod rbac;
mod resource_quota;
mod review;
mod rules;
mod schedule;
mod scheduling_class;
mod service;
mod stateful_set;
mod storage;
mod subresource;
mod volume_source;
mod workload;

pub use certificate::update_approval;
pub(crate) use custom_resource_definition::walk as schema_walk;
pub use custom_resource_definition::{approval_of, ca_bundle, is_ca_bundle};
pub use job::{NAME_LABELS as JOB_NAME_LABELS, UID_LABELS as JOB_UID_LABELS};
pub(crate) use meta::{embedded as embedded_meta, is_standard_finalizer};
pub use namespace::update_finalizers;
pub use pod::{update_ephemeral_containers, update_resize};
pub use scheduling_class::{SYSTEM_PRIORITIES, USER_PRIORITY_MAX};
pub use service::service_addresses;
pub use subresource::{binding, delete_options, token_request};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::any::AnyObject;
use crate::field::Errors;

/// The rules of a kind.
pub trait Validate {
    /// What is wrong with an object that is to be created.
    fn validate(&self, errors: &mut Errors);

    /// What is wrong with an object that is to replace `old`, beyond its metadata.
    fn validate_update(&self, _old: &Self, _errors: &mut Errors) {}

    /// What is wrong with an object whose status is to replace that of `old`, beyond its metadata.
    fn validate_status(&self, _old: &Self, _errors: &mut Errors) {}
}

/// What is wrong with an object that is to be created.
#[must_use]
pub fn create(object: &AnyObject) -> Errors {
    let mut errors = Errors::new();
    object.erased().validate(&mut errors);
    errors
}

/// What is wrong with an object that is to replace `old`, an object of the same type.
#[must_use]
pub fn update(new: &AnyObject, old: &AnyObject) -> Errors {
    let mut errors = updated_meta(new, old);
    new.erased().validate_update(old.erased(), &mut errors);
    errors
}

/// What is wrong with an object whose status is to replace that of `old`.
#[must_use]
pub fn update_status(new: &AnyObject, old: &AnyObject) -> Errors {
    let mut errors = updated_meta(new, old);
    new.erased().validate_status(old.erased(), &mut errors);
    errors
}

fn updated_meta(new: &AnyObject, old: &AnyObject) -> Errors {
    let mut errors = Errors::new();
    let is_extension = new.custom().is_some() || new.is::<CustomResourceDefinition>();
    let judge = if is_extension { meta::update_extension } else { meta::update };
    judge(new.meta(), old.meta(), &mut errors);
    errors
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

    /// The same for an object whose status is to replace that of another.
    pub(crate) fn refused_status<T: crate::Object>(old: &str, new: &str) -> Vec<String> {
        causes(&update_status(&object::<T>(new), &object::<T>(old)))
    }
}
