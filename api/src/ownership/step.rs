//! One step of a path: how a field, an element or an entry is told apart from its siblings.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/fieldpath`, for what a step is, how steps are ordered and how they are
//! written.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Display};

use serde_json::Value;

use super::tree::{Form, Tape, Tree as _};
use crate::codec::write_string;

/// Names and values of keys, sorted by name.
pub type Keys<'a> = Box<[(Cow<'a, str>, Scalar<'a>)]>;

/// A way from a value to one inside of it. The order is that in which upstream writes a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step<'a> {
    /// A field of an object, or an entry of a map.
    Field(Cow<'a, str>),
    /// An element of a list, by the values of its keys, which are sorted by name.
    Key(Keys<'a>),
    /// An element of a set, by its value.
    Value(Scalar<'a>),
    /// An element by its place.
    Index(i64),
}

/// What elements are told apart by. Numbers come before texts, and those before booleans.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar<'a> {
    Number(Number),
    String(Cow<'a, str>),
    Bool(bool),
    Null,
}

/// A number, whole or not: both are compared by what they stand for.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Whole(i64),
    Real(f64),
}

impl Number {
    fn real(self) -> f64 {
        match self {
            #[allow(clippy::cast_precision_loss, reason = "as upstream compares a whole number with one that is not")]
            Number::Whole(whole) => whole as f64,
            Number::Real(real) => real,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a.cmp(b),
            (a, b) if a.real() == b.real() => Ordering::Equal,
            (a, b) => a.real().total_cmp(&b.real()),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        number.as_i64().map_or_else(|| Self::Real(number.as_f64().unwrap_or_default()), Self::Whole)
    }
}

impl<'a> Scalar<'a> {
    /// The scalar that a value is, if it is one.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        Some(match value {
            Value::Null => Scalar::Null,
            Value::Bool(bool) => Scalar::Bool(*bool),
            Value::Number(number) => Scalar::Number(number.into()),
            Value::String(text) => Scalar::String(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    fn into_owned(self) -> Scalar<'static> {
        match self {
            Scalar::Number(number) => Scalar::Number(number),
            Scalar::String(text) => Scalar::String(Cow::Owned(text.into_owned())),
            Scalar::Bool(bool) => Scalar::Bool(bool),
            Scalar::Null => Scalar::Null,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Scalar::Number(Number::Whole(whole)) => out.extend_from_slice(whole.to_string().as_bytes()),
            Scalar::Number(Number::Real(real)) => out.extend_from_slice(real.to_string().as_bytes()),
            Scalar::String(text) => write_string(out, text),
            Scalar::Bool(true) => out.extend_from_slice(b"true"),
            Scalar::Bool(false) => out.extend_from_slice(b"false"),
            Scalar::Null => out.extend_from_slice(b"null"),
        }
    }
}

impl Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Number(Number::Whole(whole)) => write!(f, "{whole}"),
            Scalar::Number(Number::Real(real)) => write!(f, "{real}"),
            Scalar::String(text) => write!(f, "{text:?}"),
            Scalar::Bool(bool) => write!(f, "{bool}"),
            Scalar::Null => f.write_str("null"),
        }
    }
}

/// As in conflicts: `.spec`, `[name="c"]`, `[="value"]`, `[0]`.
impl Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Key(keys) => {
                for (i, (name, value)) in keys.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i == 0 { '[' } else { ',' })?;
                }
                f.write_str("]")
            }
            Step::Value(value) => write!(f, "[={value}]"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A text that is no step.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a step of a path")]
pub struct NotAStep(String);

impl<'a> Step<'a> {
    /// Reads a step as it is written in a set: `f:name`, `k:{"name":"c"}`, `v:"value"`, `i:0`. One of a kind that is not
    /// known is none, and to be passed over.
    ///
    /// # Errors
    /// When it is no step.
    pub(super) fn parse(text: Cow<'a, str>) -> Result<Option<Self>, NotAStep> {
        let refuse = |text: &str| NotAStep(text.to_owned());
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| kind.len() == 1) else {
            return Err(refuse(&text));
        };
        Ok(Some(match kind {
            "f" => Step::Field(match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[2..]),
                Cow::Owned(mut text) => {
                    text.drain(..2);
                    Cow::Owned(text)
                }
            }),
            "k" => Step::Key(read_keys(rest).ok_or_else(|| refuse(&text))?),
            "v" => {
                let value = Tape::read(rest.as_bytes()).ok().and_then(|tape| Some(tape.root().scalar()?.into_owned()));
                Step::Value(value.ok_or_else(|| refuse(&text))?)
            }
            "i" => Step::Index(rest.parse().map_err(|_| refuse(&text))?),
            _ => return Ok(None),
        }))
    }

    /// The step with names of its own.
    pub(super) fn into_owned(self) -> Step<'static> {
        let owned = |name: Cow<'a, str>| -> Cow<'static, str> { Cow::Owned(name.into_owned()) };
        match self {
            Step::Field(name) => Step::Field(owned(name)),
            Step::Key(keys) => {
                Step::Key(keys.into_iter().map(|(name, value)| (owned(name), value.into_owned())).collect())
            }
            Step::Value(value) => Step::Value(value.into_owned()),
            Step::Index(index) => Step::Index(index),
        }
    }

    /// Writes the step as the name of a member, with quotes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut inner = Vec::new();
        match self {
            Step::Field(name) => {
                // The name of a field that needs no escape, which is nearly all there is.
                if name.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                    out.extend_from_slice(b"\"f:");
                    out.extend_from_slice(name.as_bytes());
                    out.push(b'"');
                    return;
                }
                inner.extend_from_slice(b"f:");
                inner.extend_from_slice(name.as_bytes());
            }
            Step::Key(keys) => {
                inner.extend_from_slice(b"k:{");
                for (i, (name, value)) in keys.iter().enumerate() {
                    if i > 0 {
                        inner.push(b',');
                    }
                    write_string(&mut inner, name);
                    inner.push(b':');
                    value.write(&mut inner);
                }
                inner.push(b'}');
            }
            Step::Value(value) => {
                inner.extend_from_slice(b"v:");
                value.write(&mut inner);
            }
            Step::Index(index) => inner.extend_from_slice(format!("i:{index}").as_bytes()),
        }
        write_string(out, &String::from_utf8_lossy(&inner));
    }
}

/// Names of keys that need no copy: nearly all there are.
const KNOWN_KEYS: [&str; 12] = [
    "name",
    "type",
    "containerPort",
    "protocol",
    "port",
    "mountPath",
    "uid",
    "ip",
    "devicePath",
    "topologyKey",
    "whenUnsatisfiable",
    "key",
];

/// The keys of an element, of which there is one at least.
fn read_keys(text: &str) -> Option<Keys<'static>> {
    let tape = Tape::read(text.as_bytes()).ok()?;
    if tape.root().form() != Form::Map {
        return None;
    }
    let mut keys = Vec::with_capacity(2);
    for (name, value) in tape.root().entries() {
        let known = KNOWN_KEYS.iter().find(|known| **known == name);
        let name = known.map_or_else(|| Cow::Owned(name.into_owned()), |known| Cow::Borrowed(*known));
        keys.push((name, value.scalar()?.into_owned()));
    }
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    Some(keys.into())
}
