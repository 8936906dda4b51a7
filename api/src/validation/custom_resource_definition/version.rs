//! The versions of a definition, and what they have besides a schema.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinitionVersion, CustomResourceSubresourceScale, JSONSchemaProps,
};

use super::schema::{self, at_path};
use super::{Common, SPEC, has_status, schema_of};
use crate::field::{Errors, Path};

pub(super) use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition as Column, CustomResourceSubresources as Subresources, SelectableField as Selectable,
};

/// How many fields may be selected by.
const SELECTABLE_MAX: usize = 8;
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn columns(version: &CustomResourceDefinitionVersion) -> &[Column] {
    version.additional_printer_columns.as_deref().unwrap_or_default()
}

pub(super) fn selectable(version: &CustomResourceDefinitionVersion) -> &[Selectable] {
    version.selectable_fields.as_deref().unwrap_or_default()
}

/// What a version has of its own.
pub(super) fn validate(
    version: &CustomResourceDefinitionVersion,
    common: &Common<'_>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    deprecation(version, &path.child("deprecationWarning"), errors);
    if !common.same_schema
        && let Some(schema) = schema_of(version)
    {
        schema::validate(schema, has_status(version), &path.child("schema"), errors);
    }
    if !common.same_subresources {
        subresources(version.subresources.as_ref(), &path.child("subresources"), errors);
    }
    if !common.same_columns {
        all_columns(columns(version), &path.child("additionalPrinterColumns"), errors);
    }
    if !common.same_selectable {
        // What all versions have in common is no more in the version, which is then as one without a schema.
        let own = schema_of(version).filter(|_| !common.same_schema);
        let rule = "may only be set when `version.schema.openAPIV3Schema` is not included";
        selectable_fields(selectable(version), own, rule, &path.child("selectableFields"), errors);
    }
}

/// What all versions have in common.
pub(super) fn validate_common(common: &Common<'_>, errors: &mut Errors) {
    let schema = common.schema.and_then(|s| s.open_api_v3_schema.as_ref());
    if let Some(schema) = schema {
        schema::validate(schema, common.any_status, &SPEC.child("validation"), errors);
    }
    subresources(common.subresources, &SPEC.child("subresources"), errors);
    all_columns(common.columns, &SPEC.child("additionalPrinterColumns"), errors);
    let rule = "may only be set when validations.schema is included";
    selectable_fields(common.selectable, schema, rule, &SPEC.child("selectableFields"), errors);
}

fn deprecation(version: &CustomResourceDefinitionVersion, path: &Path<'_>, errors: &mut Errors) {
    let Some(warning) = &version.deprecation_warning else { return };
    if version.deprecated != Some(true) {
        return errors.invalid(path, warning, "can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        errors.invalid(path, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(path, warning, "must not be an empty string");
    }
    let is_printed = |c: char| c == ' ' || !(c.is_control() || c.is_whitespace() || is_unseen(c));
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| !is_printed(*c)) {
        let rule = "must only contain printable UTF-8 characters; non-printable character found at index";
        errors.invalid(path, warning, &format!("{rule} {at}"));
    }
}

/// Letters that format others, stand for themselves or are of nobody.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..)
}

fn subresources(subresources: Option<&Subresources>, path: &Path<'_>, errors: &mut Errors) {
    let Some(scale) = subresources.and_then(|s| s.scale.as_ref()) else { return };
    let CustomResourceSubresourceScale { label_selector_path, spec_replicas_path, status_replicas_path } = scale;
    for (field, value, root) in [
        ("scale.specReplicasPath", spec_replicas_path, ".spec"),
        ("scale.statusReplicasPath", status_replicas_path, ".status"),
    ] {
        let path = path.child(field);
        if value.is_empty() {
            errors.required(&path, "");
        } else if is_simple(value, &path, errors) && !value.starts_with(&format!("{root}.")) {
            errors.invalid(&path, value, &format!("should be a json path under {root}"));
        }
    }
    let path = path.child("scale.labelSelectorPath");
    if let Some(value) = label_selector_path.as_ref().filter(|v| !v.is_empty())
        && is_simple(value, &path, errors)
        && ![".spec.", ".status."].iter().any(|root| value.starts_with(root))
    {
        errors.invalid(&path, value, "should be a json path under either .spec or .status");
    }
}

fn is_simple(json_path: &str, path: &Path<'_>, errors: &mut Errors) -> bool {
    let simple = json_path.starts_with('.');
    if !simple {
        errors.invalid(path, json_path, "must be a simple json path starting with .");
    }
    simple
}

fn all_columns(columns: &[Column], path: &Path<'_>, errors: &mut Errors) {
    for (i, column) in columns.iter().enumerate() {
        let path = path.index(i);
        if column.name.is_empty() {
            errors.required(&path.child("name"), "");
        }
        let types = format!("must be one of {}", COLUMN_TYPES.join(","));
        match column.type_.as_str() {
            "" => errors.required(&path.child("type"), &types),
            name if !COLUMN_TYPES.contains(&name) => errors.invalid(&path.child("type"), name, &types),
            _ => {}
        }
        let format = column.format.as_deref().unwrap_or_default();
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let rule = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.invalid(&path.child("format"), format, &rule);
        }
        if column.json_path.is_empty() {
            errors.required(&path.child("JSONPath"), "");
        } else {
            is_simple(&column.json_path, &path.child("JSONPath"), errors);
        }
    }
}

fn selectable_fields(
    fields: &[Selectable],
    schema: Option<&JSONSchemaProps>,
    without_schema: &str,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if fields.is_empty() {
        return;
    }
    let Some(schema) = schema else {
        return errors.invalid(path, "", without_schema);
    };
    let mut seen = BTreeSet::new();
    for (i, Selectable { json_path }) in fields.iter().enumerate() {
        let path = path.index(i);
        let path = path.child("jsonPath");
        if json_path.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let found = match at_path(json_path, schema, false) {
            Ok(found) => found,
            Err(reason) => {
                errors.invalid(&path, json_path, &format!("is an invalid path: {reason}"));
                continue;
            }
        };
        if found.steps.first().is_some_and(|step| step == "metadata") {
            errors.invalid(&path, json_path, "must not point to fields in metadata");
        }
        if !matches!(found.schema.type_.as_deref(), Some("string" | "boolean" | "integer")) {
            let rule = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.invalid(&path, json_path, rule);
        }
        if !seen.insert(found.steps) {
            errors.duplicate(&path, json_path);
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.too_many(path, seen.len(), SELECTABLE_MAX);
    }
}
