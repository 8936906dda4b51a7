//! What is wrong with a custom object, by its schema: `spec.size in body must be of type integer: "string"`.
//!
//! What was wrong before and has not been touched since is tolerated. In order: the schema, the paths of the scale
//! subresource, embedded resources, lists that are sets or maps, and the rules in CEL, which are not run on an object of the
//! wrong shape.
//!
//! Source: `k8s.io/kube-openapi/pkg/validation/validate`, `k8s.io/apiextensions-apiserver/pkg/apiserver/{schema,validation}`.

mod embedded;
mod formats;
pub(super) mod lists;
mod number;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceSubresourceScale;
use serde_json::{Map, Value};

use super::prune::prune_part;
use super::structural::{Additional, Checks, Structural};
use super::{cel, scale};
use crate::field::{Errors, Path, Reason};

/// Where an error of the whole object is said to be. Source: how upstream prints a path that is nil.
pub(super) const NOWHERE: Path<'static> = Path::new("<nil>");
const RULES_SKIPPED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// What is wrong with an object that is to be created, or to replace `old`.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>, schema: &Structural) -> Errors {
    let mut errors = Errors::new();
    judge(object, old, schema, None, &mut errors);
    errors
}

/// Adds what is wrong with an object, of which `errors` tells already what is wrong with its metadata.
pub(super) fn judge(
    object: &Value,
    old: Option<&Value>,
    schema: &Structural,
    scale: Option<&CustomResourceSubresourceScale>,
    errors: &mut Errors,
) {
    errors.append(ratcheted(object, old, schema, &Path::ROOT).told());
    if let Some(scale) = scale {
        scale::validate(object, scale, errors);
    }
    embedded::validate(object, schema, schema.embedded_resource, &Path::ROOT, errors);
    invariants(object, old, schema, errors);
}

/// The same for a write of the status, of which alone is asked what its schema says.
pub(super) fn judge_status(
    object: &Value,
    old: Option<&Value>,
    schema: &Structural,
    scale: Option<&CustomResourceSubresourceScale>,
    errors: &mut Errors,
) {
    if let (Some(status), Some(schema)) = (object.get("status"), schema.properties.get("status")) {
        let old = old.and_then(|old| old.get("status"));
        errors.append_below(&Path::new("status"), ratcheted(status, old, schema, &Path::ROOT).told());
    }
    if let Some(scale) = scale {
        scale::validate_status(object, scale, errors);
    }
    invariants(object, old, schema, errors);
}

/// Lists that are sets or maps, and rules.
fn invariants(object: &Value, old: Option<&Value>, schema: &Structural, errors: &mut Errors) {
    if old.is_none_or(|old| lists::validate(old, schema).is_empty()) {
        errors.append(lists::validate(object, schema));
    }
    if schema.has_rules() {
        if errors.iter().any(|error| blocks_rules(error.reason)) {
            errors.invalid(&NOWHERE, &Value::Null, RULES_SKIPPED);
        } else {
            cel::validate(object, old, schema, true, errors);
        }
    }
}

/// What is wrong with the default of a schema, which stands at a path in it, and is that of a whole object or not.
pub(crate) fn validate_default(
    default: &Value,
    schema: &Structural,
    is_resource: bool,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let mut pruned = default.clone();
    prune_part(&mut pruned, schema, is_resource);
    if pruned != *default {
        errors.invalid(path, default, "must not have unknown fields");
    }
    let mut found = embedded::misread(default, schema, is_resource, &Path::ROOT).unwrap_or_default();
    if found.is_empty() {
        embedded::validate(default, schema, is_resource, &Path::ROOT, &mut found);
    }
    if found.is_empty() {
        found = ratcheted(default, None, schema, &Path::ROOT).told();
    }
    if found.is_empty() {
        // As on an update that leaves it alone, and then as where it comes anew.
        cel::validate(default, Some(default), schema, is_resource, &mut found);
        if found.is_empty() {
            cel::validate(default, None, schema, is_resource, &mut found);
        }
    }
    errors.append_below(path, found);
}

pub(super) use embedded::{misread_map, read_meta};
pub(crate) use formats::{fits as fits_format, is_known as is_known_format};

fn blocks_rules(reason: Reason) -> bool {
    use Reason::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(reason, NotSupported | Required | TooLong | TooMany | TypeInvalid)
}

/// What a check found, and how much of it fitted: of several alternatives, the errors of the best are told.
#[derive(Default)]
struct Outcome {
    errors: Errors,
    matched: usize,
}

impl Outcome {
    fn merge(&mut self, other: Outcome) {
        self.errors.append(other.errors);
        self.matched += other.matched;
    }

    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// What was found, each fault once.
    fn told(mut self) -> Errors {
        self.errors.dedup();
        self.errors
    }
}

/// Checks a value, and tolerates what is wrong with it if it is what it was.
fn ratcheted(value: &Value, old: Option<&Value>, schema: &Structural, path: &Path<'_>) -> Outcome {
    let mut outcome = check(value, old, schema, path);
    if !outcome.is_valid() && old.is_some_and(|old| lists::unchanged(old, value, schema)) {
        outcome.errors = Errors::new();
    }
    outcome
}

/// Checks a value. The numbers are what upstream counts for a check that was made, and for one that was passed.
fn check(value: &Value, old: Option<&Value>, schema: &Structural, path: &Path<'_>) -> Outcome {
    let mut out = Outcome::default();
    let checks = &schema.checks;
    kind(value, schema, path, &mut out);
    if value.is_null() {
        enumeration(value, checks, path, &mut out.errors);
        return out;
    }
    composed(value, old, checks, path, &mut out);
    out.matched += 2;
    match value {
        Value::String(text) => {
            string(text, schema, path, &mut out.errors);
            out.matched += 1 + usize::from(format_of(schema).is_some());
        }
        Value::Number(number) => {
            number::validate(number, schema, format_of(schema), path, &mut out.errors);
            out.matched += 2;
        }
        Value::Array(list) => {
            array(list, old, schema, path, &mut out);
            out.matched += 2;
        }
        _ => {}
    }
    enumeration(value, checks, path, &mut out.errors);
    out.matched += 1;
    if let Value::Object(map) = value {
        object(map, old, schema, path, &mut out);
        out.matched += 1;
    }
    out.matched += 1;
    out
}

/// The format of a schema, if there is such a one for values of its type.
fn format_of(schema: &Structural) -> Option<&str> {
    schema.checks.format.as_deref().filter(|format| formats::is_known(schema.kind, format))
}

fn kind(value: &Value, schema: &Structural, path: &Path<'_>, out: &mut Outcome) {
    let (types, format) = match schema.kind {
        _ if schema.int_or_string => ("integer,string", format_of(schema)),
        Some(kind) => (kind.as_str(), format_of(schema)),
        None => ("", format_of(schema)),
    };
    if types.is_empty() && format.is_none() {
        return;
    }
    out.matched += usize::from(!value.is_null());
    let found = type_of(value);
    let is_of = |kind: &str| types.split(',').any(|one| one == kind);
    let fits = is_of(found)
        || (found == "number" && is_of("integer") && is_whole(value))
        || (found == "integer" && is_of("number"));
    let in_text = matches!(value, Value::String(_) | Value::Array(_));
    let number_format = match found {
        "integer" => "int64",
        "number" => "float64",
        _ => "",
    };
    match format {
        _ if value.is_null() && (types.is_empty() || schema.nullable) => out.matched += 1,
        Some(format) if !in_text && !value.is_null() && !fits && format != number_format => {
            type_invalid(path, format, number_format, &mut out.errors);
        }
        // What has a format of text is asked for no more, be it text or a list.
        Some(_) if in_text && !is_of("integer") && !is_of("number") => out.matched += 1,
        _ if fits => out.matched += 1,
        _ => type_invalid(path, types, found, &mut out.errors),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0)
}

fn type_invalid(path: &Path<'_>, expected: &str, found: &str, errors: &mut Errors) {
    let detail = format!("{path} in body must be of type {expected}: {found:?}");
    errors.type_invalid(&shown(path), found, &detail);
}

/// The path that is told: the whole object has none.
fn shown<'a>(path: &Path<'a>) -> Path<'a> {
    if path.is_root() { NOWHERE } else { *path }
}

fn invalid<V: serde::Serialize + ?Sized>(path: &Path<'_>, value: &V, rule: &str, errors: &mut Errors) {
    errors.invalid(&shown(path), value, &format!("{path} in body {rule}"));
}

fn enumeration(value: &Value, checks: &Checks, path: &Path<'_>, errors: &mut Errors) {
    let Some(allowed) = &checks.enumeration else { return };
    let is_one = |one: &Value| match (one, value) {
        (Value::Number(one), Value::Number(value)) => one == value || one.as_f64() == value.as_f64(),
        (one, value) => one == value,
    };
    // Nothing is none of those that are allowed, even where they name it.
    if allowed.is_empty() || (!value.is_null() && allowed.iter().any(is_one)) {
        return;
    }
    let names: Vec<String> = allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    errors.value_not_supported(&shown(path), value, &names);
}

fn string(text: &str, schema: &Structural, path: &Path<'_>, errors: &mut Errors) {
    let checks = &schema.checks;
    let length = || u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    if let Some(max) = checks.max_length
        && length() > max
    {
        errors.too_long(&shown(path), usize::try_from(max).unwrap_or(usize::MAX));
    } else if let Some(min) = checks.min_length
        && length() < min
    {
        invalid(path, text, &format!("should be at least {min} chars long"), errors);
    } else if checks.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
        invalid(path, text, &format!("should match '{}'", checks.pattern_text), errors);
    }
    if let Some(format) = format_of(schema)
        && !formats::fits(format, text)
    {
        type_invalid_format(path, format, text, errors);
    }
}

fn type_invalid_format(path: &Path<'_>, format: &str, text: &str, errors: &mut Errors) {
    let detail = format!("{path} in body must be of type {format}: {text:?}");
    errors.type_invalid(&shown(path), text, &detail);
}

fn array(list: &[Value], old: Option<&Value>, schema: &Structural, path: &Path<'_>, out: &mut Outcome) {
    let checks = &schema.checks;
    let count = u64::try_from(list.len()).unwrap_or(u64::MAX);
    if let Some(items) = &schema.items {
        let correlation = lists::Correlation::new(old, schema);
        for (i, element) in list.iter().enumerate() {
            out.merge(ratcheted(element, correlation.keyed(element), items, &path.index(i)));
        }
    }
    if let Some(min) = checks.min_items.filter(|min| count < *min) {
        invalid(path, &count, &format!("should have at least {min} items"), &mut out.errors);
    }
    if let Some(max) = checks.max_items.filter(|max| count > *max) {
        out.errors.too_many(&shown(path), list.len(), usize::try_from(max).unwrap_or(usize::MAX));
    }
    if checks.unique_items && !lists::repeated(list.iter()).is_empty() {
        invalid(path, "", "shouldn't contain duplicates", &mut out.errors);
    }
}

fn object(map: &Map<String, Value>, old: Option<&Value>, schema: &Structural, path: &Path<'_>, out: &mut Outcome) {
    let checks = &schema.checks;
    let count = u64::try_from(map.len()).unwrap_or(u64::MAX);
    if let Some(min) = checks.min_properties.filter(|min| count < *min) {
        invalid(path, &count, &format!("should have at least {min} properties"), &mut out.errors);
    }
    if let Some(max) = checks.max_properties.filter(|max| count > *max) {
        out.errors.too_many(&shown(path), map.len(), usize::try_from(max).unwrap_or(usize::MAX));
    }
    let of_schema = |(name, _): &(&String, &Value)| schema.properties.contains_key(*name);
    let (known, others): (Vec<_>, Vec<_>) = map.iter().partition(of_schema);
    let below = |name: &str, value: &Value, schema: &Structural| {
        ratcheted(value, old.and_then(|old| old.get(name)), schema, &path.child(name))
    };
    for (name, value) in others {
        match &schema.additional {
            Additional::Schema(entry) => out.merge(below(name, value, entry)),
            Additional::Forbidden => {
                let detail = format!("{path}.{name} in body is a forbidden property");
                out.errors.invalid(&shown(path), name, &detail);
            }
            _ => {}
        }
    }
    for (name, value) in known {
        if let Some(property) = schema.properties.get(name) {
            out.merge(below(name, value, property));
        }
    }
    for name in checks.required.iter().filter(|name| !map.contains_key(*name)) {
        out.errors.required(&path.child(name), "");
    }
}

/// `anyOf`, `oneOf`, `allOf` and `not`.
fn composed(value: &Value, old: Option<&Value>, checks: &Checks, path: &Path<'_>, out: &mut Outcome) {
    let name = if path.is_root() { String::new() } else { path.to_string() };
    let whole = |detail: &str, out: &mut Outcome| out.errors.invalid(&NOWHERE, "", &format!("{name:?} {detail}"));
    if !checks.any_of.is_empty() {
        let (valid, best) = alternatives(value, old, &checks.any_of, true, path);
        if valid == 0 {
            whole("must validate at least one schema (anyOf)", out);
        }
        out.merge(best);
    }
    if !checks.one_of.is_empty() {
        let (valid, best) = alternatives(value, old, &checks.one_of, false, path);
        match valid {
            0 => whole("must validate one and only one schema (oneOf). Found none valid", out),
            1 => {}
            n => whole(&format!("must validate one and only one schema (oneOf). Found {n} valid alternatives"), out),
        }
        out.merge(best);
    }
    let mut valid = 0;
    for schema in &checks.all_of {
        let found = check(value, old, schema, path);
        valid += usize::from(found.is_valid());
        out.merge(found);
    }
    if valid < checks.all_of.len() {
        let none = if valid == 0 { ". None validated" } else { "" };
        whole(&format!("must validate all the schemas (allOf){none}"), out);
    }
    if checks.not.as_ref().is_some_and(|schema| check(value, old, schema, path).is_valid()) {
        whole("must not validate the schema (not)", out);
    }
}

/// How many of the alternatives fit, and what the first that fits found, or if none does the one that nearly did.
fn alternatives(
    value: &Value,
    old: Option<&Value>,
    schemas: &[std::sync::Arc<Structural>],
    first_suffices: bool,
    path: &Path<'_>,
) -> (usize, Outcome) {
    let mut valid = 0;
    let mut best: Option<Outcome> = None;
    for schema in schemas {
        let found = check(value, old, schema, path);
        let better = match &best {
            None => true,
            Some(best) => valid == 0 && (found.is_valid() || found.matched > best.matched),
        };
        valid += usize::from(found.is_valid());
        if better {
            best = Some(found);
        }
        if first_suffices && valid > 0 {
            break;
        }
    }
    (valid, best.unwrap_or_default())
}

#[cfg(test)]
mod tests;
