//! Reads what a strategic merge patch has made as upstream does: not as a body, but as a tree of values that are put into
//! Go's types. That is laxer with numbers, and says in words of its own what doesn't fit.
//!
//! Source: `FromUnstructured` of `k8s.io/apimachinery/pkg/runtime`.

use serde_json::Value;

use crate::go;
use crate::quantity::{self, Quantity};
use crate::schema::go as names;
use crate::schema::{Shape, Type, TypeId};

/// Makes `value` one that can be read as an object of the type `schema`: numbers are cut to their size.
///
/// # Errors
/// What upstream says of the first value that doesn't fit.
pub fn fit(value: &mut Value, schema: TypeId) -> Result<(), String> {
    fit_one(value, Shape::Object(schema), None)
}

/// The field that a value is of, and its type.
type Field<'a> = Option<(&'a Type, &'a str)>;

fn fit_one(value: &mut Value, shape: Shape, field: Field<'_>) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    match shape {
        Shape::String => match value {
            Value::String(_) => Ok(()),
            Value::Number(number) if number.is_i64() => Err(unlike(value, shape, field)),
            _ => Err("unrecognized type: string".to_owned()),
        },
        Shape::Bool if value.is_boolean() => Ok(()),
        Shape::Int32 | Shape::Int64 | Shape::Float if value.is_number() => fit_number(value, shape, field),
        Shape::Bool | Shape::Int32 | Shape::Int64 | Shape::Float => {
            Err(format!("unrecognized type: {}", names::name(shape)))
        }
        Shape::Bytes => match value {
            Value::String(_) => Ok(()),
            other => Err(format!("cannot restore slice from {}", go::kind_name(other))),
        },
        Shape::Quantity => match value {
            Value::String(text) => text.trim().parse::<Quantity>().map(drop).map_err(|error| error.to_string()),
            Value::Number(_) => Ok(()),
            _ => Err(quantity::ParseError::Format.to_string()),
        },
        Shape::Time | Shape::MicroTime if !value.is_string() => Err(unread(value, "string")),
        Shape::IntOrString if !value.is_string() && value.as_i64().and_then(|n| i32::try_from(n).ok()).is_none() => {
            Err(unread(value, "int32"))
        }
        Shape::Time | Shape::MicroTime | Shape::IntOrString | Shape::Any => Ok(()),
        Shape::List(element) => match value {
            Value::Array(elements) => elements.iter_mut().try_for_each(|one| fit_one(one, *element, field)),
            other => Err(format!("cannot restore slice from {}", go::kind_name(other))),
        },
        Shape::Map(entry) => match value {
            Value::Object(members) => members.values_mut().try_for_each(|one| fit_one(one, *entry, field)),
            other => Err(format!("cannot restore map from {}", go::kind_name(other))),
        },
        Shape::Object(id) => match value {
            Value::Object(members) => members.iter_mut().try_for_each(|(key, member)| {
                let type_ = id.get();
                match type_.field(key) {
                    Some(known) => fit_one(member, known.shape, Some((type_, known.name))),
                    None => Ok(()),
                }
            }),
            other => Err(format!("cannot restore struct from: {}", go::kind_name(other))),
        },
    }
}

/// Source: Go converts an integer to a smaller one without a word, and a number with a fraction to none.
#[allow(clippy::cast_possible_truncation, reason = "that is what Go does")]
fn fit_number(value: &mut Value, shape: Shape, field: Field<'_>) -> Result<(), String> {
    let integer = match value.as_i64() {
        Some(integer) => integer,
        None if matches!(shape, Shape::Float) => return Ok(()),
        None => match value.as_f64() {
            Some(float) if float.fract() == 0.0 => float as i64,
            _ => return Err(unlike(value, shape, field)),
        },
    };
    match shape {
        Shape::Int32 => *value = (integer as i32).into(),
        Shape::Int64 => *value = integer.into(),
        _ => {}
    }
    Ok(())
}

fn unlike(value: &Value, shape: Shape, field: Field<'_>) -> String {
    let expected = match field {
        Some((type_, field)) => names::name_of(type_, field, shape),
        None => names::name(shape),
    };
    format!("cannot convert {} to {expected}", go::type_name(value))
}

/// What a type says that reads itself.
fn unread(value: &Value, expected: &str) -> String {
    let found = match value {
        Value::Number(number) if expected != "string" => format!("number {number}"),
        other => go::json_name(other).to_owned(),
    };
    format!("json: cannot unmarshal {found} into Go value of type {expected}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema;

    fn deployment(mut value: Value) -> Result<Value, String> {
        fit(&mut value, schema::find("apps.v1.Deployment").expect("a type")).map(|()| value)
    }

    #[test]
    fn what_does_not_fit_is_told_as_upstream_tells_it() {
        let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
        for (value, expected) in [
            (json!({"spec": {"replicas": "x"}}), "unrecognized type: int32"),
            (json!({"spec": {"replicas": true}}), "unrecognized type: int32"),
            (json!({"spec": {"replicas": {}}}), "unrecognized type: int32"),
            (json!({"spec": {"replicas": 1.5}}), "cannot convert float64 to int32"),
            (json!({"spec": {"paused": 1}}), "unrecognized type: bool"),
            (json!({"spec": "x"}), "cannot restore struct from: string"),
            (json!({"spec": []}), "cannot restore struct from: slice"),
            (json!({"metadata": {"name": 7}}), "cannot convert int64 to string"),
            (json!({"metadata": {"name": 7.5}}), "unrecognized type: string"),
            (json!({"metadata": {"name": true}}), "unrecognized type: string"),
            (json!({"metadata": {"labels": "x"}}), "cannot restore map from string"),
            (json!({"metadata": {"labels": {"a": 1}}}), "cannot convert int64 to string"),
            (json!({"metadata": {"finalizers": {}}}), "cannot restore slice from map"),
            (json!({"metadata": {"uid": 1}}), "cannot convert int64 to types.UID"),
            (pod(json!({"restartPolicy": 1})), "cannot convert int64 to v1.RestartPolicy"),
            (pod(json!({"containers": [1]})), "cannot restore struct from: int64"),
            (
                pod(json!({"overhead": {"cpu": "x"}})),
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": true}}}}),
                "json: cannot unmarshal bool into Go value of type int32",
            ),
            (
                json!({"metadata": {"creationTimestamp": 1}}),
                "json: cannot unmarshal number into Go value of type string",
            ),
        ] {
            assert_eq!(deployment(value.clone()), Err(expected.to_owned()), "{value}");
        }
    }

    #[test]
    fn numbers_are_cut() {
        for (replicas, expected) in [(json!(3), 3), (json!(3.0), 3), (json!(4_294_967_301_i64), 5)] {
            let fitted = deployment(json!({"spec": {"replicas": replicas}, "bogus": [1]}));
            assert_eq!(fitted, Ok(json!({"spec": {"replicas": expected}, "bogus": [1]})));
        }
    }
}
