//! Writes typed objects as JSON the way Kubernetes' own encoder does, so that a client can't tell them apart.
//!
//! k8s-openapi leaves out what is `None` and writes everything else; Go leaves out the zero values of fields that are
//! tagged so, and writes the zero values of the others even when nobody set them. The [`Encoder`] walks the type graph
//! beside the value: a field that should be left out when zero is written and, when what was written is a zero, taken
//! back; fields that must stand are filled in as they are passed over. Quantities are written in their canonical form.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize};

use super::number;
use crate::quantity;
use crate::schema::{Field, Presence, Shape, Type};

/// Writes `value`, whose type is `root`, to the end of `out`.
///
/// # Errors
/// When the value can't be JSON: a map with keys that are not text.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, shape: Shape, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    value.serialize(Encoder { out, shape })
}

/// A value that has no JSON.
#[derive(Debug, thiserror::Error)]
#[error("cannot write as JSON: {0}")]
pub struct EncodeError(String);

impl ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Encoder<'o> {
    out: &'o mut Vec<u8>,
    shape: Shape,
}

impl Encoder<'_> {
    fn display(self, value: impl Display) -> Result<(), EncodeError> {
        write_display(self.out, format_args!("{value}"));
        Ok(())
    }
}

fn write_display(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    use std::io::Write;
    out.write_fmt(text).expect("a vector takes every byte");
}

/// Writes a JSON string.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut start = 0;
    for (i, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[start..i]);
        start = i + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => write_display(out, format_args!("\\u{control:04x}")),
        }
    }
    out.extend_from_slice(&text.as_bytes()[start..]);
    out.push(b'"');
}

/// Writes what Go writes for a value that nobody set.
pub(super) fn write_zero(out: &mut Vec<u8>, shape: Shape) {
    match shape {
        Shape::String | Shape::Bytes => out.extend_from_slice(b"\"\""),
        Shape::Bool => out.extend_from_slice(b"false"),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => out.push(b'0'),
        Shape::Quantity => out.extend_from_slice(b"\"0\""),
        Shape::Time | Shape::MicroTime | Shape::Any | Shape::List(_) | Shape::Map(_) => out.extend_from_slice(b"null"),
        Shape::Object(id) => {
            out.push(b'{');
            let mut first = true;
            for field in id.get().fields.iter().filter(|f| f.presence.is_always()) {
                write_zero_field(out, field, &mut first);
            }
            out.push(b'}');
        }
    }
}

fn write_zero_field(out: &mut Vec<u8>, field: &Field, first: &mut bool) {
    write_key(out, field.name, first);
    match field.presence {
        Presence::OrNull => out.extend_from_slice(b"null"),
        _ => write_zero(out, field.shape),
    }
}

fn write_key(out: &mut Vec<u8>, key: &str, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    write_string(out, key);
    out.push(b':');
}

impl<'o> ser::Serializer for Encoder<'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Elements<'o>;
    type SerializeTuple = Elements<'o>;
    type SerializeTupleStruct = Elements<'o>;
    type SerializeTupleVariant = ser::Impossible<(), EncodeError>;
    type SerializeMap = Entries<'o>;
    type SerializeStruct = Fields<'o>;
    type SerializeStructVariant = ser::Impossible<(), EncodeError>;

    fn serialize_bool(self, v: bool) -> Result<(), EncodeError> {
        self.out.extend_from_slice(if v { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, v: i8) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_i16(self, v: i16) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_i32(self, v: i32) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_i64(self, v: i64) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_u8(self, v: u8) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_u16(self, v: u16) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_u32(self, v: u32) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_u64(self, v: u64) -> Result<(), EncodeError> {
        self.display(v)
    }

    fn serialize_f32(self, v: f32) -> Result<(), EncodeError> {
        self.serialize_f64(f64::from(v))
    }

    fn serialize_f64(self, v: f64) -> Result<(), EncodeError> {
        // What is not finite is null.
        number::write(self.out, &v).map_err(ser::Error::custom)
    }

    fn serialize_char(self, v: char) -> Result<(), EncodeError> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), EncodeError> {
        match self.shape {
            // One that must be there, and that nobody gave.
            Shape::Quantity if v.is_empty() => self.out.extend_from_slice(b"\"0\""),
            Shape::Quantity => write_string(self.out, &quantity::canonical(v)),
            _ => write_string(self.out, v),
        }
        Ok(())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), EncodeError> {
        use base64::Engine;
        write_string(self.out, &base64::engine::general_purpose::STANDARD.encode(v));
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let mut map = self.serialize_map(Some(1))?;
        ser::SerializeMap::serialize_entry(&mut map, variant, value)?;
        ser::SerializeMap::end(map)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'o>, EncodeError> {
        let shape = if let Shape::List(element) = self.shape { *element } else { Shape::Any };
        self.out.push(b'[');
        Ok(Elements { out: self.out, shape, first: true })
    }

    fn serialize_tuple(self, len: usize) -> Result<Elements<'o>, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Elements<'o>, EncodeError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        Err(EncodeError(format!("{name} has variants of several values")))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'o>, EncodeError> {
        let shape = if let Shape::Map(element) = self.shape { *element } else { Shape::Any };
        self.out.push(b'{');
        Ok(Entries { out: self.out, shape, first: true })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'o>, EncodeError> {
        let type_ = if let Shape::Object(id) = self.shape { Some(id.get()) } else { None };
        self.out.push(b'{');
        Ok(Fields { out: self.out, type_, next: 0, first: true })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        Err(EncodeError(format!("{name} has variants with fields")))
    }
}

/// A list being written.
struct Elements<'o> {
    out: &'o mut Vec<u8>,
    shape: Shape,
    first: bool,
}

impl ser::SerializeSeq for Elements<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        encode(value, self.shape, self.out)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.out.push(b']');
        Ok(())
    }
}

impl ser::SerializeTuple for Elements<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<(), EncodeError> {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeTupleStruct for Elements<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<(), EncodeError> {
        ser::SerializeSeq::end(self)
    }
}

/// A map being written.
struct Entries<'o> {
    out: &'o mut Vec<u8>,
    shape: Shape,
    first: bool,
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        let start = self.out.len();
        encode(key, Shape::String, self.out)?;
        if self.out[start] != b'"' {
            return Err(EncodeError("a map has keys that are not text".to_owned()));
        }
        self.out.push(b':');
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        encode(value, self.shape, self.out)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.out.push(b'}');
        Ok(())
    }
}

/// An object being written; `next` is the first field of its type that has not been passed.
struct Fields<'o> {
    out: &'o mut Vec<u8>,
    type_: Option<&'static Type>,
    next: usize,
    first: bool,
}

impl Fields<'_> {
    /// The type's field of this name, having written those before it that must stand.
    fn pass_to(&mut self, key: &str) -> Option<&'static Field> {
        let type_ = self.type_?;
        let position = type_.fields[self.next..].iter().position(|f| f.name == key)? + self.next;
        for field in type_.fields[self.next..position].iter().filter(|f| f.presence.is_always()) {
            write_zero_field(self.out, field, &mut self.first);
        }
        self.next = position + 1;
        Some(&type_.fields[position])
    }
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), EncodeError> {
        let field = self.pass_to(key);
        let (start, was_first) = (self.out.len(), self.first);
        write_key(self.out, key, &mut self.first);
        let value_start = self.out.len();
        encode(value, field.map_or(Shape::Any, |f| f.shape), self.out)?;
        let Some(field) = field else { return Ok(()) };
        let written = &self.out[value_start..];
        match field.presence {
            Presence::WhenNotZero if is_zero(written) => {
                self.out.truncate(start);
                self.first = was_first;
            }
            // Go has no empty list apart from none, once stored.
            Presence::Always if matches!(field.shape, Shape::List(_) | Shape::Map(_)) && is_zero(written) => {
                self.out.truncate(value_start);
                self.out.extend_from_slice(b"null");
            }
            _ => {}
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), EncodeError> {
        if let Some(type_) = self.type_ {
            for field in type_.fields[self.next..].iter().filter(|f| f.presence.is_always()) {
                write_zero_field(self.out, field, &mut self.first);
            }
        }
        self.out.push(b'}');
        Ok(())
    }
}

fn is_zero(json: &[u8]) -> bool {
    matches!(json, b"\"\"" | b"0" | b"false" | b"[]" | b"{}" | b"null")
}
