//! Documents as gnostic writes them: each JSON value by a table that says which field of which message it is.
//!
//! Source: `openapiv2/OpenAPIv2.proto` and `openapiv3/OpenAPIv3.proto` of google/gnostic.

use serde_json::{Map, Value};

/// What a JSON value becomes.
pub(super) enum Shape {
    Text,
    Flag,
    /// A `double`.
    Number,
    /// An `int64`.
    Whole,
    /// Anything, as YAML.
    Any,
    Message(&'static Message),
    /// A message with one field, which holds it.
    Inside(u32, &'static Shape),
    /// A field that is repeated, for each element.
    Each(&'static Shape),
    /// A message that holds the entries of an object in its first field, each as a name and a value.
    Entries(&'static Shape),
    /// The same in another field.
    Numbered(u32, &'static Shape),
    /// What there is no field for.
    Nothing,
    /// It depends on the value.
    Either(fn(&Value) -> &'static Shape),
}

/// A message that an object becomes.
pub(super) struct Message {
    /// Key, number of the field, and shape.
    pub(super) fields: &'static [(&'static str, u32, Shape)],
    /// The field that takes the keys with `x-`, each as a name and a value.
    pub(super) extensions: u32,
}

/// A name with its value, as an element of a repeated field.
pub(super) fn named(out: &mut Vec<u8>, number: u32, name: &str, shape: &Shape, value: &Value) {
    let mut entry = Vec::new();
    bytes(&mut entry, 1, name.as_bytes());
    field(&mut entry, 2, shape, value);
    bytes(out, number, &entry);
}

/// A field, or nothing where the value is of another type.
pub(super) fn field(out: &mut Vec<u8>, number: u32, shape: &Shape, value: &Value) {
    match (shape, value) {
        (Shape::Text, Value::String(text)) => bytes(out, number, text.as_bytes()),
        (Shape::Flag, Value::Bool(true)) => {
            tag(out, number, VARINT);
            varint(out, 1);
        }
        (Shape::Number, Value::Number(n)) => {
            tag(out, number, FIXED);
            out.extend_from_slice(&n.as_f64().unwrap_or_default().to_le_bytes());
        }
        (Shape::Whole, Value::Number(n)) => {
            tag(out, number, VARINT);
            varint(out, n.as_i64().unwrap_or_default().cast_unsigned());
        }
        (Shape::Any, value) => {
            let mut any = Vec::new();
            bytes(&mut any, 2, format!("{value}\n").as_bytes());
            bytes(out, number, &any);
        }
        (Shape::Message(kind), value @ Value::Object(_)) => bytes(out, number, &message(kind, value)),
        (Shape::Inside(inner, shape), value) => {
            let mut outer = Vec::new();
            field(&mut outer, *inner, shape, value);
            bytes(out, number, &outer);
        }
        (Shape::Each(shape), Value::Array(elements)) => {
            elements.iter().for_each(|element| field(out, number, shape, element));
        }
        (Shape::Entries(shape), Value::Object(entries)) => named_all(out, number, 1, shape, entries),
        (Shape::Numbered(inner, shape), Value::Object(entries)) => named_all(out, number, *inner, shape, entries),
        (Shape::Either(choose), value) => field(out, number, choose(value), value),
        _ => {}
    }
}

fn named_all(out: &mut Vec<u8>, number: u32, repeated: u32, shape: &Shape, entries: &Map<String, Value>) {
    let mut inner = Vec::new();
    entries.iter().for_each(|(name, value)| named(&mut inner, repeated, name, shape, value));
    bytes(out, number, &inner);
}

/// The bytes of a message.
pub(super) fn message(kind: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let Value::Object(entries) = value else { return out };
    for (key, number, shape) in kind.fields {
        if let Some(value) = entries.get(*key) {
            field(&mut out, *number, shape, value);
        }
    }
    for (key, value) in entries.iter().filter(|(key, _)| key.starts_with("x-")) {
        named(&mut out, kind.extensions, key, &Shape::Any, value);
    }
    out
}

const VARINT: u32 = 0;
const FIXED: u32 = 1;
const BYTES: u32 = 2;

fn tag(out: &mut Vec<u8>, number: u32, wire: u32) {
    varint(out, u64::from(number << 3 | wire));
}

/// A field of bytes: a text, or a message.
pub(super) fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    tag(out, number, BYTES);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_become_fields() {
        static INNER: Message = Message { fields: &[("a", 1, Shape::Text)], extensions: 2 };
        static OUTER: Message = Message {
            fields: &[
                ("flag", 1, Shape::Flag),
                ("number", 2, Shape::Number),
                ("whole", 3, Shape::Whole),
                ("list", 4, Shape::Each(&Shape::Text)),
                ("map", 5, Shape::Entries(&Shape::Message(&INNER))),
                ("inside", 6, Shape::Inside(1, &Shape::Text)),
            ],
            extensions: 16,
        };
        for (value, expected) in [
            (json!({"flag": true}), vec![0x08, 1]),
            (json!({"flag": false, "other": 1}), vec![]),
            (json!({"number": 1.0}), vec![0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
            (json!({"whole": 300}), vec![0x18, 0xac, 0x02]),
            (json!({"list": ["x", "y"]}), vec![0x22, 1, b'x', 0x22, 1, b'y']),
            (json!({"map": {"k": {"a": "v"}}}), vec![0x2a, 10, 0x0a, 8, 0x0a, 1, b'k', 0x12, 3, 0x0a, 1, b'v']),
            (json!({"inside": "x"}), vec![0x32, 3, 0x0a, 1, b'x']),
            (json!({"x-y": 1}), vec![0x82, 0x01, 11, 0x0a, 3, b'x', b'-', b'y', 0x12, 4, 0x12, 2, b'1', b'\n']),
        ] {
            assert_eq!(message(&OUTER, &value), expected, "{value}");
        }
    }
}
