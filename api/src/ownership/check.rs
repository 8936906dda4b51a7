//! Whether an applied configuration fits its type: every field is known, and no element of a list stands twice.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `validatingObjectWalker`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Error;
use super::element::step_of;
use super::go::{Plain, Syntax};
use super::step::Step;
use super::tree::Tree as _;
use super::types::{List, Map, Primitive, Taken, Type};
use crate::schema::ListType;

/// Checks a value.
///
/// # Errors
/// What does not fit, with its path: one thing alone, or a list of many.
pub(super) fn check(value: &Value, type_: Type<'_>) -> Result<(), Error> {
    let mut errors = Vec::new();
    walk(value, type_, &mut errors);
    match &errors[..] {
        [] => Ok(()),
        [only] => Err(only.clone()),
        all => {
            let lines: Vec<String> = all.iter().map(|error| format!("  {error}")).collect();
            Err(Error::new(format!("errors:\n{}", lines.join("\n"))))
        }
    }
}

fn walk(value: &Value, type_: Type<'_>, errors: &mut Vec<Error>) {
    match type_.atom().taken(Some(value.form())) {
        Some(_) if value.is_null() => {}
        Some(Taken::Scalar(primitive)) => errors.extend(check_scalar(value, primitive)),
        Some(Taken::List(list)) => check_list(value, &list, errors),
        Some(Taken::Map(map)) => check_map(value, &map, errors),
        None => {}
    }
}

/// Checks what is below a step.
fn walk_below(value: &Value, type_: Type<'_>, step: &Step<'_>, errors: &mut Vec<Error>) {
    let before = errors.len();
    walk(value, type_, errors);
    if errors.len() > before {
        let found = errors.split_off(before);
        errors.extend(found.into_iter().map(|error| error.below(step)));
    }
}

fn check_scalar(value: &Value, primitive: Primitive) -> Option<Error> {
    let (fits, expected) = match primitive {
        Primitive::String => (value.is_string(), "expected string"),
        Primitive::Number => (value.is_number(), "expected numeric (int or float)"),
        Primitive::Bool => (value.is_boolean(), "expected boolean"),
        Primitive::Any => (!value.is_array() && !value.is_object(), "expected any scalar"),
    };
    if fits {
        return None;
    }
    let found = match (primitive, value) {
        (Primitive::Number, Value::String(_)) => "string".to_owned(),
        (Primitive::Number, Value::Bool(_)) => "bool".to_owned(),
        (Primitive::Number, Value::Array(_)) => "[]interface {}".to_owned(),
        (Primitive::Number, Value::Object(_)) => "map[string]interface {}".to_owned(),
        (Primitive::String, value) => format!("&value.valueUnstructured{{Value:{}}}", Syntax(value)),
        (_, value) => format!("&{{{}}}", Plain(value)),
    };
    Some(Error::new(format!("{expected}, got {found}")))
}

fn check_list(value: &Value, list: &List<'_>, errors: &mut Vec<Error>) {
    let Value::Array(items) = value else {
        errors.push(Error::new(format!("expected list, got &{{{}}}", Plain(value))));
        return;
    };
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        let step = match list.list_type {
            ListType::Atomic => Step::Index(i64::try_from(i).unwrap_or(i64::MAX)),
            ListType::Set | ListType::Map => match step_of(list, item) {
                Ok(step) => step,
                // Nothing can be said of an element that is told apart by nothing, nor of those after it.
                Err(error) => return errors.push(error.at_element(i)),
            },
        };
        if seen.contains(&step) {
            errors.push(Error::new(format!("duplicate entries for key {step}")));
        }
        walk_below(item, list.element, &step, errors);
        seen.insert(step);
    }
}

fn check_map(value: &Value, map: &Map<'_>, errors: &mut Vec<Error>) {
    let Value::Object(object) = value else {
        errors.push(Error::new(format!("expected map, got &{{{}}}", Plain(value))));
        return;
    };
    for (name, child) in object {
        let step = Step::Field(name.into());
        match map.child(name) {
            Some(type_) => walk_below(child, type_, &step, errors),
            // The others are not looked at.
            None => return errors.push(Error::new("field not declared in schema").below(&step)),
        }
    }
}
