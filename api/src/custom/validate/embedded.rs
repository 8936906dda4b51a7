//! Objects within objects (`x-kubernetes-embedded-resource`) have a type, and metadata like any other.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use crate::custom::structural::Structural;
use crate::field::{Errors, Path};
use crate::names;
use crate::validation;

pub(super) fn validate(value: &Value, schema: &Structural, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            if schema.embedded_resource {
                resource(map, path, errors);
            }
            for (name, value) in map {
                if let Some(property) = schema.properties.get(name) {
                    validate(value, property, &path.child(name), errors);
                } else if let Some(entry) = schema.child(name) {
                    validate(value, entry, &path.key(name), errors);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (i, element) in list.iter().enumerate() {
                validate(element, items, &path.index(i), errors);
            }
        }
        _ => {}
    }
}

fn resource(map: &Map<String, Value>, path: &Path<'_>, errors: &mut Errors) {
    for field in ["apiVersion", "kind"].into_iter().filter(|field| !map.contains_key(*field)) {
        errors.required(&path.child(field), "");
    }
    if let Some(version) = text(map, "apiVersion", path, errors)
        && version.matches('/').count() > 1
    {
        let rule = format!("unexpected GroupVersion string: {version}");
        errors.invalid(&path.child("apiVersion"), version, &rule);
    }
    if let Some(kind) = text(map, "kind", path, errors) {
        let wrong = names::dns_1035_label(&kind.to_lowercase());
        if !wrong.is_empty() {
            let rule = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&path.child("kind"), kind, &rule);
        }
    }
    let Some(metadata) = map.get("metadata") else { return };
    match serde_json::from_value::<ObjectMeta>(metadata.clone()) {
        Ok(meta) => validation::embedded_meta(&meta, &path.child("metadata"), errors),
        Err(error) => errors.invalid(&path.child("metadata"), metadata, &error.to_string()),
    }
}

/// A field that is text, and not empty.
fn text<'a>(map: &'a Map<String, Value>, field: &str, path: &Path<'_>, errors: &mut Errors) -> Option<&'a str> {
    match map.get(field)? {
        Value::String(text) if text.is_empty() => errors.invalid(&path.child(field), "", "must not be empty"),
        Value::String(text) => return Some(text),
        other => errors.invalid(&path.child(field), other, "must be a string"),
    }
    None
}
