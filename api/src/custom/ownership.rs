//! What field ownership asks of a structural schema.

use serde_json::Value;

use super::structural::{Additional, ListType, Structural, Type};
use crate::ownership::{Kind, Primitive, Schema};
use crate::schema;

impl Schema for Structural {
    fn kind(&self) -> Option<Kind> {
        match self.kind {
            None if self.int_or_string => Some(Kind::Scalar(Primitive::Any)),
            None => None,
            Some(Type::Object) => Some(Kind::Object),
            Some(Type::Array) => Some(Kind::List),
            Some(Type::String) => Some(Kind::Scalar(Primitive::String)),
            Some(Type::Integer | Type::Number) => Some(Kind::Scalar(Primitive::Number)),
            Some(Type::Boolean) => Some(Kind::Scalar(Primitive::Bool)),
        }
    }

    fn property(&self, name: &str) -> Option<&dyn Schema> {
        self.properties.get(name).map(|schema| &**schema as &dyn Schema)
    }

    fn element(&self) -> Option<&dyn Schema> {
        match (&self.items, &self.additional) {
            (Some(items), _) => Some(&**items),
            (None, Additional::Schema(schema)) => Some(&**schema),
            _ => None,
        }
    }

    fn is_open(&self) -> bool {
        self.preserve_unknown_fields || matches!(self.additional, Additional::Any)
    }

    fn is_embedded_object(&self) -> bool {
        self.embedded_resource
    }

    fn list_type(&self) -> schema::ListType {
        match self.list_type {
            None | Some(ListType::Atomic) => schema::ListType::Atomic,
            Some(ListType::Set) => schema::ListType::Set,
            Some(ListType::Map) => schema::ListType::Map,
        }
    }

    fn list_keys(&self) -> &[String] {
        &self.list_map_keys
    }

    fn is_atomic_map(&self) -> bool {
        self.atomic_map
    }

    fn default(&self) -> Option<&Value> {
        self.default.as_ref()
    }
}
