//! What makes a schema structural: it says of every field what type it is, outside of `allOf`, `anyOf`, `oneOf` and `not`,
//! and inside of those says nothing but what values must be.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/{validation,complete}.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::walk;
use crate::custom::{Patterns, check_pattern};
use crate::field::{Errors, Path};

/// Where in a schema a node stands.
#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural, sorted as upstream sorts it.
pub(super) fn validate(schema: &JSONSchemaProps, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut patterns = Patterns::default();
    if walk::any(schema, &mut |schema| schema.pattern.as_deref().is_some_and(|pattern| !patterns.fits(pattern))) {
        errors.forbidden(path, "the patterns of a schema must not need so much memory together");
        return errors;
    }
    invariants(schema, Level::Root, path, &mut errors);
    complete(schema, schema, path, path, &mut errors);
    errors.sort();
    errors
}

/// Whether a schema has nothing in it that no structural one can have, of which is told elsewhere.
pub(super) fn is_supported(schema: &JSONSchemaProps) -> bool {
    let filled = |map: &Option<std::collections::BTreeMap<String, JSONSchemaProps>>| {
        map.as_ref().is_some_and(|map| !map.is_empty())
    };
    !walk::any(schema, &mut |schema| {
        schema.id.as_ref().is_some_and(|id| !id.is_empty())
            || schema.additional_items.is_some()
            || filled(&schema.pattern_properties)
            || filled(&schema.definitions)
            || schema.dependencies.as_ref().is_some_and(|all| !all.is_empty())
            || schema.ref_path.is_some()
            || schema.x_kubernetes_preserve_unknown_fields == Some(false)
            || matches!(&schema.items, Some(JSONSchemaPropsOrArray::Schemas(list)) if !list.is_empty())
    })
}

pub(super) fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

pub(super) fn entries(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(entries)) => Some(entries),
        _ => None,
    }
}

fn kind(schema: &JSONSchemaProps) -> &str {
    schema.type_.as_deref().unwrap_or_default()
}

fn is(flag: Option<bool>) -> bool {
    flag == Some(true)
}

fn list(schemas: &Option<Vec<JSONSchemaProps>>) -> &[JSONSchemaProps] {
    schemas.as_deref().unwrap_or_default()
}

fn invariants(schema: &JSONSchemaProps, level: Level, path: &Path<'_>, errors: &mut Errors) {
    if kind(schema) == "array" && schema.items.is_none() {
        errors.required(&path.child("items"), "must be specified");
    }
    if let Some(items) = items(schema) {
        invariants(items, Level::Item, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, property) in schema.properties.iter().flatten() {
        invariants(property, Level::Field, &properties.key(name), errors);
    }
    let additional = path.child("additionalProperties");
    if schema.additional_properties.is_some() && level == Level::Root {
        errors.forbidden(&additional, "must not be used at the root");
    }
    if let Some(entries) = entries(schema) {
        invariants(entries, Level::Field, &additional, errors);
    }
    extensions(schema, path, errors);
    let first_all_of = list(&schema.all_of).first().is_some_and(|first| is_int_or_string(list(&first.any_of)));
    values(schema, is_int_or_string(list(&schema.any_of)), first_all_of, path, errors);
    typed(schema, level, path, errors);
    if is(schema.x_kubernetes_embedded_resource) && schema.additional_properties.is_some() {
        errors.forbidden(&additional, "must not be used if x-kubernetes-embedded-resource is set");
    }
    metadata(schema, level, path, errors);
}

fn extensions(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut Errors) {
    let rule = "must be false if x-kubernetes-int-or-string is true";
    if is(schema.x_kubernetes_int_or_string) && is(schema.x_kubernetes_preserve_unknown_fields) {
        errors.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), &true, rule);
    }
    if is(schema.x_kubernetes_int_or_string) && is(schema.x_kubernetes_embedded_resource) {
        errors.invalid(&path.child("x-kubernetes-embedded-resource"), &true, rule);
    }
}

fn typed(schema: &JSONSchemaProps, level: Level, path: &Path<'_>, errors: &mut Errors) {
    let (path, kind) = (path.child("type"), kind(schema));
    let embedded = is(schema.x_kubernetes_embedded_resource);
    let free = is(schema.x_kubernetes_int_or_string) || is(schema.x_kubernetes_preserve_unknown_fields);
    match kind {
        "object" => return,
        "" if embedded => errors.required(&path, "must be object if x-kubernetes-embedded-resource is true"),
        _ if embedded => errors.invalid(&path, kind, "must be object if x-kubernetes-embedded-resource is true"),
        "" if !free => match level {
            Level::Root => errors.required(&path, "must not be empty at the root"),
            Level::Item => errors.required(&path, "must not be empty for specified array items"),
            Level::Field => errors.required(&path, "must not be empty for specified object fields"),
        },
        _ => {}
    }
    if level == Level::Root && !kind.is_empty() {
        errors.invalid(&path, kind, "must be object at the root");
    }
}

/// The metadata of an object may be restricted in its names alone.
fn metadata(schema: &JSONSchemaProps, level: Level, path: &Path<'_>, errors: &mut Errors) {
    let embedded = is(schema.x_kubernetes_embedded_resource);
    let is_object = level == Level::Root || embedded;
    let properties = path.child("properties");
    let property = |name: &str| schema.properties.as_ref().and_then(|properties| properties.get(name));
    for name in ["kind", "apiVersion"] {
        if let Some(property) = property(name).filter(|p| is_object && kind(p) != "string") {
            errors.invalid(&properties.key(name).child("type"), kind(property), "must be string");
        }
    }
    if let Some(metadata) = property("metadata") {
        let path = properties.key("metadata");
        if is_object && kind(metadata) != "object" {
            errors.invalid(&path.child("type"), kind(metadata), "must be object");
        }
        if level == Level::Root && !restricts_names_alone(metadata) {
            let rule =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.forbidden(&path, rule);
        }
    }
    let empty = schema.properties.as_ref().is_none_or(|properties| properties.is_empty());
    if embedded && !is(schema.x_kubernetes_preserve_unknown_fields) && empty {
        let rule =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required(&properties, rule);
    }
}

fn restricts_names_alone(metadata: &JSONSchemaProps) -> bool {
    let names = metadata.properties.iter().flatten().all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
    let rest = JSONSchemaProps { properties: None, type_: None, default: None, ..metadata.clone() };
    names && rest == JSONSchemaProps::default()
}

fn is_int_or_string(any_of: &[JSONSchemaProps]) -> bool {
    let only = |name: &str| JSONSchemaProps { type_: Some(name.to_owned()), ..JSONSchemaProps::default() };
    any_of.len() == 2 && any_of[0] == only("integer") && any_of[1] == only("string")
}

/// What values must be, which may be nested.
fn values(schema: &JSONSchemaProps, skip_any_of: bool, skip_first_all_of: bool, path: &Path<'_>, errors: &mut Errors) {
    if !skip_any_of {
        for (i, schema) in list(&schema.any_of).iter().enumerate() {
            nested(schema, false, &path.child("anyOf").index(i), errors);
        }
    }
    for (i, schema) in list(&schema.all_of).iter().enumerate() {
        nested(schema, skip_first_all_of && i == 0, &path.child("allOf").index(i), errors);
    }
    for (i, schema) in list(&schema.one_of).iter().enumerate() {
        nested(schema, false, &path.child("oneOf").index(i), errors);
    }
    if let Some(schema) = &schema.not {
        nested(schema, false, &path.child("not"), errors);
    }
    if let Some(pattern) = schema.pattern.as_deref().filter(|p| !p.is_empty())
        && let Err(reason) = check_pattern(pattern)
    {
        let rule = format!("must be a valid regular expression, but isn't: {reason}");
        errors.invalid(&path.child("pattern"), pattern, &rule);
    }
}

fn nested(schema: &JSONSchemaProps, skip_any_of: bool, path: &Path<'_>, errors: &mut Errors) {
    values(schema, skip_any_of, false, path, errors);
    if let Some(items) = items(schema) {
        nested(items, false, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, property) in schema.properties.iter().flatten() {
        nested(property, false, &properties.key(name), errors);
    }
    let has_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let has_keys = schema.x_kubernetes_list_map_keys.as_ref().is_some_and(|keys| !keys.is_empty());
    let has_entries = !matches!(&schema.additional_properties, None | Some(JSONSchemaPropsOrBool::Bool(false)));
    let has_rules = schema.x_kubernetes_validations.as_ref().is_some_and(|rules| !rules.is_empty());
    for (field, said, rule) in [
        ("type", !kind(schema).is_empty(), "must be empty to be structural"),
        ("additionalProperties", has_entries, "must be undefined to be structural"),
        ("default", schema.default.is_some(), "must be undefined to be structural"),
        ("title", has_text(&schema.title), "must be empty to be structural"),
        ("description", has_text(&schema.description), "must be empty to be structural"),
        ("nullable", is(schema.nullable), "must be false to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            is(schema.x_kubernetes_preserve_unknown_fields),
            "must be false to be structural",
        ),
        ("x-kubernetes-embedded-resource", is(schema.x_kubernetes_embedded_resource), "must be false to be structural"),
        ("x-kubernetes-int-or-string", is(schema.x_kubernetes_int_or_string), "must be false to be structural"),
        ("x-kubernetes-list-map-keys", has_keys, "must be empty to be structural"),
        ("x-kubernetes-list-type", schema.x_kubernetes_list_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-map-type", schema.x_kubernetes_map_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-validations", has_rules, "must be empty to be structural"),
    ] {
        if said {
            errors.forbidden(&path.child(field), rule);
        }
    }
    if schema.properties.as_ref().is_some_and(|properties| properties.contains_key("metadata")) {
        errors.forbidden(&properties.key("metadata"), "must not be specified in a nested context");
    }
}

/// What is said of values is said of fields that the schema itself has.
fn complete(nested: &JSONSchemaProps, schema: &JSONSchemaProps, at: &Path<'_>, said: &Path<'_>, errors: &mut Errors) {
    if let Some(not) = &nested.not {
        complete_nested(not, Some(schema), at, &said.child("not"), errors);
    }
    for (name, schemas) in [("allOf", &nested.all_of), ("anyOf", &nested.any_of), ("oneOf", &nested.one_of)] {
        for (i, nested) in list(schemas).iter().enumerate() {
            complete_nested(nested, Some(schema), at, &said.child(name).index(i), errors);
        }
    }
}

fn complete_nested(
    nested: &JSONSchemaProps,
    schema: Option<&JSONSchemaProps>,
    at: &Path<'_>,
    said: &Path<'_>,
    errors: &mut Errors,
) {
    let Some(schema) = schema else {
        return errors.required(at, &format!("because it is defined in {said}"));
    };
    complete(nested, schema, at, said, errors);
    if let Some(nested) = items(nested) {
        complete_nested(nested, items(schema), &at.child("items"), &said.child("items"), errors);
    }
    let (at, said) = (at.child("properties"), said.child("properties"));
    for (name, nested) in nested.properties.iter().flatten() {
        let property = schema.properties.as_ref().and_then(|properties| properties.get(name));
        complete_nested(nested, property, &at.key(name), &said.key(name), errors);
    }
}
