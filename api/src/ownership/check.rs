//! Whether an applied configuration fits its type: every field is known, and no element of a list stands twice.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `validatingObjectWalker`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Error;
use super::element::step_of;
use super::step::Step;
use super::tree::Tree as _;
use super::types::{List, Map, Primitive, Taken, Type};
use crate::schema::ListType;

/// Checks a value.
///
/// # Errors
/// The first thing that does not fit, with its path.
pub(super) fn check(value: &Value, type_: Type<'_>) -> Result<(), Error> {
    match type_.atom().taken(Some(value.form())) {
        Some(_) if value.is_null() => Ok(()),
        Some(Taken::Scalar(primitive)) => check_scalar(value, primitive),
        Some(Taken::List(list)) => check_list(value, &list),
        Some(Taken::Map(map)) => check_map(value, &map),
        None => Ok(()),
    }
}

fn check_scalar(value: &Value, primitive: Primitive) -> Result<(), Error> {
    let (fits, expected) = match primitive {
        Primitive::String => (value.is_string(), "expected string"),
        Primitive::Number => (value.is_number(), "expected numeric (int or float)"),
        Primitive::Bool => (value.is_boolean(), "expected boolean"),
        Primitive::Any => (!value.is_array() && !value.is_object(), "expected any scalar"),
    };
    if fits {
        return Ok(());
    }
    let found = match (primitive, value) {
        (Primitive::Number, Value::String(_)) => "string".to_owned(),
        (Primitive::Number, Value::Bool(_)) => "bool".to_owned(),
        (Primitive::Number, Value::Array(_)) => "[]interface {}".to_owned(),
        (Primitive::Number, Value::Object(_)) => "map[string]interface {}".to_owned(),
        (_, value) => format!("&{{{value}}}"),
    };
    Err(Error::new(format!("{expected}, got {found}")))
}

fn check_list(value: &Value, list: &List<'_>) -> Result<(), Error> {
    let Value::Array(items) = value else {
        return Err(Error::new(format!("expected list, got &{{{value}}}")));
    };
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        let step = match list.list_type {
            ListType::Atomic => Step::Index(i64::try_from(i).unwrap_or(i64::MAX)),
            ListType::Set | ListType::Map => step_of(list, item).map_err(|error| error.at_element(i))?,
        };
        if seen.contains(&step) {
            return Err(Error::new(format!("duplicate entries for key {step}")));
        }
        check(item, list.element).map_err(|error| error.below(&step))?;
        seen.insert(step);
    }
    Ok(())
}

fn check_map(value: &Value, map: &Map<'_>) -> Result<(), Error> {
    let Value::Object(object) = value else {
        return Err(Error::new(format!("expected map, got &{{{value}}}")));
    };
    for (name, child) in object {
        let step = Step::Field(name.into());
        match map.child(name) {
            Some(type_) => check(child, type_).map_err(|error| error.below(&step))?,
            None => return Err(Error::new("field not declared in schema").below(&step)),
        }
    }
    Ok(())
}
