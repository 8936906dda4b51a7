//! The messages of gnostic's second version.

use serde_json::Value;

use super::protobuf::Message;
use super::protobuf::Shape::{self, Any, Each, Either, Entries, Flag, Inside, Number, Text, Whole};

/// What is neither paths nor types.
pub(super) static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, Shape::Message(&INFO)),
        ("security", 12, Each(&Entries(&Inside(1, &Each(&Text))))),
        ("securityDefinitions", 13, Entries(&Inside(2, &Shape::Message(&API_KEY)))),
    ],
    extensions: 16,
};

/// The field that has the paths, and the one in it that is repeated.
pub(super) const PATHS: (u32, u32) = (8, 2);
/// The field that has the types, and the one in it that is repeated.
pub(super) const DEFINITIONS: (u32, u32) = (9, 1);

static INFO: Message = Message { fields: &[("title", 1, Text), ("version", 2, Text)], extensions: 7 };

static API_KEY: Message = Message {
    fields: &[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text)],
    extensions: 5,
};

pub(super) static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Shape::Message(&OPERATION)),
        ("put", 3, Shape::Message(&OPERATION)),
        ("post", 4, Shape::Message(&OPERATION)),
        ("delete", 5, Shape::Message(&OPERATION)),
        ("patch", 8, Shape::Message(&OPERATION)),
        ("parameters", 9, Each(&PARAMETER)),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Each(&Text)),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Each(&Text)),
        ("consumes", 7, Each(&Text)),
        ("parameters", 8, Each(&PARAMETER)),
        ("responses", 9, Entries(&Inside(1, &Shape::Message(&RESPONSE)))),
        ("schemes", 10, Each(&Text)),
    ],
    extensions: 13,
};

/// A `ParametersItem`: it has a `Parameter`, and that a body or one of four others.
static PARAMETER: Shape = Inside(1, &Either(parameter));

fn parameter(value: &Value) -> &'static Shape {
    static BODY: Shape = Inside(1, &Shape::Message(&BODY_PARAMETER));
    static QUERY: Shape = Inside(2, &Inside(3, &Shape::Message(&QUERY_PARAMETER)));
    static PATH: Shape = Inside(2, &Inside(4, &Shape::Message(&PATH_PARAMETER)));
    match value["in"].as_str() {
        Some("body") => &BODY,
        Some("path") => &PATH,
        _ => &QUERY,
    }
}

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, Shape::Message(&SCHEMA)),
    ],
    extensions: 6,
};

static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
        ("uniqueItems", 20, Flag),
    ],
    extensions: 23,
};

static PATH_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("uniqueItems", 19, Flag),
    ],
    extensions: 22,
};

static RESPONSE: Message =
    Message { fields: &[("description", 1, Text), ("schema", 2, Inside(1, &Shape::Message(&SCHEMA)))], extensions: 5 };

pub(super) static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("multipleOf", 6, Number),
        ("maximum", 7, Number),
        ("exclusiveMaximum", 8, Flag),
        ("minimum", 9, Number),
        ("exclusiveMinimum", 10, Flag),
        ("maxLength", 11, Whole),
        ("minLength", 12, Whole),
        ("pattern", 13, Text),
        ("maxItems", 14, Whole),
        ("minItems", 15, Whole),
        ("uniqueItems", 16, Flag),
        ("maxProperties", 17, Whole),
        ("minProperties", 18, Whole),
        ("required", 19, Each(&Text)),
        ("enum", 20, Each(&Any)),
        ("additionalProperties", 21, Either(additional)),
        ("type", 22, Inside(1, &Text)),
        ("items", 23, Inside(1, &Shape::Message(&SCHEMA))),
        ("allOf", 24, Each(&Shape::Message(&SCHEMA))),
        ("properties", 25, Entries(&Shape::Message(&SCHEMA))),
    ],
    extensions: 31,
};

fn additional(value: &Value) -> &'static Shape {
    static SCHEMA_ITEM: Shape = Inside(1, &Shape::Message(&SCHEMA));
    static FLAG: Shape = Inside(2, &Flag);
    if value.is_boolean() { &FLAG } else { &SCHEMA_ITEM }
}
