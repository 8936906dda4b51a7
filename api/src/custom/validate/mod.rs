//! What is wrong with a custom object, by its schema: `spec.size in body must be of type integer: "string"`.
//!
//! What was wrong before and has not been touched since is tolerated. In order: the schema, embedded resources, lists that
//! are sets or maps, and the rules in CEL, which are not run on an object of the wrong shape.
//!
//! Source: `k8s.io/kube-openapi/pkg/validation/validate`, `k8s.io/apiextensions-apiserver/pkg/apiserver/{schema,validation}`.

mod embedded;
mod formats;
pub(super) mod lists;
mod number;

use serde_json::{Map, Value};

use super::cel;
use super::prune::prune_part;
use super::structural::{Additional, Checks, Structural, Type};
use crate::field::{Errors, Path, Reason};

/// Where an error of the whole object is said to be. Source: how upstream prints a path that is nil.
pub(super) const NOWHERE: Path<'static> = Path::new("<nil>");
const RULES_SKIPPED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// What is wrong with an object that is to be created, or to replace `old`.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>, schema: &Structural) -> Errors {
    let mut errors = ratcheted(object, old, schema, &Path::ROOT).errors;
    embedded::validate(object, schema, &Path::ROOT, &mut errors);
    if old.is_none_or(|old| lists::validate(old, schema).is_empty()) {
        errors.append(lists::validate(object, schema));
    }
    if schema.has_rules() {
        if errors.iter().any(|error| blocks_rules(error.reason)) {
            errors.invalid(&NOWHERE, &Value::Null, RULES_SKIPPED);
        } else {
            cel::validate(object, old, schema, &mut errors);
        }
    }
    errors
}

/// What is wrong with the default of a schema, which stands at a path in it.
pub(crate) fn validate_default(default: &Value, schema: &Structural, path: &Path<'_>, errors: &mut Errors) {
    let mut pruned = default.clone();
    prune_part(&mut pruned, schema);
    if pruned != *default {
        errors.invalid(path, default, "must not have unknown fields");
    }
    let mut found = ratcheted(default, None, schema, &Path::ROOT).errors;
    embedded::validate(default, schema, &Path::ROOT, &mut found);
    if found.is_empty() {
        found.append(lists::validate(default, schema));
        cel::validate(default, None, schema, &mut found);
    }
    errors.append_below(path, found);
}

pub(crate) use formats::fits as fits_format;

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
}

/// Checks a value, and tolerates what is wrong with it if it is what it was.
fn ratcheted(value: &Value, old: Option<&Value>, schema: &Structural, path: &Path<'_>) -> Outcome {
    let mut outcome = check(value, old, schema, path);
    if !outcome.is_valid() && old == Some(value) {
        outcome.errors = Errors::new();
    }
    outcome
}

fn check(value: &Value, old: Option<&Value>, schema: &Structural, path: &Path<'_>) -> Outcome {
    let mut out = Outcome::default();
    let checks = &schema.checks;
    kind(value, schema, path, &mut out);
    if value.is_null() {
        enumeration(value, checks, path, &mut out.errors);
        return out;
    }
    composed(value, old, checks, path, &mut out);
    match value {
        Value::String(text) => string(text, checks, path, &mut out.errors),
        Value::Number(number) => number::validate(number, checks, path, &mut out.errors),
        Value::Array(list) => array(list, old, schema, path, &mut out),
        _ => {}
    }
    enumeration(value, checks, path, &mut out.errors);
    if let Value::Object(map) = value {
        object(map, old, schema, path, &mut out);
    }
    out.matched += 1;
    out
}

fn kind(value: &Value, schema: &Structural, path: &Path<'_>, out: &mut Outcome) {
    let expected = match schema.kind {
        _ if schema.int_or_string => "integer,string",
        Some(kind) => kind.as_str(),
        None => return,
    };
    let found = type_of(value);
    let fits = match (schema.kind, found) {
        (_, "null") => schema.nullable,
        (_, "integer" | "string") if schema.int_or_string => true,
        (_, "number") if schema.int_or_string || schema.kind == Some(Type::Integer) => is_whole(value),
        (Some(Type::Number), "integer") => true,
        _ => found == expected,
    };
    if fits {
        out.matched += 1;
    } else {
        type_invalid(path, expected, found, &mut out.errors);
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
    if allowed.is_empty() || allowed.contains(value) {
        return;
    }
    let names: Vec<String> = allowed.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    errors.value_not_supported(&shown(path), value, &names);
}

fn string(text: &str, checks: &Checks, path: &Path<'_>, errors: &mut Errors) {
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
    if let Some(format) = &checks.format
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
            out.merge(ratcheted(element, correlation.placed(element, i), items, &path.index(i)));
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
        return invalid(path, &count, &format!("should have at least {min} properties"), &mut out.errors);
    }
    if let Some(max) = checks.max_properties.filter(|max| count > *max) {
        return out.errors.too_many(&shown(path), map.len(), usize::try_from(max).unwrap_or(usize::MAX));
    }
    for (name, value) in map {
        let old = old.and_then(|old| old.get(name));
        let path = path.child(name);
        match (schema.properties.get(name), &schema.additional) {
            (Some(property), _) => out.merge(ratcheted(value, old, property, &path)),
            (None, Additional::Schema(entry)) => out.merge(ratcheted(value, old, entry, &path)),
            (None, Additional::Forbidden) => {
                let detail = format!("{path} in body is a forbidden property");
                out.errors.invalid(&shown(&path), "", &detail);
            }
            (None, _) => {}
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
