//! The messages of gnostic's third version.

use serde_json::Value;

use super::protobuf::Message;
use super::protobuf::Shape::{self, Any, Each, Either, Entries, Flag, Inside, Number, Text, Whole};

/// What is neither paths nor types.
pub(super) static DOCUMENT: Message =
    Message { fields: &[("openapi", 1, Text), ("info", 2, Shape::Message(&INFO))], extensions: 9 };

/// The field that has the paths, and the one in it that is repeated.
pub(super) const PATHS: (u32, u32) = (4, 1);
/// The field that has the components, the one in it that has the types, and the one in that that is repeated.
pub(super) const COMPONENTS: u32 = 5;
pub(super) const SCHEMAS: (u32, u32) = (1, 1);
/// The field of the components that has the ways to prove who one is.
pub(super) const SECURITY_SCHEMES: (u32, Shape) = (6, Entries(&Inside(1, &Shape::Message(&SECURITY_SCHEME))));

static INFO: Message = Message { fields: &[("title", 1, Text), ("version", 6, Text)], extensions: 7 };

static SECURITY_SCHEME: Message = Message {
    fields: &[("type", 1, Text), ("description", 2, Text), ("name", 3, Text), ("in", 4, Text)],
    extensions: 9,
};

pub(super) static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 4, Shape::Message(&OPERATION)),
        ("put", 5, Shape::Message(&OPERATION)),
        ("post", 6, Shape::Message(&OPERATION)),
        ("delete", 7, Shape::Message(&OPERATION)),
        ("patch", 10, Shape::Message(&OPERATION)),
        ("parameters", 13, Each(&PARAMETER)),
    ],
    extensions: 14,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Each(&Text)),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("parameters", 6, Each(&PARAMETER)),
        ("requestBody", 7, Inside(1, &Shape::Message(&REQUEST_BODY))),
        ("responses", 8, Shape::Numbered(2, &Inside(1, &Shape::Message(&RESPONSE)))),
    ],
    extensions: 13,
};

static PARAMETER: Shape = Inside(1, &Shape::Message(&PARAMETER_MESSAGE));

static PARAMETER_MESSAGE: Message = Message {
    fields: &[
        ("name", 1, Text),
        ("in", 2, Text),
        ("description", 3, Text),
        ("required", 4, Flag),
        ("schema", 10, SCHEMA_OR_REFERENCE),
    ],
    extensions: 14,
};

static REQUEST_BODY: Message = Message { fields: &[("content", 2, CONTENT), ("required", 3, Flag)], extensions: 4 };

static RESPONSE: Message = Message { fields: &[("description", 1, Text), ("content", 3, CONTENT)], extensions: 5 };

const CONTENT: Shape = Entries(&Shape::Message(&MEDIA_TYPE));

static MEDIA_TYPE: Message = Message { fields: &[("schema", 1, SCHEMA_OR_REFERENCE)], extensions: 5 };

pub(super) const SCHEMA_OR_REFERENCE: Shape = Either(schema_or_reference);

fn schema_or_reference(value: &Value) -> &'static Shape {
    static ITSELF: Shape = Inside(1, &Shape::Message(&SCHEMA));
    static REFERENCE: Shape =
        Inside(2, &Shape::Message(&Message { fields: &[("$ref", 1, Text), ("description", 3, Text)], extensions: 0 }));
    if value.get("$ref").is_some() { &REFERENCE } else { &ITSELF }
}

static SCHEMA: Message = Message {
    fields: &[
        ("nullable", 1, Flag),
        ("title", 9, Text),
        ("multipleOf", 10, Number),
        ("maximum", 11, Number),
        ("exclusiveMaximum", 12, Flag),
        ("minimum", 13, Number),
        ("exclusiveMinimum", 14, Flag),
        ("maxLength", 15, Whole),
        ("minLength", 16, Whole),
        ("pattern", 17, Text),
        ("maxItems", 18, Whole),
        ("minItems", 19, Whole),
        ("uniqueItems", 20, Flag),
        ("maxProperties", 21, Whole),
        ("minProperties", 22, Whole),
        ("required", 23, Each(&Text)),
        ("enum", 24, Each(&Any)),
        ("type", 25, Text),
        ("allOf", 26, Each(&SCHEMA_OR_REFERENCE)),
        ("oneOf", 27, Each(&SCHEMA_OR_REFERENCE)),
        ("anyOf", 28, Each(&SCHEMA_OR_REFERENCE)),
        ("not", 29, Shape::Message(&SCHEMA)),
        ("items", 30, Inside(1, &SCHEMA_OR_REFERENCE)),
        ("properties", 31, Entries(&SCHEMA_OR_REFERENCE)),
        ("additionalProperties", 32, Either(additional)),
        ("default", 33, Either(default)),
        ("description", 34, Text),
        ("format", 35, Text),
    ],
    extensions: 36,
};

fn additional(value: &Value) -> &'static Shape {
    static ITEM: Shape = Inside(1, &SCHEMA_OR_REFERENCE);
    static FLAG: Shape = Inside(2, &Flag);
    if value.is_boolean() { &FLAG } else { &ITEM }
}

/// A default is a number, a flag or a text; there is no field for another.
fn default(value: &Value) -> &'static Shape {
    static NUMBER: Shape = Inside(1, &Number);
    static FLAG: Shape = Inside(2, &Flag);
    static TEXT: Shape = Inside(3, &Text);
    static NOTHING: Shape = Shape::Nothing;
    match value {
        Value::Number(_) => &NUMBER,
        Value::Bool(_) => &FLAG,
        Value::String(_) => &TEXT,
        _ => &NOTHING,
    }
}
