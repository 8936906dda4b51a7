//! Bodies to objects and objects to bytes.
//!
//! A body, JSON or YAML, is read once: [`decode`] checks it against the type graph and the [limits](crate::limits), tells
//! fields that the type doesn't have, and makes the typed object. [`encode_as`] writes what Kubernetes would write, which
//! is what is stored and served; [`splice`] puts the revision that the store gave into those bytes, once.

mod encode;
mod managed;
#[cfg(test)]
mod properties;
mod protobuf;
mod scan;
mod splice;
mod yaml;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use encode::EncodeError;
pub(crate) use encode::write_string;
pub(crate) use managed::{join as join_managed, split as split_managed};
pub use splice::{SPLICED_BYTES_MAX, metadata_of, partial_metadata, resplice, splice, splice_into};
pub use yaml::from_json as json_to_yaml;

use crate::any::AnyObject;
use crate::custom::{CustomModel, CustomObject};
use crate::field::{Errors, Path};
use crate::kind::{Kind, Model};
use crate::limits;
use crate::object::Object;
use crate::schema::{self, Shape, TypeId};
use crate::status::{ApiError, GroupKind};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    /// As Go's typed clients send objects; never how an answer is written.
    Protobuf,
}

/// What to do about fields that the type doesn't have or that stand twice. Source: the `fieldValidation` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Pass over them in silence.
    Ignore,
    /// Pass over them, and say so in warnings.
    #[default]
    Warn,
    /// Refuse the body.
    Strict,
}

/// What a body held, and what its sender should be told.
#[derive(Clone, Debug)]
pub struct Decoded<T> {
    pub object: T,
    /// The text of one `Warning` header each.
    pub warnings: Vec<String>,
}

/// Reads the body of a request about `kind`.
///
/// # Errors
/// When the body is too large, too deep, not of this kind, or has fields that `validation` refuses.
pub fn decode(
    kind: &Kind,
    body: &[u8],
    format: Format,
    validation: FieldValidation,
) -> Result<Decoded<AnyObject>, ApiError> {
    let expected = Expected {
        api_version: kind.api_version(),
        version: &kind.version,
        kind: &kind.kind,
        schema: kind.model.schema(),
    };
    if let Model::Custom(model) = &kind.model {
        return decode_custom(model, kind, body, format, validation, &expected);
    }
    let (json, warnings) = read(body, format, validation, &expected)?;
    match kind.model.decode(&json) {
        Ok(object) => Ok(Decoded { object, warnings }),
        Err(error) => Err(expected.refuse(&error.source)),
    }
}

/// Reads an object of a custom kind, without what its schema does not know. It must say what it is.
fn decode_custom(
    model: &Arc<CustomModel>,
    kind: &Kind,
    body: &[u8],
    format: Format,
    validation: FieldValidation,
    expected: &Expected<'_>,
) -> Result<Decoded<AnyObject>, ApiError> {
    let (json, duplicate) = to_json(body, format, None)?;
    let scan = scan::scan_custom(&json).map_err(|e| expected.refuse(&e))?;
    let mut object = model.decode(&json).map_err(|error| expected.refuse(&error.source))?;
    let own_kind = scan.kind.unwrap_or_default();
    if own_kind.is_empty() {
        let why = format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(&json));
        return Err(expected.refuse(&why));
    }
    let own_version = scan.api_version.unwrap_or_default();
    if own_version != expected.api_version {
        return Err(expected.other_version(&own_version));
    }
    if own_kind != expected.kind {
        let mut errors = Errors::new();
        errors.invalid(&Path::new("kind"), &own_kind, &format!("must be {}", expected.kind));
        let name = object.name().to_owned();
        return Err(ApiError::Invalid { kind: GroupKind::of(kind), name, errors });
    }
    let unknown = object.custom_mut().map(CustomObject::prune).unwrap_or_default();
    let findings = duplicate.into_iter().chain(scan.findings).chain(unknown).take(limits::FINDINGS_MAX).collect();
    Ok(Decoded { object, warnings: expected.judge(findings, validation)? })
}

/// Reads the body of a request about a `T`: a `Scale`, a `Binding`, an `Eviction`.
///
/// # Errors
/// As [`decode`].
pub fn decode_as<T: Object>(body: &[u8], format: Format, validation: FieldValidation) -> Result<Decoded<T>, ApiError> {
    let expected =
        Expected { api_version: T::API_VERSION.into(), version: T::VERSION, kind: T::KIND, schema: Some(T::schema()) };
    let (json, warnings) = read(body, format, validation, &expected)?;
    match T::decode(&json) {
        Ok(object) => Ok(Decoded { object, warnings }),
        Err(error) => Err(expected.refuse(&error.source)),
    }
}

/// Reads the body of a DELETE; an empty one asks for nothing.
///
/// # Errors
/// As [`decode`].
pub fn decode_delete_options(body: &[u8], format: Format) -> Result<DeleteOptions, ApiError> {
    if body.is_empty() {
        return Ok(DeleteOptions::default());
    }
    let schema = schema::find("meta.v1.DeleteOptions").expect("the graph has the options of deletion");
    let expected = Expected { api_version: "".into(), version: "v1", kind: "DeleteOptions", schema: Some(schema) };
    let (json, _) = read(body, format, FieldValidation::Ignore, &expected)?;
    serde_json::from_slice(&json).map_err(|e| expected.refuse(&e))
}

/// Reads a small body of no kind, such as a patch.
///
/// # Errors
/// When the body is too large, or not a `T`.
pub fn decode_plain<T: DeserializeOwned>(body: &[u8], format: Format) -> Result<T, ApiError> {
    let json = to_json(body, format, None)?;
    serde_json::from_slice(&json.0).map_err(|e| ApiError::BadRequest(e.to_string()))
}

/// Reads a body of no kind; tells of keys that stand twice.
///
/// # Errors
/// When the body is too large, or cannot be read.
pub fn decode_value(body: &[u8], format: Format) -> Result<Decoded<serde_json::Value>, ApiError> {
    let (json, duplicate) = to_json(body, format, None)?;
    let object = serde_json::from_slice(&json).map_err(|e| ApiError::BadRequest(e.to_string()))?;
    let scan = scan::scan_untyped(&json).map_err(|e| ApiError::BadRequest(e.to_string()))?;
    Ok(Decoded { object, warnings: duplicate.into_iter().chain(scan.findings).collect() })
}

/// Writes an object of this type that nobody has set anything of, without `apiVersion` and `kind`.
#[must_use]
pub fn encode_zero(schema: TypeId) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode::write_zero(&mut out, Shape::Object(schema));
    out
}

/// Writes a value of this type as Kubernetes would.
#[must_use]
pub fn encode_as<T: Serialize + ?Sized>(value: &T, schema: TypeId) -> Bytes {
    let mut out = Vec::with_capacity(2048);
    encode::encode(value, Shape::Object(schema), &mut out).expect("Kubernetes' types have keys of text");
    out.into()
}

/// What a body should be.
struct Expected<'a> {
    /// Empty when it is not looked at.
    api_version: Cow<'a, str>,
    version: &'a str,
    kind: &'a str,
    /// None of an object of a custom kind.
    schema: Option<TypeId>,
}

impl Expected<'_> {
    fn refuse(&self, why: &dyn std::fmt::Display) -> ApiError {
        let Self { version, kind, .. } = self;
        ApiError::BadRequest(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
    }

    fn other_version(&self, found: &str) -> ApiError {
        let expected = &self.api_version;
        let why = format!("the API version in the data ({found}) does not match the expected API version ({expected})");
        ApiError::BadRequest(why)
    }

    /// What is to be said of what was passed over.
    fn judge(&self, findings: Vec<String>, validation: FieldValidation) -> Result<Vec<String>, ApiError> {
        match validation {
            FieldValidation::Strict if !findings.is_empty() => {
                Err(self.refuse(&format_args!("strict decoding error: {}", findings.join(", "))))
            }
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict | FieldValidation::Warn => Ok(findings),
        }
    }

    /// Source: a body that doesn't name its version and kind is taken for what the URL names.
    fn check(&self, api_version: Option<&str>, kind: Option<&str>) -> Result<(), ApiError> {
        if self.api_version.is_empty() {
            return Ok(());
        }
        if let Some(found) = api_version.filter(|v| !v.is_empty() && *v != self.api_version) {
            return Err(self.other_version(found));
        }
        if let Some(found) = kind.filter(|k| !k.is_empty() && *k != self.kind) {
            let why = format!("{found} in version {:?} cannot be handled as a {}", self.version, self.kind);
            return Err(ApiError::BadRequest(why));
        }
        Ok(())
    }
}

fn read<'b>(
    body: &'b [u8],
    format: Format,
    validation: FieldValidation,
    expected: &Expected<'_>,
) -> Result<(Cow<'b, [u8]>, Vec<String>), ApiError> {
    let (json, duplicate) = to_json(body, format, expected.schema)?;
    let shape = expected.schema.map_or(Shape::Any, Shape::Object);
    let scan = scan::scan(&json, shape).map_err(|e| expected.refuse(&e))?;
    expected.check(scan.api_version.as_deref(), scan.kind.as_deref())?;
    let json = tell_empty_selectors(json, &scan.empty_selectors);
    let findings = duplicate.into_iter().chain(scan.findings).collect();
    Ok((json, expected.judge(findings, validation)?))
}

/// A selector that is missing selects nothing, and an empty one everything; k8s-openapi has the same value for both where
/// one is required. So an empty one is written as `{"matchLabels":{}}`, which it can tell.
fn tell_empty_selectors<'b>(json: Cow<'b, [u8]>, inside: &[usize]) -> Cow<'b, [u8]> {
    if inside.is_empty() {
        return json;
    }
    let mut told = json.into_owned();
    for at in inside.iter().rev() {
        told.splice(at..at, *br#""matchLabels":{}"#);
    }
    Cow::Owned(told)
}

/// The body as JSON; protobuf needs to be told of which type it is.
fn to_json(body: &[u8], format: Format, schema: Option<TypeId>) -> Result<(Cow<'_, [u8]>, Option<String>), ApiError> {
    if body.len() > limits::BODY_BYTES_MAX {
        return Err(ApiError::BodyTooLarge { bytes_max: limits::BODY_BYTES_MAX });
    }
    match format {
        Format::Json => Ok((Cow::Borrowed(body), None)),
        Format::Yaml => {
            let text =
                std::str::from_utf8(body).map_err(|e| ApiError::BadRequest(format!("the body is not UTF-8: {e}")))?;
            let converted = yaml::to_json(text).map_err(ApiError::BadRequest)?;
            Ok((Cow::Owned(converted.json), converted.duplicate))
        }
        Format::Protobuf => {
            let schema = schema.ok_or_else(|| ApiError::BadRequest("this body cannot be protobuf".to_owned()))?;
            let json = protobuf::to_json(body, schema.get()).map_err(|e| ApiError::BadRequest(e.to_string()))?;
            Ok((Cow::Owned(json), None))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};

    use super::*;
    use crate::kinds;

    fn round<T: Object>(json: &str) -> String {
        let kind = kinds::of::<T>();
        let decoded = decode(kind, json.as_bytes(), Format::Json, FieldValidation::Strict).unwrap();
        String::from_utf8(decoded.object.encode().to_vec()).unwrap()
    }

    #[test]
    fn zero_values_are_written_as_go_writes_them() {
        for (given, written) in [
            (
                r#"{"metadata":{"labels":{},"finalizers":[]},"spec":{"containers":[{"name":"c","args":[],"tty":false,"image":""}],"volumes":[{"name":"v","emptyDir":{}}],"hostNetwork":false,"priority":0}}"#,
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{"containers":[{"name":"c","resources":{}}],"priority":0,"volumes":[{"emptyDir":{},"name":"v"}]},"status":{}}"#,
            ),
            (
                r#"{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"0.1","memory":"1024Mi"}}}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}}"#,
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"100m","memory":"1Gi"}}}]},"status":{"conditions":[{"lastProbeTime":null,"lastTransitionTime":null,"status":"True","type":"Ready"}]}}"#,
            ),
        ] {
            assert_eq!(round::<core::Pod>(given), written);
            assert_eq!(round::<core::Pod>(written), written);
        }
        assert_eq!(
            round::<apps::Deployment>(r#"{"spec":{"selector":{}}}"#),
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{},"spec":{"selector":{},"strategy":{},"template":{"metadata":{},"spec":{"containers":null}}},"status":{}}"#
        );
        assert_eq!(
            round::<core::Event>(r#"{"involvedObject":{"name":"a\n\"b\""}}"#),
            r#"{"apiVersion":"v1","kind":"Event","eventTime":null,"firstTimestamp":null,"involvedObject":{"name":"a\n\"b\""},"lastTimestamp":null,"metadata":{},"reportingComponent":"","reportingInstance":"","source":{}}"#
        );
    }

    #[test]
    fn yaml_takes_the_same_path() {
        let body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  on: \"yes\"\n  k: |\n    two\n    lines\n";
        let decoded = decode(kinds::of::<core::ConfigMap>(), body, Format::Yaml, FieldValidation::Strict).unwrap();
        let map = decoded.object.downcast::<core::ConfigMap>().unwrap();
        assert_eq!(map.data.unwrap()["k"], "two\nlines\n");
        let twice = b"kind: ConfigMap\nmetadata:\n  name: a\n  name: b\n";
        let kind = kinds::of::<core::ConfigMap>();
        assert!(decode(kind, twice, Format::Yaml, FieldValidation::Strict).is_err());
        let decoded = decode(kind, twice, Format::Yaml, FieldValidation::Warn).unwrap();
        assert_eq!((decoded.object.name(), decoded.warnings.len()), ("b", 1));
        assert!(decode(kind, b"a: [", Format::Yaml, FieldValidation::Warn).is_err());
        let bomb = (0..30).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, i| {
            format!("{text}a{n}: &a{n} [*a{i},*a{i},*a{i},*a{i},*a{i},*a{i},*a{i},*a{i},*a{i}]\n", n = i + 1)
        });
        assert!(decode(kind, bomb.as_bytes(), Format::Yaml, FieldValidation::Warn).is_err());
    }

    #[test]
    fn refusals_say_what_and_where() {
        let kind = kinds::of::<core::Pod>();
        let refuse =
            |body: &str| decode(kind, body.as_bytes(), Format::Json, FieldValidation::Strict).unwrap_err().to_string();
        assert_eq!(
            refuse(r#"{"spec":{"foo":1}}"#),
            r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo""#
        );
        assert_eq!(
            refuse(r#"{"apiVersion":"apps/v1","kind":"Pod"}"#),
            "the API version in the data (apps/v1) does not match the expected API version (v1)"
        );
        assert_eq!(refuse(r#"{"kind":"Service"}"#), r#"Service in version "v1" cannot be handled as a Pod"#);
        assert!(refuse(r#"{"apiVersion":"#).contains("EOF while parsing"));
        assert!(refuse("[1]").contains("cannot unmarshal array"));
        let large = vec![b' '; limits::BODY_BYTES_MAX + 1];
        let error = decode(kind, &large, Format::Json, FieldValidation::Ignore).unwrap_err();
        assert_eq!(error.status().code, Some(413));
    }

    #[test]
    fn warnings_name_what_is_passed_over() {
        let kind = kinds::of::<core::Pod>();
        let body = br#"{"metadata":{"name":"p","nmae":"q"}}"#;
        let decoded = decode(kind, body, Format::Json, FieldValidation::Warn).unwrap();
        assert_eq!(decoded.warnings, [r#"unknown field "metadata.nmae""#]);
        assert!(decode(kind, body, Format::Json, FieldValidation::Ignore).unwrap().warnings.is_empty());
    }
}
