//! The environment of containers.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector};

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{named, required, text};

/// What a variable may be of its pod.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// What a file may be of its pod.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const MANY: &str = "may not have more than one field specified at a time";

pub(super) fn variables(variables: &[EnvVar], list: &Path<'_>, errors: &mut Errors) {
    for (i, variable) in variables.iter().enumerate() {
        let path = list.index(i);
        named(&variable.name, names::env_name, &path.child("name"), errors);
        if let Some(source) = &variable.value_from {
            let path = path.child("valueFrom");
            if variable.value.as_ref().is_some_and(|v| !v.is_empty()) {
                errors.invalid(&path, "", "may not be specified when `value` is not empty");
            }
            value_source(source, &path, errors);
        }
    }
}

fn value_source(source: &EnvVarSource, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    if let Some(field) = &source.field_ref {
        count += 1;
        field_ref(field, &FIELDS, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = &source.resource_field_ref {
        count += 1;
        resource_ref(resource, false, &path.child("resourceFieldRef"), errors);
    }
    if let Some(key) = &source.config_map_key_ref {
        count += 1;
        key_ref(&key.name, &key.key, &path.child("configMapKeyRef"), errors);
    }
    if let Some(key) = &source.secret_key_ref {
        count += 1;
        key_ref(&key.name, &key.key, &path.child("secretKeyRef"), errors);
    }
    if let Some(key) = &source.file_key_ref {
        count += 1;
        let path = path.child("fileKeyRef");
        required(&key.volume_name, &path.child("volumeName"), errors);
        required(&key.path, &path.child("path"), errors);
        named(&key.key, names::env_name, &path.child("key"), errors);
    }
    match count {
        0 => {
            let rule = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            errors.invalid(path, "", rule);
        }
        1 => {}
        _ => errors.invalid(path, "", MANY),
    }
}

fn key_ref(name: &str, key: &str, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(&path.child("name"), name, names::dns_subdomain(name));
    named(key, names::config_key, &path.child("key"), errors);
}

/// A field of the pod, for a file.
pub(super) fn file_field_ref(field: &ObjectFieldSelector, path: &Path<'_>, errors: &mut Errors) {
    field_ref(field, &FILE_FIELDS, path, errors);
}

fn field_ref(field: &ObjectFieldSelector, supported: &[&str], path: &Path<'_>, errors: &mut Errors) {
    required(text(field.api_version.as_ref()), &path.child("apiVersion"), errors);
    let path = path.child("fieldPath");
    let name = field.field_path.as_str();
    if name.is_empty() {
        return errors.required(&path, "");
    }
    if let Some((map, key)) = subscript(name) {
        return match map {
            "metadata.labels" => errors.invalid_each(&path, key, names::qualified(key)),
            "metadata.annotations" => errors.invalid_each(&path, key, names::qualified(&key.to_lowercase())),
            _ => errors.invalid(&path, name, "does not support subscript"),
        };
    }
    if supported.contains(&name) {
        return;
    }
    if FIELDS.contains(&name) || FILE_FIELDS.contains(&name) {
        errors.not_supported(&path, name, supported);
    } else {
        errors.invalid(&path, name, &format!("error converting fieldPath: field label not supported: {name}"));
    }
}

/// `metadata.labels['key']`
fn subscript(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix("']")?.split_once("['")
}

/// A resource of a container; a file must say of which.
pub(super) fn resource_ref(resource: &ResourceFieldSelector, in_file: bool, path: &Path<'_>, errors: &mut Errors) {
    if in_file {
        required(text(resource.container_name.as_ref()), &path.child("containerName"), errors);
    }
    let path = path.child("resource");
    let name = resource.resource.as_str();
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if name.is_empty() {
        errors.required(&path, "");
    } else if !huge && !RESOURCES.contains(&name) {
        errors.not_supported(&path, name, &RESOURCES);
    }
}

pub(super) fn sources(sources: &[EnvFromSource], list: &Path<'_>, errors: &mut Errors) {
    for (i, source) in sources.iter().enumerate() {
        let path = list.index(i);
        if let Some(prefix) = source.prefix.as_ref().filter(|p| !p.is_empty()) {
            errors.invalid_each(&path.child("prefix"), prefix, names::env_name(prefix));
        }
        let maps = source.config_map_ref.as_ref().map(|r| ("configMapRef", &r.name));
        let secrets = source.secret_ref.as_ref().map(|r| ("secretRef", &r.name));
        for (field, name) in maps.iter().chain(&secrets) {
            let path = path.child(field);
            named(name, names::dns_subdomain, &path.child("name"), errors);
        }
        match (maps, secrets) {
            (None, None) => errors.invalid(list, "", "must specify one of: `configMapRef` or `secretRef`"),
            (Some(_), Some(_)) => errors.invalid(list, "", MANY),
            _ => {}
        }
    }
}
