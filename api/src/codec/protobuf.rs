//! Protobuf bodies become JSON, and then take the same path as JSON bodies: `kubectl create deployment` and others of
//! Go's typed clients send them, whatever they accept as an answer.
//!
//! A body is the magic number, and then a `runtime.Unknown` with the object's version and kind and its bytes. The bytes
//! are read along the type graph, with the field numbers of `api/schema/protobuf.txt`; zero values that Go's JSON would
//! leave out are left out.
//!
//! Source: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf`, and the wire format of Protocol Buffers.

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::limits;
use crate::schema::{Presence, Shape, Type};

static TEXT: &str = include_str!("../../schema/protobuf.txt");

/// What every body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the body does not begin as protobuf of Kubernetes does")]
    Magic,
    #[error("unexpected end of protobuf")]
    End,
    #[error("proto: illegal wireType or tag")]
    Wire,
    #[error("proto: a text is not UTF-8")]
    Utf8,
    #[error("proto: a time is out of range")]
    Time,
    #[error("proto: a raw value is not JSON")]
    Raw,
    #[error("exceeded max depth of {}", limits::NESTING_MAX)]
    Depth,
}

/// Turns a body into JSON of an object of the type `root`.
pub(super) fn to_json(body: &[u8], root: &'static Type) -> Result<Vec<u8>, Error> {
    let envelope = body.strip_prefix(MAGIC).ok_or(Error::Magic)?;
    let (mut api_version, mut kind, mut raw) = (Value::Null, Value::Null, &[][..]);
    each(envelope, |number, wire| {
        match number {
            1 => each(wire.bytes()?, |number, wire| {
                match number {
                    1 => api_version = text(wire)?,
                    2 => kind = text(wire)?,
                    _ => {}
                }
                Ok(())
            })?,
            2 => raw = wire.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    let mut object = message(raw, root, 0)?;
    object.insert("apiVersion".to_owned(), api_version);
    object.insert("kind".to_owned(), kind);
    Ok(serde_json::to_vec(&object).expect("a value has keys of text"))
}

/// A field as it stands on the wire.
#[derive(Clone, Copy)]
enum Wire<'b> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'b [u8]),
}

impl<'b> Wire<'b> {
    fn bytes(self) -> Result<&'b [u8], Error> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(Error::Wire) }
    }

    fn varint(self) -> Result<u64, Error> {
        if let Self::Varint(number) = self { Ok(number) } else { Err(Error::Wire) }
    }

    /// A signed number. Protobuf writes negative ones as 64 bits.
    fn signed(self) -> Result<i64, Error> {
        self.varint().map(u64::cast_signed)
    }
}

/// Calls `visit` with every field of a message.
fn each<'b>(mut message: &'b [u8], mut visit: impl FnMut(u64, Wire<'b>) -> Result<(), Error>) -> Result<(), Error> {
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(take_varint(&mut message)?),
            1 => Wire::Fixed64(u64::from_le_bytes(take_array(&mut message)?)),
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).map_err(|_| Error::End)?;
                let (bytes, rest) = message.split_at_checked(length).ok_or(Error::End)?;
                message = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(take_array(&mut message)?)),
            _ => return Err(Error::Wire),
        };
        visit(tag >> 3, wire)?;
    }
    Ok(())
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Error> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(Error::End)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Error::Wire)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Error> {
    let (array, rest) = bytes.split_first_chunk().ok_or(Error::End)?;
    *bytes = rest;
    Ok(*array)
}

/// A message as an object.
fn message(bytes: &[u8], type_: &'static Type, depth: usize) -> Result<Map<String, Value>, Error> {
    let mut object = Map::new();
    if let Some(numbers) = numbers().get(type_.name) {
        members(bytes, type_, numbers, depth, &mut object)?;
    }
    object.retain(|name, value| {
        let presence = type_.field(name).map(|field| field.presence);
        !value.is_null() && (presence != Some(Presence::WhenNotZero) || !is_zero(value))
    });
    Ok(object)
}

/// Puts the fields of a message into `object`, those of embedded messages too.
fn members(
    bytes: &[u8],
    type_: &'static Type,
    numbers: &Numbers,
    depth: usize,
    object: &mut Map<String, Value>,
) -> Result<(), Error> {
    if depth > limits::NESTING_MAX {
        return Err(Error::Depth);
    }
    each(bytes, |number, wire| match numbers.get(&number) {
        Some(Member::Embedded(name)) => match self::numbers().get(name) {
            Some(numbers) => members(wire.bytes()?, type_, numbers, depth + 1, object),
            None => Ok(()),
        },
        Some(Member::Field(name)) => match type_.field(name) {
            Some(field) => add(object, name, field.shape, wire, depth),
            None => Ok(()),
        },
        // A field that is newer than we are.
        None => Ok(()),
    })
}

/// Adds what one occurrence of a field says: lists and maps have one for each element.
fn add(object: &mut Map<String, Value>, name: &str, shape: Shape, wire: Wire<'_>, depth: usize) -> Result<(), Error> {
    match shape {
        Shape::List(element) => {
            let all = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(all) = all else { return Ok(()) };
            match (element, wire) {
                // Numbers may be packed.
                (Shape::Int32 | Shape::Int64, Wire::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        all.push(take_varint(&mut packed)?.cast_signed().into());
                    }
                }
                _ => all.push(value(*element, wire, depth)?),
            }
        }
        Shape::Map(entry) => {
            let (mut key, mut found) = (String::new(), None);
            each(wire.bytes()?, |number, wire| {
                match number {
                    1 => key = utf8(wire.bytes()?)?,
                    2 => found = Some(value(*entry, wire, depth)?),
                    _ => {}
                }
                Ok(())
            })?;
            let all = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(all) = all {
                all.insert(key, found.unwrap_or_else(|| zero(*entry)));
            }
        }
        shape => {
            object.insert(name.to_owned(), value(shape, wire, depth)?);
        }
    }
    Ok(())
}

fn value(shape: Shape, wire: Wire<'_>, depth: usize) -> Result<Value, Error> {
    Ok(match shape {
        Shape::String => text(wire)?,
        Shape::Bool => (wire.varint()? != 0).into(),
        // A negative one is written as 64 bits, of which these are the last.
        Shape::Int32 => i64::from(wire.signed()? as i32).into(),
        Shape::Int64 => wire.signed()?.into(),
        Shape::Float => match wire {
            Wire::Fixed64(bits) => f64::from_bits(bits).into(),
            Wire::Fixed32(bits) => f64::from(f32::from_bits(bits)).into(),
            _ => return Err(Error::Wire),
        },
        Shape::Bytes => STANDARD.encode(wire.bytes()?).into(),
        Shape::Quantity => only(wire, 1)?.map_or_else(|| Ok("0".into()), text)?,
        Shape::Time => time(wire, 0)?,
        Shape::MicroTime => time(wire, 6)?,
        Shape::IntOrString => int_or_string(wire)?,
        Shape::Any => match only(wire, 1)? {
            Some(raw) => serde_json::from_slice(raw.bytes()?).map_err(|_| Error::Raw)?,
            None => Value::Null,
        },
        Shape::Object(id) => Value::Object(message(wire.bytes()?, id.get(), depth + 1)?),
        // A list that is the entry of a map (`ExtraValue`): a message of items.
        Shape::List(element) => {
            let mut items = Vec::new();
            each(wire.bytes()?, |number, wire| {
                if number == 1 {
                    items.push(value(*element, wire, depth)?);
                }
                Ok(())
            })?;
            Value::Array(items)
        }
        Shape::Map(_) => return Err(Error::Wire),
    })
}

fn text(wire: Wire<'_>) -> Result<Value, Error> {
    utf8(wire.bytes()?).map(Value::String)
}

fn utf8(bytes: &[u8]) -> Result<String, Error> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::Utf8)
}

/// The field of this number in a message that is asked for nothing else.
fn only(wire: Wire<'_>, wanted: u64) -> Result<Option<Wire<'_>>, Error> {
    let mut found = None;
    each(wire.bytes()?, |number, wire| {
        if number == wanted {
            found = Some(wire);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Seconds and nanoseconds since 1970; an empty message is no time.
fn time(wire: Wire<'_>, decimals: usize) -> Result<Value, Error> {
    if wire.bytes()?.is_empty() {
        return Ok(Value::Null);
    }
    let seconds = only(wire, 1)?.map_or(Ok(0), Wire::signed)?;
    let nanos = only(wire, 2)?.map_or(Ok(0), Wire::signed)?;
    let nanos = i32::try_from(nanos).map_err(|_| Error::Time)?;
    let time = Timestamp::new(seconds, nanos).map_err(|_| Error::Time)?;
    Ok(match decimals {
        0 => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        _ => time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
    }
    .into())
}

fn int_or_string(wire: Wire<'_>) -> Result<Value, Error> {
    let is_string = only(wire, 1)?.map_or(Ok(0), Wire::varint)? == 1;
    Ok(if is_string {
        only(wire, 3)?.map_or_else(|| Ok("".into()), text)?
    } else {
        only(wire, 2)?.map_or(Ok(0), Wire::signed)?.into()
    })
}

/// The value of an entry that says none.
fn zero(shape: Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => "".into(),
        Shape::Quantity => "0".into(),
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::Float | Shape::IntOrString => 0.into(),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Map(_) | Shape::Object(_) => Value::Object(Map::new()),
        Shape::Time | Shape::MicroTime | Shape::Any => Value::Null,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// The fields of a message by their numbers.
type Numbers = HashMap<u64, Member>;

enum Member {
    Field(&'static str),
    /// A message whose fields are the object's own in JSON.
    Embedded(&'static str),
}

fn numbers() -> &'static HashMap<&'static str, Numbers> {
    static NUMBERS: OnceLock<HashMap<&'static str, Numbers>> = OnceLock::new();
    NUMBERS.get_or_init(|| TEXT.lines().map(read_line).collect())
}

/// Reads `core.v1.Volume name=1 volumesource=2:core.v1.VolumeSource`.
fn read_line(line: &'static str) -> (&'static str, Numbers) {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let members = words.filter_map(|word| {
        let (field, number) = word.split_once('=')?;
        Some(match number.split_once(':') {
            Some((number, embedded)) => (number.parse().ok()?, Member::Embedded(embedded)),
            None => (number.parse().ok()?, Member::Field(field)),
        })
    });
    (name, members.collect())
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::{apps::v1::Deployment, certificates::v1::CertificateSigningRequest, core::v1::Pod};

    use super::*;
    use crate::kind::Kind;
    use crate::object::Object;

    /// An object as Go's clients write it; none of a kind that has no such form.
    pub(in crate::codec) fn written(object: &Value, kind: &Kind) -> Option<Vec<u8>> {
        let type_ = kind.model.schema()?.get();
        let raw = write_message(object, type_, numbers().get(type_.name)?);
        let type_meta = [field(1, kind.api_version().as_bytes()), field(2, kind.kind.as_bytes())].concat();
        Some([MAGIC, &field(1, &type_meta), &field(2, &raw)].concat())
    }

    fn write_message(object: &Value, type_: &'static Type, numbers: &Numbers) -> Vec<u8> {
        let mut numbered: Vec<_> = numbers.iter().collect();
        numbered.sort_by_key(|(number, _)| **number);
        let mut out = Vec::new();
        for (number, member) in numbered {
            match member {
                Member::Field(name) => {
                    if let (Some(value), Some(field)) = (object.get(name), type_.field(name)) {
                        write_field(&mut out, *number, value, field.shape);
                    }
                }
                Member::Embedded(name) => {
                    let inner = write_message(object, type_, &self::numbers()[name]);
                    out.extend(field(*number, &inner));
                }
            }
        }
        out
    }

    fn write_field(out: &mut Vec<u8>, number: u64, value: &Value, shape: Shape) {
        match (shape, value) {
            (Shape::List(element), Value::Array(all)) => {
                all.iter().for_each(|one| write_one(out, number, one, *element));
            }
            (Shape::Map(entry), Value::Object(all)) => {
                for (key, one) in all {
                    let mut inner = field(1, key.as_bytes());
                    write_one(&mut inner, 2, one, *entry);
                    out.extend(field(number, &inner));
                }
            }
            _ => write_one(out, number, value, shape),
        }
    }

    fn write_one(out: &mut Vec<u8>, number: u64, value: &Value, shape: Shape) {
        let text = || value.as_str().unwrap().as_bytes();
        let of_time = |text: &str| {
            let time: Timestamp = text.parse().unwrap();
            let nanos = u64::try_from(time.subsec_nanosecond()).unwrap();
            [varint(1, time.as_second().cast_unsigned()), varint(2, nanos)].concat()
        };
        out.extend(match shape {
            Shape::String => field(number, text()),
            Shape::Bool => varint(number, u64::from(value.as_bool().unwrap())),
            Shape::Int32 | Shape::Int64 => varint(number, value.as_i64().unwrap().cast_unsigned()),
            Shape::Float => [base128(number << 3 | 1), value.as_f64().unwrap().to_le_bytes().to_vec()].concat(),
            Shape::Bytes => field(number, &STANDARD.decode(text()).unwrap()),
            Shape::Quantity => field(number, &field(1, text())),
            Shape::Time | Shape::MicroTime => field(number, &of_time(value.as_str().unwrap())),
            Shape::IntOrString => match value.as_i64() {
                Some(int) => field(number, &[varint(1, 0), varint(2, int.cast_unsigned())].concat()),
                None => field(number, &[varint(1, 1), field(3, text())].concat()),
            },
            Shape::Any => field(number, &field(1, value.to_string().as_bytes())),
            Shape::Object(id) => field(
                number,
                &numbers().get(id.get().name).map(|n| write_message(value, id.get(), n)).unwrap_or_default(),
            ),
            Shape::List(element) => {
                let mut inner = Vec::new();
                value.as_array().unwrap().iter().for_each(|one| write_one(&mut inner, 1, one, *element));
                field(number, &inner)
            }
            Shape::Map(_) => unreachable!("no map is in a list or a map"),
        });
    }

    fn base128(mut number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while number > 0x7f {
            out.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
        out
    }

    fn varint(number: u64, value: u64) -> Vec<u8> {
        [base128(number << 3), base128(value)].concat()
    }

    /// A field of bytes.
    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        [&base128(number << 3 | 2)[..], &base128(bytes.len() as u64), bytes].concat()
    }

    fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC, &field(1, &type_meta), &field(2, raw)].concat()
    }

    fn read<T: Object>(body: &[u8]) -> Result<Value, Error> {
        to_json(body, T::schema().get()).map(|json| serde_json::from_slice(&json).unwrap())
    }

    #[test]
    fn what_kubectl_create_deployment_sends() {
        let labels = field(11, &[field(1, b"app"), field(2, b"w")].concat());
        let meta = [field(1, b"w"), field(2, b""), field(8, b""), vec![7 << 3, 0], labels].concat();
        let surge = field(2, &[vec![1 << 3, 1], field(3, b"25%")].concat());
        let container = [field(1, b"c"), field(2, b"i:1"), field(6, &[3 << 3, 80]), field(8, b"")].concat();
        let pod_spec = [field(2, &container), field(3, b""), field(7, &field(1, b"disk"))].concat();
        let template = field(3, &[field(1, &meta), field(2, &pod_spec)].concat());
        let spec = [vec![1 << 3, 3], template, field(4, &field(2, &surge))].concat();
        let json =
            read::<Deployment>(&body("apps/v1", "Deployment", &[field(1, &meta), field(2, &spec)].concat())).unwrap();
        assert_eq!(
            json.to_string(),
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"app":"w"},"name":"w"},"spec":{"replicas":3,"strategy":{"rollingUpdate":{"maxSurge":"25%"}},"template":{"metadata":{"labels":{"app":"w"},"name":"w"},"spec":{"containers":[{"image":"i:1","name":"c","ports":[{"containerPort":80}],"resources":{}}],"nodeSelector":{"disk":""}}}}}"#
        );
    }

    #[test]
    fn embedded_messages_are_the_objects_own_fields() {
        let source = field(2, &field(6, &field(1, b"s")));
        let volume = field(1, &[field(1, b"v"), source].concat());
        let memory = field(1, &[field(1, b"memory"), field(2, &field(1, b"1Gi"))].concat());
        let container = field(2, &[field(1, b"c"), field(8, &memory)].concat());
        let json = read::<Pod>(&body("v1", "Pod", &field(2, &[volume, container].concat()))).unwrap();
        assert_eq!(json["spec"]["volumes"][0], serde_json::json!({"name": "v", "secret": {"secretName": "s"}}));
        assert_eq!(json["spec"]["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    }

    #[test]
    fn the_entries_of_a_map_may_be_lists() {
        let entry = [field(1, b"k"), field(2, &[field(1, b"a"), field(1, b"b")].concat())].concat();
        let request = body("certificates.k8s.io/v1", "CertificateSigningRequest", &field(2, &field(6, &entry)));
        let json = read::<CertificateSigningRequest>(&request).unwrap();
        assert_eq!(json["spec"]["extra"], serde_json::json!({"k": ["a", "b"]}));
    }

    #[test]
    fn times() {
        let at = field(8, &[1 << 3, 0x80, 0xdb, 0xdc, 0xca, 0x06]);
        let json = read::<Pod>(&body("v1", "Pod", &field(1, &at))).unwrap();
        assert_eq!(json["metadata"]["creationTimestamp"], "2026-01-02T02:29:20Z");
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(read::<Pod>(b"{}"), Err(Error::Magic));
        assert_eq!(read::<Pod>(&body("v1", "Pod", &[0x0a])), Err(Error::End));
        assert_eq!(read::<Pod>(&body("v1", "Pod", &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])), Err(Error::End));
        assert_eq!(read::<Pod>(&body("v1", "Pod", &[0x0b])), Err(Error::Wire));
        assert_eq!(read::<Pod>(&body("v1", "Pod", &[0x08, 0x01])), Err(Error::Wire));
        assert_eq!(read::<Pod>(&body("v1", "Pod", &field(1, &field(1, &[0xff])))), Err(Error::Utf8));
        let mut whole = body("v1", "Pod", &field(1, &field(1, b"p")));
        for cut in 4..whole.len() {
            let _ = read::<Pod>(&whole[..cut]);
        }
        for at in 4..whole.len() {
            for bit in 0..8 {
                whole[at] ^= 1 << bit;
                let _ = read::<Pod>(&whole);
                whole[at] ^= 1 << bit;
            }
        }
    }
}
