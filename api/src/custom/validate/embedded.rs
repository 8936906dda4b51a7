//! Objects within objects (`x-kubernetes-embedded-resource`) have a type, and metadata like any other.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

use crate::custom::structural::Structural;
use crate::field::{Errors, Path};
use crate::validation;
use crate::{codec, names};

/// Checks every object within `value`, and `value` itself where it is a resource.
pub(super) fn validate(value: &Value, schema: &Structural, is_resource: bool, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            if is_resource {
                resource(map, path, errors);
            }
            for (name, value) in map {
                if let Some(property) = schema.properties.get(name) {
                    validate(value, property, property.embedded_resource, &path.child(name), errors);
                } else if let Some(entry) = schema.child(name) {
                    validate(value, entry, entry.embedded_resource, &path.key(name), errors);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (i, element) in list.iter().enumerate() {
                validate(element, items, items.embedded_resource, &path.index(i), errors);
            }
        }
        _ => {}
    }
}

/// The first of what has another type than it has in objects: a body in which it is cannot be read.
pub(in crate::custom) fn misread(
    value: &Value,
    schema: &Structural,
    is_resource: bool,
    path: &Path<'_>,
) -> Option<Errors> {
    match value {
        Value::Object(map) => misread_map(map, schema, is_resource, path),
        Value::Array(list) => {
            let items = schema.items.as_ref()?;
            let one = |(i, element)| misread(element, items, items.embedded_resource, &path.index(i));
            list.iter().enumerate().find_map(one)
        }
        _ => None,
    }
}

/// As [`misread`], of an object.
pub(in crate::custom) fn misread_map(
    map: &Map<String, Value>,
    schema: &Structural,
    is_resource: bool,
    path: &Path<'_>,
) -> Option<Errors> {
    map.iter().find_map(|(name, value)| {
        let wrong = match name.as_str() {
            "apiVersion" | "kind" if is_resource && !value.is_string() => Some("must be a string".to_owned()),
            "metadata" if is_resource => read_meta(value).err(),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let mut errors = Errors::new();
            errors.invalid(&path.child(name), value, &wrong);
            return Some(errors);
        }
        match (schema.properties.get(name), schema.child(name)) {
            (Some(property), _) => misread(value, property, property.embedded_resource, &path.child(name)),
            (None, Some(entry)) => misread(value, entry, entry.embedded_resource, &path.key(name)),
            (None, None) => None,
        }
    })
}

/// Reads metadata as Go does, to which a null is as good as nothing.
///
/// # Errors
/// What is of another type, in Go's words.
pub(in crate::custom) fn read_meta(value: &Value) -> Result<ObjectMeta, String> {
    codec::check_meta(value.to_string().as_bytes())?;
    let mut present = value.clone();
    let Value::Object(fields) = &mut present else { return Ok(ObjectMeta::default()) };
    fields.retain(|_, value| !value.is_null());
    for name in ["labels", "annotations"] {
        let texts = fields.get_mut(name).and_then(Value::as_object_mut);
        texts.into_iter().flatten().filter(|(_, text)| text.is_null()).for_each(|(_, text)| *text = "".into());
    }
    serde_json::from_value(present).map_err(|error| error.to_string())
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
    match read_meta(metadata) {
        Ok(meta) => validation::embedded_meta(&meta, &path.child("metadata"), errors),
        Err(wrong) => errors.invalid(&path.child("metadata"), metadata, &wrong),
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
