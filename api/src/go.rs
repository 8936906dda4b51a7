//! Values as Go prints them: messages about patches show the patch so.
//!
//! Source: the verbs `%v` and `%s` of Go's `fmt`, for what its JSON decoder makes: maps, lists, text, `int64`, `float64`.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// A value as `%v` shows it: `map[spec:map[replicas:x]]`.
#[must_use]
pub fn shown(value: &Value) -> String {
    let mut text = String::new();
    show(value, &mut text);
    text
}

fn show(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("<nil>"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&show_number(number)),
        Value::String(value) => text.push_str(value),
        Value::Array(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(' ');
                }
                show(element, text);
            }
            text.push(']');
        }
        Value::Object(members) => show_map(members, text),
    }
}

fn show_map(members: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by_key(|(key, _)| key.as_bytes());
    text.push_str("map[");
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        let space = if index > 0 { " " } else { "" };
        // A string takes every text.
        let _ = write!(text, "{space}{key}:");
        show(value, text);
    }
    text.push(']');
}

/// Source: the shortest digits, with an exponent below -4 and from 21 on.
fn show_number(number: &Number) -> String {
    if let Some(integer) = number.as_i64() {
        return integer.to_string();
    }
    let float = number.as_f64().unwrap_or_default();
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or_default() {
        -4..21 => format!("{float}"),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

/// A value as `%s` shows it: what is no text says so.
#[must_use]
pub(crate) fn shown_as_text(value: &Value) -> String {
    match value {
        Value::Null => "%!s(<nil>)".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("%!s({}={})", type_name(value), shown(value)),
        other => shown(other),
    }
}

/// The Go type of a value.
#[must_use]
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What sort of type that is.
#[must_use]
pub(crate) fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
        other => type_name(other),
    }
}

/// What Go's decoder calls a value.
#[must_use]
pub(crate) fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_shown_as_go_shows_them() {
        for (value, expected) in [
            (json!({"spec": {"replicas": "x"}}), "map[spec:map[replicas:x]]"),
            (json!({"b": [1, "a b", true], "a": null, "B": {}}), "map[B:map[] a:<nil> b:[1 a b true]]"),
            (
                json!([1.5, 1e20, 1e21, 0.0001, 0.00001, -2.5e-7, 1.0]),
                "[1.5 100000000000000000000 1e+21 0.0001 1e-05 -2.5e-07 1]",
            ),
        ] {
            assert_eq!(shown(&value), expected);
        }
        assert_eq!(shown_as_text(&json!(5)), "%!s(int64=5)");
        assert_eq!(shown_as_text(&json!("x")), "x");
    }
}
