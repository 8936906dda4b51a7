//! What is read of any object of any kind of the table is written again, in each form in which it may come.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{FieldValidation, Format, decode, protobuf};
use crate::any::AnyObject;
use crate::kind::Kind;
use crate::schema::tape::{object, tape, typed};
use crate::schema::{Presence, Shape};

fn read(kind: &Kind, body: &[u8], format: Format) -> AnyObject {
    decode(kind, body, format, FieldValidation::Strict).unwrap().object
}

fn written(object: &AnyObject) -> Value {
    serde_json::from_slice(&object.encode()).unwrap()
}

/// What Go writes of a value: some zero values not, others always.
fn as_go(value: &Value, shape: Shape) -> Value {
    match (shape, value) {
        (Shape::Object(id), Value::Object(given)) => {
            let mut told = Map::new();
            for field in &id.get().fields {
                let is_zero = |value: &Value| match value {
                    Value::Null | Value::Bool(false) => true,
                    Value::Number(number) => number.as_f64() == Some(0.0),
                    Value::String(text) => text.is_empty(),
                    Value::Array(all) => all.is_empty(),
                    Value::Object(all) => all.is_empty(),
                    Value::Bool(true) => false,
                };
                let given = given.get(field.name).map(|given| as_go(given, field.shape));
                // What is stored as protobuf has no empty lists and maps: none is as good.
                let is_many = matches!(field.shape, Shape::List(_) | Shape::Map(_));
                let given = given.filter(|given| !is_many || !is_zero(given));
                let value = match (field.presence, given) {
                    (Presence::WhenSet | Presence::WhenNotZero, None) => continue,
                    (Presence::WhenNotZero, Some(given)) if is_zero(&given) => continue,
                    (Presence::Always, None) => zero(field.shape),
                    (Presence::OrNull, None) => Value::Null,
                    (_, Some(given)) => given,
                };
                told.insert(field.name.to_owned(), value);
            }
            Value::Object(told)
        }
        (Shape::List(element), Value::Array(all)) => all.iter().map(|one| as_go(one, *element)).collect(),
        (Shape::Map(entry), Value::Object(all)) => {
            all.iter().map(|(key, one)| (key.clone(), as_go(one, *entry))).collect()
        }
        (_, value) => value.clone(),
    }
}

fn zero(shape: Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => "".into(),
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => 0.into(),
        Shape::Quantity => "0".into(),
        Shape::Object(_) => as_go(&Value::Object(Map::new()), shape),
        Shape::Time | Shape::MicroTime | Shape::Any | Shape::List(_) | Shape::Map(_) => Value::Null,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn what_is_read_is_written(kind: prop::sample::Index, tape in tape()) {
        let kind = *kind.get(&typed());
        let given = object(kind, &tape);
        let json = given.to_string();
        let from_json = read(kind, json.as_bytes(), Format::Json);
        prop_assert_eq!(written(&from_json), as_go(&given, Shape::Object(kind.model.schema().unwrap())));
        // And that is read as the same, with the zero values that are told.
        let again = read(kind, &from_json.encode(), Format::Json);
        prop_assert_eq!(again.encode(), from_json.encode());
        prop_assert_eq!(&read(kind, &again.encode(), Format::Json), &again);

        let yaml = super::json_to_yaml(json.as_bytes()).unwrap();
        prop_assert_eq!(&read(kind, yaml.as_bytes(), Format::Yaml), &from_json, "{}", yaml);

        if let Some(body) = protobuf::tests::written(&given, kind) {
            let from_protobuf = read(kind, &body, Format::Protobuf);
            prop_assert_eq!(written(&from_protobuf), written(&from_json), "{}", given);
        }
    }
}
