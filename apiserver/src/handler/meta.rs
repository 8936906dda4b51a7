//! The part of an object's metadata that is the server's, not the client's.
//!
//! Source: upstream's `rest.BeforeCreate` and `rest.BeforeUpdate`.

use coracle_api::status::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

use crate::clock;
use crate::query::parse_version;

/// Prepares the metadata of an object that is to be created.
pub(super) fn before_create(meta: &mut ObjectMeta) {
    meta.resource_version = None;
    meta.uid = Some(uuid::Uuid::new_v4().to_string());
    meta.creation_timestamp = Some(Time(clock::now()));
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.managed_fields = None;
}

/// Whether an object that is to be created says a version, which only what is there has. Source: what is no number is as
/// none.
pub(super) fn has_version(meta: &ObjectMeta) -> bool {
    let version = meta.resource_version.as_deref().unwrap_or_default();
    parse_version(version).is_ok_and(|version| version > 0)
}

/// Carries over from `old` what an update cannot change or need not say.
pub(super) fn before_update(meta: &mut ObjectMeta, old: &ObjectMeta) {
    meta.resource_version = None;
    meta.generation = old.generation;
    meta.self_link = None;
    meta.managed_fields = None;
    if meta.uid.as_ref().is_none_or(String::is_empty) {
        meta.uid.clone_from(&old.uid);
    }
    if meta.creation_timestamp.is_none() {
        meta.creation_timestamp.clone_from(&old.creation_timestamp);
    }
    if old.deletion_timestamp.is_some() {
        meta.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if meta.deletion_grace_period_seconds.is_none() {
        meta.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
    if meta.namespace.as_ref().is_none_or(String::is_empty) {
        meta.namespace.clone_from(&old.namespace);
    }
}

/// Leaves one of owners that stand twice; tells of those that did, and `when`.
///
/// Source: upstream's `dedupOwnerReferencesAndAddWarning`.
pub(super) fn single_owners(meta: &mut ObjectMeta, when: &str) -> Option<String> {
    let owners = meta.owner_references.as_mut().filter(|owners| owners.len() > 1)?;
    let mut single: Vec<OwnerReference> = Vec::with_capacity(owners.len());
    let mut twice: Vec<&str> = Vec::new();
    for owner in owners.iter() {
        if single.contains(owner) {
            twice.push(&owner.uid);
        } else {
            single.push(owner.clone());
        }
    }
    if twice.is_empty() {
        return None;
    }
    let told = format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may \
         reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    );
    *owners = single;
    Some(told)
}

/// Puts the namespace of the URL into the object: none into what lives in none, whatever it says.
///
/// # Errors
/// When the object says another one.
///
/// Source: upstream's `EnsureObjectNamespaceMatchesRequestNamespace`.
pub(super) fn place(meta: &mut ObjectMeta, namespace: Option<&str>) -> Result<(), ApiError> {
    let own = meta.namespace.as_deref().unwrap_or_default();
    if namespace.is_some_and(|namespace| !own.is_empty() && own != namespace) {
        let why = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(ApiError::BadRequest(why.to_owned()));
    }
    meta.namespace = namespace.map(str::to_owned);
    Ok(())
}

/// Checks that the body is about the object of the URL.
///
/// # Errors
/// When it says another name, or none.
pub(super) fn same_name(meta: &ObjectMeta, name: &str) -> Result<(), ApiError> {
    match meta.name.as_deref().unwrap_or_default() {
        "" => Err(ApiError::BadRequest(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        own if own != name => Err(ApiError::BadRequest(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}
