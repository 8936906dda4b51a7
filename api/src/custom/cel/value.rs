//! What expressions are worth.
//!
//! The object that rules judge is not copied: lists and objects in it are views, which know their schema and are read as
//! they are asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value as Json;

use super::duration;
use super::escape::unescape;
use super::library::{semver::Semver, url::Url};
use crate::custom::structural::{ListType, Structural, Type as JsonType};
use crate::quantity::Quantity;

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Rc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(Rc<Vec<Value<'a>>>),
    Map(Rc<BTreeMap<Key, Value<'a>>>),
    /// A list or an object of the object that is judged.
    View(View<'a>),
    Optional(Option<Rc<Value<'a>>>),
    Type(&'static str),
    Ip(IpAddr),
    Cidr(IpAddr, u8),
    Url(Rc<Url>),
    Quantity(Quantity),
    Semver(Rc<Semver>),
    /// A named format of text.
    Format(&'static str),
}

/// A list or an object where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) json: &'a Json,
    pub(super) schema: Option<&'a Structural>,
}

/// Text that is borrowed or shared, so that to pass it on never copies it.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

/// What a map is looked up by. Whole numbers of all types are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Int(i128),
    String(Rc<str>),
}

impl Key {
    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Key::Bool(*b),
            Value::Int(n) => Key::Int(i128::from(*n)),
            Value::Uint(n) => Key::Int(i128::from(*n)),
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
            Value::Double(n) if n.fract() == 0.0 && n.abs() < 1e18 => Key::Int(*n as i128),
            Value::String(text) => Key::String(Rc::from(&**text)),
            _ => return None,
        })
    }

    pub(super) fn value<'a>(&self) -> Value<'a> {
        match self {
            Key::Bool(b) => Value::Bool(*b),
            Key::Int(n) => {
                i64::try_from(*n).map_or_else(|_| Value::Uint(u64::try_from(*n).unwrap_or(u64::MAX)), Value::Int)
            }
            Key::String(text) => Value::String(Text::Shared(Rc::clone(text))),
        }
    }
}

impl<'a> Value<'a> {
    /// A part of the judged object, by its schema.
    pub(super) fn of(json: &'a Json, schema: Option<&'a Structural>) -> Self {
        let kind = schema.and_then(|s| s.kind);
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) if kind == Some(JsonType::Number) => Value::Double(n.as_f64().unwrap_or(f64::NAN)),
            #[expect(clippy::cast_possible_truncation, reason = "a cast saturates")]
            Json::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(n), _) => Value::Int(n),
                (None, Some(n)) if kind == Some(JsonType::Integer) => Value::Int(n as i64),
                (None, n) => Value::Double(n.unwrap_or(f64::NAN)),
            },
            Json::String(text) => {
                let format = schema.filter(|s| !s.int_or_string).and_then(|s| s.checks.format.as_deref());
                formatted(text, format).unwrap_or(Value::String(Text::Borrowed(text)))
            }
            Json::Array(_) | Json::Object(_) => Value::View(View { json, schema }),
        }
    }

    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Value::String(Text::Shared(text.into()))
    }

    pub(super) fn list(elements: Vec<Value<'a>>) -> Self {
        Value::List(Rc::new(elements))
    }

    pub(super) fn some(value: Value<'a>) -> Self {
        Value::Optional(Some(Rc::new(value)))
    }

    /// The name of its type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::View(view) if view.json.is_array() => "list",
            Value::View(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Ip(_) => "net.IP",
            Value::Cidr(..) => "net.CIDR",
            Value::Url(_) => "kubernetes.URL",
            Value::Quantity(_) => "kubernetes.Quantity",
            Value::Semver(_) => "kubernetes.Semver",
            Value::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// How many elements, entries, letters or bytes it has.
    pub(super) fn size(&self) -> Option<usize> {
        Some(match self {
            Value::String(text) => text.chars().count(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            Value::View(View { json: Json::Array(list), .. }) => list.len(),
            Value::View(View { json: Json::Object(map), .. }) => map.len(),
            _ => return None,
        })
    }

    /// About how much work it is to go over it once, in cost.
    pub(super) fn weight(&self) -> u64 {
        let bytes = match self {
            Value::String(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => return self.size().map_or(1, |n| u64::try_from(n).unwrap_or(u64::MAX)).max(1),
        };
        u64::try_from(bytes / 10).unwrap_or(u64::MAX) + 1
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Value::List(_) | Value::View(View { json: Json::Array(_), .. }))
    }

    /// An element of a list.
    pub(super) fn at(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Value::List(list) => list.get(index).cloned(),
            Value::View(View { json: Json::Array(list), schema }) => {
                let items = schema.and_then(|s| s.items.as_deref());
                list.get(index).map(|json| Value::of(json, items))
            }
            _ => None,
        }
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> Option<impl Iterator<Item = Value<'a>> + '_> {
        let count = self.size().filter(|_| self.is_list())?;
        Some((0..count).filter_map(|i| self.at(i)))
    }

    /// The keys of a map.
    pub(super) fn keys(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Value::Map(map) => Some(map.keys().map(Key::value).collect()),
            Value::View(View { json: Json::Object(map), .. }) => {
                Some(map.keys().map(|key| Value::String(Text::Borrowed(key))).collect())
            }
            _ => None,
        }
    }

    /// What a map has under a key.
    pub(super) fn entry(&self, key: &Value<'a>) -> Option<Value<'a>> {
        match (self, key) {
            (Value::Map(map), _) => map.get(&Key::of(key)?).cloned(),
            (Value::View(view @ View { json: Json::Object(map), .. }), Value::String(name)) => {
                map.get(&**name).map(|json| Value::of(json, view.child(name)))
            }
            _ => None,
        }
    }

    /// A field of an object, whose name may be escaped.
    pub(super) fn field(&self, name: &'a str) -> Option<Value<'a>> {
        if let Value::View(View { schema: Some(schema), .. }) = self
            && !schema.properties.is_empty()
        {
            let property = unescape(name);
            if property != name
                && let Some(found) = self.entry(&Value::text(property.as_str()))
            {
                return Some(found);
            }
        }
        self.entry(&Value::String(Text::Borrowed(name)))
    }

    /// How a list of the judged object is owned, which is how it compares and adds up.
    pub(super) fn list_type(&self) -> Option<(ListType, &'a [String])> {
        match self {
            Value::View(View { schema: Some(schema), .. }) => Some((schema.list_type?, &schema.list_map_keys)),
            _ => None,
        }
    }
}

impl<'a> View<'a> {
    fn child(&self, name: &str) -> Option<&'a Structural> {
        self.schema.and_then(|schema| schema.child(name)).map(|child| &**child)
    }
}

fn formatted<'a>(text: &str, format: Option<&str>) -> Option<Value<'a>> {
    match format? {
        "byte" => STANDARD.decode(text).ok().map(|bytes| Value::Bytes(bytes.into())),
        "duration" => duration::parse_lenient(text).map(Value::Duration),
        "date" => format!("{text}T00:00:00Z").parse().ok().map(Value::Timestamp),
        "date-time" => text.parse().ok().map(Value::Timestamp),
        _ => None,
    }
}
