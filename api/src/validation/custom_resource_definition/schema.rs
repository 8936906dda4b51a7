//! The schema of a version: which of OpenAPI it may use, and how Kubernetes' extensions go together.
//!
//! Source: `ValidateCustomResourceDefinitionOpenAPISchema`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::structural::{self, entries, items};
use super::{defaults, rule};
use crate::custom::Structural;
use crate::field::{Errors, Path};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// What may stand at the root of a schema whose status is a subresource.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";

/// Judges the `openAPIV3Schema` under a path.
pub(super) fn validate(schema: &JSONSchemaProps, has_status: bool, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("openAPIV3Schema");
    let before = errors.len();
    if has_status {
        root_with_status(schema, path, errors);
    }
    if schema.nullable == Some(true) {
        errors.forbidden(&path.child("openAPIV3Schema.nullable"), "nullable cannot be true at the root");
    }
    let built = Structural::new(schema);
    let is_supported = structural::is_supported(schema);
    let mut wrong = if is_supported { structural::validate(schema, &at) } else { Errors::new() };
    if let (true, true, Ok(built)) = (is_supported, wrong.is_empty(), &built) {
        defaults::validate(schema, built, &at, &mut wrong);
    }
    let is_structural = is_supported && wrong.is_empty();
    errors.append(wrong);
    let mut judge = Judge { is_structural, ..Judge::default() };
    judge.node(schema, built.as_deref().ok(), Context::ROOT, &at);
    errors.append(judge.errors);
    errors.append(judge.rules.finish(&at));
    if let (true, Err(error)) = (errors.len() == before, built) {
        errors.invalid(path, "", &format!("error building validator: {error}"));
    }
}

fn root_with_status(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut Errors) {
    let kind = schema.type_.as_deref().unwrap_or_default();
    if !matches!(kind, "" | "object") {
        let rule =
            r#"only "object" is allowed as the type at the root of the schema if the status subresource is enabled"#;
        return errors.invalid(&path.child("openAPIV3Schema.type"), kind, rule);
    }
    let other = schema.id.is_some()
        || schema.schema.is_some()
        || schema.ref_path.is_some()
        || schema.definitions.is_some()
        || schema.dependencies.is_some()
        || schema.pattern_properties.is_some()
        || schema.additional_items.is_some()
        || schema.all_of.is_some()
        || schema.any_of.is_some()
        || schema.one_of.is_some()
        || schema.not.is_some()
        || schema.enum_.is_some()
        || schema.default.is_some()
        || schema.nullable == Some(true)
        || schema.additional_properties.is_some()
        || schema.min_properties.is_some()
        || schema.max_properties.is_some()
        || schema.x_kubernetes_embedded_resource == Some(true)
        || schema.x_kubernetes_int_or_string == Some(true)
        || schema.x_kubernetes_list_type.is_some()
        || schema.x_kubernetes_list_map_keys.is_some()
        || schema.x_kubernetes_map_type.is_some();
    if other {
        let rule =
            format!("only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled");
        errors.invalid(&path.child("openAPIV3Schema"), "", &rule);
    }
}

/// What stands above a node and matters for it.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) is_root: bool,
    /// Why there may be no default.
    no_default: Option<&'a str>,
    in_metadata: bool,
    /// Inside of `allOf` and the like, where rules are not run.
    pub(super) nested: bool,
    /// The nearest ancestor whose parts cannot be told to be those of before.
    pub(super) uncorrelatable: Option<&'a str>,
    /// How often the node may stand in an object, if there is a bound.
    pub(super) cardinality: Option<u64>,
}

impl Context<'_> {
    const ROOT: Context<'static> = Context {
        is_root: true,
        no_default: None,
        in_metadata: false,
        nested: false,
        uncorrelatable: None,
        cardinality: Some(1),
    };
}

/// A walk over a schema.
#[derive(Default)]
struct Judge {
    is_structural: bool,
    errors: Errors,
    rules: rule::Rules,
}

impl Judge {
    fn node(&mut self, schema: &JSONSchemaProps, built: Option<&Structural>, context: Context<'_>, path: &Path<'_>) {
        let before = self.errors.len();
        unsupported(schema, context, path, &mut self.errors);
        self.below(schema, built, Context { is_root: false, ..context }, context.is_root, path);
        extensions(schema, path, &mut self.errors);
        lists(schema, path, &mut self.errors);
        rule::words(schema, path, &mut self.errors);
        if let Some(built) = built.filter(|_| self.is_structural && self.errors.len() == before && !context.nested) {
            self.rules.compile(schema, built, context, path);
        }
    }

    fn below(
        &mut self,
        schema: &JSONSchemaProps,
        built: Option<&Structural>,
        context: Context<'_>,
        is_root: bool,
        path: &Path<'_>,
    ) {
        let text = path.to_string();
        let here = context.uncorrelatable.or(Some(text.as_str()));
        let cardinality = context.cardinality.and_then(|n| Some(n.saturating_mul(elements_max(schema)?)));
        let context = Context { cardinality, ..context };
        if let Some(JSONSchemaPropsOrBool::Schema(_) | JSONSchemaPropsOrBool::Bool(false)) =
            &schema.additional_properties
            && schema.properties.as_ref().is_some_and(|properties| !properties.is_empty())
        {
            let rule = "additionalProperties and properties are mutual exclusive";
            self.errors.forbidden(&path.child("additionalProperties"), rule);
        }
        if let Some(entries) = entries(schema) {
            let reason = "inside additionalProperties applying to object metadata";
            let no_default = if context.in_metadata { Some(reason) } else { context.no_default };
            let built = built.and_then(|b| b.child(""));
            self.node(
                entries,
                built.map(|b| &**b),
                Context { no_default, ..context },
                &path.child("additionalProperties"),
            );
        }
        let is_correlatable = matches!(schema.x_kubernetes_map_type.as_deref(), None | Some("granular" | "atomic"));
        let uncorrelatable = if is_correlatable { context.uncorrelatable } else { here };
        let properties = path.child("properties");
        for (name, property) in schema.properties.iter().flatten() {
            let is_object = is_root || schema.x_kubernetes_embedded_resource == Some(true);
            let of_type = is_object && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
            let reason = format!("in top-level {name}");
            let no_default = if of_type && is_root { Some(reason.as_str()) } else { context.no_default };
            let in_metadata = of_type || context.in_metadata;
            let context = Context { no_default, in_metadata, uncorrelatable, ..context };
            let built = built.and_then(|b| b.properties.get(name));
            self.node(property, built.map(|b| &**b), context, &properties.key(name));
        }
        let nested = Context { nested: true, ..context };
        if let Some(not) = &schema.not {
            self.node(not, None, nested, &path.child("not"));
        }
        for (name, schemas) in [("allOf", &schema.all_of), ("oneOf", &schema.one_of), ("anyOf", &schema.any_of)] {
            for (i, schema) in schemas.iter().flatten().enumerate() {
                self.node(schema, None, nested, &path.child(name).index(i));
            }
        }
        if let Some(items) = items(schema) {
            let keyed = schema.x_kubernetes_list_type.as_deref() == Some("map");
            let uncorrelatable = if keyed { context.uncorrelatable } else { here };
            let built = built.and_then(|b| b.items.as_deref());
            self.node(items, built, Context { uncorrelatable, ..context }, &path.child("items"));
        }
    }
}

/// How many parts a list or a map may have, if there is a bound.
fn elements_max(schema: &JSONSchemaProps) -> Option<u64> {
    let max = match schema.type_.as_deref() {
        Some("object") if schema.additional_properties.is_some() => schema.max_properties?,
        Some("array") => schema.max_items?,
        _ => 1,
    };
    Some(u64::try_from(max).unwrap_or(0))
}

fn unsupported(schema: &JSONSchemaProps, context: Context<'_>, path: &Path<'_>, errors: &mut Errors) {
    let kind = schema.type_.as_deref().unwrap_or_default();
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.not_supported(&path.child("type"), kind, &TYPES);
    }
    if let (Some(_), Some(reason)) = (&schema.default, context.no_default) {
        errors.forbidden(&path.child("default"), &format!("must not be set {reason}"));
    }
    let filled = |map: &Option<std::collections::BTreeMap<String, JSONSchemaProps>>| {
        map.as_ref().is_some_and(|map| !map.is_empty())
    };
    for (field, said, rule) in [
        ("id", schema.id.as_ref().is_some_and(|id| !id.is_empty()), "id is not supported"),
        ("additionalItems", schema.additional_items.is_some(), "additionalItems is not supported"),
        ("patternProperties", filled(&schema.pattern_properties), "patternProperties is not supported"),
        ("definitions", filled(&schema.definitions), "definitions is not supported"),
        ("dependencies", schema.dependencies.is_some(), "dependencies is not supported"),
        ("$ref", schema.ref_path.is_some(), "$ref is not supported"),
        ("type", kind == "null", "type cannot be set to null, use nullable as an alternative"),
        (
            "items",
            matches!(&schema.items, Some(JSONSchemaPropsOrArray::Schemas(list)) if !list.is_empty()),
            "items must be a schema object and not an array",
        ),
        (
            "x-kubernetes-embedded-resource",
            context.in_metadata && schema.x_kubernetes_embedded_resource == Some(true),
            "must not be used inside of resource meta",
        ),
        (
            "uniqueItems",
            schema.unique_items == Some(true),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
    ] {
        if said {
            errors.forbidden(&path.child(field), rule);
        }
    }
}

fn extensions(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut Errors) {
    let kind = schema.type_.as_deref().unwrap_or_default();
    if schema.x_kubernetes_preserve_unknown_fields == Some(false) {
        errors.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), &false, "must be true or undefined");
    }
    let mut of_type = |field: &str, value: &Option<String>, wanted: &str, allowed: &[&str]| {
        let Some(value) = value else { return };
        let rule = format!("must be {wanted} if {field} is specified");
        match kind {
            "" => errors.required(&path.child("type"), &rule),
            _ if kind != wanted => errors.invalid(&path.child("type"), kind, &rule),
            _ => {}
        }
        if !allowed.contains(&value.as_str()) {
            errors.not_supported(&path.child(field), value, allowed);
        }
    };
    of_type("x-kubernetes-map-type", &schema.x_kubernetes_map_type, "object", &["atomic", "granular"]);
    of_type("x-kubernetes-list-type", &schema.x_kubernetes_list_type, "array", &["atomic", "set", "map"]);
}

/// Lists that are sets or maps.
fn lists(schema: &JSONSchemaProps, path: &Path<'_>, errors: &mut Errors) {
    let list_type = schema.x_kubernetes_list_type.as_deref();
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let type_path = path.child("x-kubernetes-list-type");
    if !keys.is_empty() && list_type != Some("map") {
        let rule = "must be map if x-kubernetes-list-map-keys is non-empty";
        match list_type {
            None => errors.required(&type_path, rule),
            Some(other) => errors.invalid(&type_path, other, rule),
        }
    }
    let items_path = path.child("items");
    match (list_type, items(schema)) {
        (Some("set"), Some(items)) if schema.type_.as_deref() == Some("array") => {
            set_elements(items, &items_path, errors);
        }
        (Some("map"), items) => {
            if keys.is_empty() {
                let rule = "must not be empty if x-kubernetes-list-type is map";
                errors.required(&path.child("x-kubernetes-list-map-keys"), rule);
            }
            match items {
                None if schema.items.is_none() => {
                    errors.required(&items_path, "must have a schema if x-kubernetes-list-type is map");
                }
                None => {
                    let rule = "must only have a single schema if x-kubernetes-list-type is map";
                    errors.invalid(&items_path, "", rule);
                }
                Some(items) => map_elements(items, keys, path, errors),
            }
        }
        _ => {}
    }
    if let (Some(kind @ ("set" | "map")), Some(items)) = (list_type, items(schema)) {
        if items.nullable == Some(true) {
            let rule = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
            errors.forbidden(&items_path.child("nullable"), &rule);
        }
        if kind == "map" {
            key_properties(items, keys, &items_path, errors);
        }
    }
}

fn set_elements(items: &JSONSchemaProps, path: &Path<'_>, errors: &mut Errors) {
    let rule = "must be atomic as item of a list with x-kubernetes-list-type=set";
    match (items.type_.as_deref(), items.x_kubernetes_list_type.as_deref(), items.x_kubernetes_map_type.as_deref()) {
        (Some("array"), Some(list_type), _) if list_type != "atomic" => {
            errors.invalid(&path.child("x-kubernetes-list-type"), list_type, rule);
        }
        (Some("object"), list_type, map_type) if map_type != Some("atomic") => {
            errors.invalid(&path.child("x-kubernetes-map-type"), &list_type, rule);
        }
        _ => {}
    }
}

fn map_elements(items: &JSONSchemaProps, keys: &[String], path: &Path<'_>, errors: &mut Errors) {
    let items_path = path.child("items");
    let kind = items.type_.as_deref().unwrap_or_default();
    if kind != "object" {
        let rule = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.invalid(&items_path.child("type"), kind, rule);
    }
    let keys_path = path.child("x-kubernetes-list-map-keys");
    let properties = items_path.child("properties");
    for (i, key) in keys.iter().enumerate() {
        match items.properties.as_ref().and_then(|properties| properties.get(key)) {
            None => errors.invalid(&keys_path, keys, "entries must all be names of item properties"),
            Some(property) if matches!(property.type_.as_deref(), Some("array" | "object")) => {
                let rule = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.invalid(&properties.key(key).child("type"), kind, rule);
            }
            Some(_) => {}
        }
        if keys[..i].contains(key) {
            errors.invalid(&keys_path, keys, "must not contain duplicate entries");
        }
    }
}

/// The keys of elements are always there.
fn key_properties(items: &JSONSchemaProps, keys: &[String], path: &Path<'_>, errors: &mut Errors) {
    let properties = path.child("properties");
    let required = items.required.as_deref().unwrap_or_default();
    for key in keys {
        let Some(property) = items.properties.as_ref().and_then(|properties| properties.get(key)) else { continue };
        let path = properties.key(key);
        if !required.contains(key) && property.default.is_none() {
            let rule =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.required(&path.child("default"), rule);
        }
        if property.nullable == Some(true) {
            let rule = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&path.child("nullable"), rule);
        }
    }
}

/// Where a path into objects leads in their schema.
pub(super) struct Found<'a> {
    pub(super) schema: &'a JSONSchemaProps,
    pub(super) steps: Vec<String>,
}

/// Follows a path such as `.spec.x` or `.labels['a.b']`. Source: `ValidFieldPath`.
pub(super) fn at_path<'a>(path: &str, schema: &'a JSONSchemaProps, with_brackets: bool) -> Result<Found<'a>, String> {
    let mut found = Found { schema, steps: Vec::new() };
    for step in crate::custom::cel::field_path(path, with_brackets)? {
        let properties = found.schema.properties.as_ref().filter(|properties| !properties.is_empty());
        found.schema = match (properties, entries(found.schema)) {
            (Some(properties), _) => properties.get(&step).ok_or("does not refer to a valid field")?,
            (None, Some(entries)) => entries,
            _ => return Err("does not refer to a valid field".to_owned()),
        };
        found.steps.push(step);
    }
    Ok(found)
}
