//! The rules that fields of many kinds have.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

use crate::field::{Errors, Path};
use crate::names;

pub(super) const IMMUTABLE: &str = "field is immutable";
pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub(super) const POSITIVE: &str = "must be greater than 0";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";

/// A text, empty where there is none.
pub(super) fn text(value: Option<&String>) -> &str {
    value.map(String::as_str).unwrap_or_default()
}

/// A text must be there.
pub(super) fn required(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    }
}

/// A text must be there and pass a check of names.
pub(super) fn named(value: &str, check: fn(&str) -> Vec<String>, path: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    } else {
        errors.invalid_each(path, value, check(value));
    }
}

/// A text, if there is one, must pass a check of names.
pub(super) fn named_if_set(
    value: Option<&String>,
    check: fn(&str) -> Vec<String>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if let Some(value) = value.filter(|v| !v.is_empty()) {
        errors.invalid_each(path, value, check(value));
    }
}

/// A text must be one of a few.
pub(super) fn one_of(value: &str, supported: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if !supported.contains(&value) {
        errors.not_supported(path, value, supported);
    }
}

/// A text must be there and be one of a few.
pub(super) fn required_one_of(value: &str, supported: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    } else {
        one_of(value, supported, path, errors);
    }
}

/// A text, if there is one, must be one of a few.
pub(super) fn one_of_if_set(value: Option<&String>, supported: &[&str], path: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = value {
        one_of(value, supported, path, errors);
    }
}

/// A number must not be negative.
pub(super) fn not_negative<N: Into<i64> + Copy>(value: Option<N>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(value) = value.map(Into::into).filter(|v| *v < 0) {
        errors.invalid(path, &value, NOT_NEGATIVE);
    }
}

/// A number must be in a range.
pub(super) fn between<N: Into<i64> + Copy>(value: N, low: i64, high: i64, path: &Path<'_>, errors: &mut Errors) {
    let value = value.into();
    if !(low..=high).contains(&value) {
        errors.invalid(path, &value, &names::not_between(low, high));
    }
}

/// A port's number must be one.
pub(super) fn port(value: i32, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(path, &value, names::port_number(value));
}

/// A port is a number or the name of one.
pub(super) fn port_or_name(value: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => port(*number, path, errors),
        IntOrString::String(name) => errors.invalid_each(path, name, names::port_name(name)),
    }
}

/// A number or a percentage must be one, and not be negative.
pub(super) fn int_or_percent(value: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => not_negative(Some(*number), path, errors),
        IntOrString::String(text) if percent(text).is_none() => errors.invalid(path, text, PERCENT),
        IntOrString::String(_) => {}
    }
}

/// A percentage must not be of more than there is.
pub(super) fn at_most_all(value: &IntOrString, path: &Path<'_>, errors: &mut Errors) {
    if matches!(value, IntOrString::String(text) if percent(text).is_some_and(|percent| percent > 100)) {
        errors.invalid(path, value, "must not be greater than 100%");
    }
}

/// The number that a number or a percentage says; none is zero, and so is what says none.
pub(super) fn amount(value: Option<&IntOrString>) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => percent(text).or_else(|| text.parse().ok()).unwrap_or(0),
    }
}

fn percent(text: &str) -> Option<i32> {
    let digits = text.strip_suffix('%').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))?;
    Some(digits.parse().unwrap_or(i32::MAX))
}

/// A count must not go down.
pub(super) fn not_decremented(new: Option<i32>, old: Option<i32>, path: &Path<'_>, errors: &mut Errors) {
    if old.is_some_and(|old| new.is_none_or(|new| new < old)) {
        errors.invalid(path, &new.unwrap_or(0), "cannot be decremented");
    }
}

/// A field must stay as it is.
pub(super) fn immutable<T: PartialEq + Serialize>(new: &T, old: &T, path: &Path<'_>, errors: &mut Errors) {
    if new != old {
        errors.invalid(path, new, IMMUTABLE);
    }
}

/// Every element must have a key of its own; `at` is the path of the key in the element.
pub(super) fn unique<T, K: Hash + Eq + Serialize>(
    elements: &[T],
    key_of: impl Fn(&T) -> Option<K>,
    path: &Path<'_>,
    at: Option<&str>,
    errors: &mut Errors,
) {
    if elements.len() < 2 {
        return;
    }
    let mut seen = HashSet::new();
    for (i, element) in elements.iter().enumerate() {
        let Some(key) = key_of(element) else { continue };
        let element_path = path.index(i);
        if seen.contains(&key) {
            match at {
                Some(at) => errors.duplicate(&element_path.child(at), &key),
                None => errors.duplicate(&element_path, &key),
            }
        }
        seen.insert(key);
    }
}

/// A path must stay inside of what it is relative to.
pub(super) fn relative_path(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    }
    no_backsteps(value, path, errors);
}

/// A path must not go up.
pub(super) fn no_backsteps(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.split('/').any(|part| part == "..") {
        errors.invalid(path, value, "must not contain '..'");
    }
}

/// The sum of the sizes of a map's values.
pub(super) fn size<V>(map: Option<&BTreeMap<String, V>>, len: fn(&V) -> usize) -> usize {
    map.into_iter().flatten().map(|(_, v)| len(v)).sum()
}
