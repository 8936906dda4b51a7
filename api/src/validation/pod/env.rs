//! The environment of containers.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector};

use crate::field::{Errors, Path};
use crate::names;
use crate::quantity;
use crate::validation::rules::{named, no_backsteps, required, text};

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
/// What selectors may name of a pod, and containers can't see.
const OTHER_FIELDS: [&str; 3] = ["spec.restartPolicy", "spec.schedulerName", "status.phase"];
/// What bytes may be counted in.
const BYTES: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
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
        named(&key.key, names::env_name, &path.child("key"), errors);
        named(&key.volume_name, names::dns_label, &path.child("volumeName"), errors);
        required(&key.path, &path.child("path"), errors);
        no_backsteps(&key.path, &path.child("path"), errors);
    }
    match count {
        0 => {
            let rule = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
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
    let version = text(field.api_version.as_ref());
    if version.is_empty() {
        return errors.required(&path.child("apiVersion"), "");
    }
    let field_path = path.child("fieldPath");
    // A name of before 1.0, under which the node was known.
    let name = if field.field_path == "spec.host" { "spec.nodeName" } else { field.field_path.as_str() };
    let unknown = |errors: &mut Errors| {
        let rule = format!("error converting fieldPath: field label not supported: {name}");
        errors.invalid(&field_path, name, &rule);
    };
    match subscript(name) {
        _ if name.is_empty() => errors.required(&field_path, ""),
        _ if version != "v1" => unknown(errors),
        Some(("metadata.labels", key)) => errors.invalid_each(path, key, names::qualified(key)),
        Some(("metadata.annotations", key)) => errors.invalid_each(path, key, names::qualified(&key.to_lowercase())),
        Some(_) => unknown(errors),
        None if supported.contains(&name) => {}
        None if [&FIELDS[..], &FILE_FIELDS, &OTHER_FIELDS].iter().any(|known| known.contains(&name)) => {
            errors.not_supported(&field_path, name, supported);
        }
        None => unknown(errors),
    }
}

/// `metadata.labels['key']`
fn subscript(name: &str) -> Option<(&str, &str)> {
    name.strip_suffix("']")?.split_once("['")
}

/// A resource of a container; a file must say of which.
pub(super) fn resource_ref(resource: &ResourceFieldSelector, in_file: bool, path: &Path<'_>, errors: &mut Errors) {
    let name = resource.resource.as_str();
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if in_file && text(resource.container_name.as_ref()).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if name.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !huge && !RESOURCES.contains(&name) {
        errors.not_supported(&path.child("resource"), name, &RESOURCES);
    }
    let divisor = quantity::parse_or_zero(resource.divisor.as_ref()).to_text().0;
    let divisors: &[&str] = match name {
        "limits.cpu" | "requests.cpu" => &["1m", "1"],
        _ if huge || RESOURCES.contains(&name) => &BYTES,
        _ => return,
    };
    if divisor != "0" && !divisors.contains(&divisor.as_str()) {
        let rule = format!("only divisor's values {} are supported with the resource", divisors.join(", "));
        errors.invalid(&path.child("divisor"), name, &rule);
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
