//! What expressions are of, and what a schema makes of values.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::rc::Rc;

use super::escape::{escape, unescape};
use super::signatures;
use crate::custom::structural::{Additional, Structural, Type as JsonType};

/// A type. Those of objects are the schema's.
#[derive(Clone, Debug)]
pub(super) enum Type<'s> {
    /// Anything: what is not known until it is run.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    /// The type of types.
    Kind,
    List(Rc<Type<'s>>),
    Map(Rc<Type<'s>>, Rc<Type<'s>>),
    Optional(Rc<Type<'s>>),
    /// An object, and whether it is a resource, which has a type and metadata.
    Object(&'s Structural, bool),
    /// The metadata of a resource, of which names are known.
    Metadata,
    /// An object of which the fields are known.
    Record(&'static Record),
    /// The variables of a policy.
    Variables(Rc<BTreeMap<String, Type<'s>>>),
    /// What an expression makes, of the type that it names.
    Message(Rc<str>),
    /// A type of a library: `IP`, `CIDR`, `URL`, `Quantity`, `Semver`, `Format`.
    Opaque(&'static str),
}

/// The fields of an object and their types, as signatures name them.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: &'static str,
    pub(super) fields: &'static [(&'static str, &'static str)],
}

impl Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::Kind => f.write_str("type"),
            Type::List(of) => write!(f, "list({of})"),
            Type::Map(key, of) => write!(f, "map({key}, {of})"),
            Type::Optional(of) => write!(f, "optional_type({of})"),
            Type::Object(..) | Type::Metadata => f.write_str("object"),
            Type::Record(record) => f.write_str(record.name),
            Type::Variables(_) => f.write_str("kubernetes.variables"),
            Type::Message(name) => f.write_str(name),
            Type::Opaque(name) => write!(f, "kubernetes.{name}"),
        }
    }
}

impl<'s> Type<'s> {
    /// The type of the values of a schema, or `None` if rules cannot see them.
    pub(super) fn of(schema: &'s Structural, is_resource: bool) -> Option<Self> {
        if schema.int_or_string {
            return Some(Type::Dyn);
        }
        Some(match schema.kind? {
            JsonType::Array => Type::List(Rc::new(Type::of(schema.items.as_deref()?, false)?)),
            JsonType::Object => match &schema.additional {
                Additional::Schema(entry) => Type::Map(Rc::new(Type::String), Rc::new(Type::of(entry, false)?)),
                _ => Type::Object(schema, is_resource || schema.embedded_resource),
            },
            JsonType::String => match schema.checks.format.as_deref() {
                Some("byte") => Type::Bytes,
                Some("duration") => Type::Duration,
                Some("date" | "date-time") => Type::Timestamp,
                _ => Type::String,
            },
            JsonType::Boolean => Type::Bool,
            JsonType::Number => Type::Double,
            JsonType::Integer => Type::Int,
        })
    }

    /// The type of a field, if the type has fields and it is one.
    pub(super) fn field(&self, name: &str) -> Option<Type<'s>> {
        match self {
            Type::Dyn => Some(Type::Dyn),
            Type::Map(_, of) => Some((**of).clone()),
            Type::Record(record) => {
                let (_, of) = record.fields.iter().find(|(field, _)| *field == name)?;
                Some(signatures::type_of(of))
            }
            Type::Variables(all) => all.get(name).cloned(),
            Type::Message(_) => Some(Type::Dyn),
            Type::Opaque("Authorizer") if name == "requestResource" => Some(Type::Opaque("ResourceCheck")),
            Type::Metadata if matches!(name, "name" | "generateName") => Some(Type::String),
            Type::Object(schema, is_resource) => {
                let property = unescape(name);
                match (is_resource, property.as_str()) {
                    (true, "apiVersion" | "kind") => Some(Type::String),
                    (true, "metadata") => Some(Type::Metadata),
                    _ => {
                        // Between backticks a property may be named as it is.
                        let known = schema.properties.get(&property).filter(|_| escape(&property).is_some());
                        let schema = known.or_else(|| schema.properties.get(name))?;
                        Type::of(schema, false)
                    }
                }
            }
            _ => None,
        }
    }

    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn)
    }

    pub(super) fn list(of: Type<'s>) -> Type<'s> {
        Type::List(Rc::new(of))
    }

    pub(super) fn optional(of: Type<'s>) -> Type<'s> {
        Type::Optional(Rc::new(of))
    }

    /// Whether a value of one type may be one of the other.
    pub(super) fn fits(&self, other: &Type<'s>) -> bool {
        match (self, other) {
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            // What is nullable is not told apart: to compare with null is always allowed.
            (Type::Null, _) | (_, Type::Null) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a.fits(b),
            (Type::Map(k, a), Type::Map(l, b)) => k.fits(l) && a.fits(b),
            (Type::Object(a, _), Type::Object(b, _)) => std::ptr::eq(*a, *b),
            (Type::Opaque(a), Type::Opaque(b)) => a == b,
            (Type::Record(a), Type::Record(b)) => std::ptr::eq(*a, *b),
            (Type::Message(a), Type::Message(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// The type of a list of elements of both types.
    pub(super) fn join(self, other: &Type<'s>) -> Type<'s> {
        if self.fits(other) && !other.is_dyn() { self } else { Type::Dyn }
    }
}
