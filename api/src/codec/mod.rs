//! Bodies to objects and objects to bytes.
//!
//! A body, JSON or YAML, is read once: [`decode`] checks it against the type graph and the [limits](crate::limits), tells
//! fields that the type doesn't have, and makes the typed object. [`encode_as`] writes what Kubernetes would write, which
//! is what is stored and served; [`splice`] puts the revision that the store gave into those bytes, once.

mod encode;
mod header;
mod managed;
pub(crate) mod number;
#[cfg(test)]
mod properties;
mod protobuf;
mod scan;
mod size;
mod splice;
mod syntax;
mod times;
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
pub use size::fits;
pub use splice::{SPLICED_BYTES_MAX, metadata_of, partial_metadata, partition, resplice, splice, splice_into, unite};
pub(crate) use times::with_zero_times;
pub use yaml::{from_json as json_to_yaml, warnings};

use self::header::Header;
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
        Err(error) => Err(expected.refuse(body, &json, &error.source)),
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
    let (json, duplicate) = expected.json(body, format)?;
    let scan = scan::scan_custom(&json).map_err(|e| expected.refuse(body, &json, &e))?;
    let json = scan.edited(json);
    let mut object = model.decode(&json).map_err(|error| expected.refuse(body, &json, &error.source))?;
    let own_kind = scan.kind.unwrap_or_default();
    if own_kind.is_empty() {
        let why = format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(&json));
        return Err(expected.unrecognized(body, &why));
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
    let own = Header { version: own_version.into(), kind: own_kind.into() };
    if let Some(wrong) = object.custom().and_then(CustomObject::misread) {
        return Err(expected.undecodable(&own, wrong.to_string()));
    }
    Ok(Decoded { object, warnings: expected.judge(&own, findings, validation)? })
}

/// Checks that a text is metadata of an object, but for what times are.
///
/// # Errors
/// What is of another type, in Go's words.
pub(crate) fn check_meta(json: &[u8]) -> Result<(), String> {
    let metadata = schema::find("meta.v1.ObjectMeta").expect("the graph has the metadata of objects");
    scan::scan(json, Shape::Object(metadata)).map(drop).map_err(|error| error.to_string())
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
        Err(error) => Err(expected.refuse(body, &json, &error.source)),
    }
}

/// Reads the body of a DELETE; an empty one asks for nothing. Its version is not looked at: every group had options of its
/// own once.
///
/// # Errors
/// When the body is too large, too deep, or no such options.
pub fn decode_delete_options(body: &[u8], format: Format) -> Result<DeleteOptions, ApiError> {
    if body.is_empty() {
        return Ok(DeleteOptions::default());
    }
    let schema = schema::find("meta.v1.DeleteOptions").expect("the graph has the options of deletion");
    let (json, _) = to_json(body, format, Some(schema))?;
    let refuse = |why: String| ApiError::BadRequest(why);
    let own = header::read(&json).map_err(refuse)?;
    if !own.kind.is_empty() && own.kind != "DeleteOptions" {
        return Err(refuse(own.not_registered("pkg/apis/meta/internalversion/scheme/register.go:27")));
    }
    let scan = scan::scan(&json, Shape::Object(schema)).map_err(|e| refuse(e.to_string()))?;
    serde_json::from_slice(&scan.edited(json)).map_err(|e| refuse(e.to_string()))
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
    let refuse = |why: &dyn std::fmt::Display| {
        ApiError::BadRequest(syntax::check(&json).err().unwrap_or_else(|| why.to_string()))
    };
    let scan = scan::scan_untyped(&json).map_err(|e| refuse(&e))?;
    let object = serde_json::from_slice(&json).map_err(|e| refuse(&e))?;
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
    /// The body as JSON.
    fn json<'b>(&self, body: &'b [u8], format: Format) -> Result<(Cow<'b, [u8]>, Option<String>), ApiError> {
        match to_json(body, format, self.schema) {
            // Nothing of an object is set by null.
            Ok((json, duplicate)) if json.trim_ascii() == b"null" => Ok((Cow::Borrowed(b"{}"), duplicate)),
            Err(ApiError::BadRequest(why)) => Err(self.unrecognized(body, &why)),
            read => read,
        }
    }

    /// The refusal of a body that came as `json`, for `why` if nothing comes before that: what it says it is.
    fn refuse(&self, body: &[u8], json: &[u8], why: &dyn std::fmt::Display) -> ApiError {
        let own = match header::read(json) {
            Ok(own) => own,
            Err(why) => return self.unrecognized(body, &why),
        };
        if let Err(error) = self.check(&own) {
            return error;
        }
        self.undecodable(&own, why.to_string())
    }

    fn undecodable(&self, own: &Header<'_>, why: String) -> ApiError {
        let kind = if own.kind.is_empty() { self.kind } else { &own.kind };
        let version = if own.version.is_empty() { self.version } else { own.version() };
        ApiError::Undecodable {
            kind: kind.to_owned(),
            version: version.to_owned(),
            expected: self.kind.to_owned(),
            why,
        }
    }

    /// The refusal of a body that doesn't say what it is. Source: upstream's `transformDecodeError`.
    fn unrecognized(&self, body: &[u8], why: &str) -> ApiError {
        let (kind, summary) = (self.kind, header::summary(body));
        ApiError::BadRequest(format!("the object provided is unrecognized (must be of type {kind}): {why} ({summary})"))
    }

    fn other_version(&self, found: &str) -> ApiError {
        let expected = &self.api_version;
        let why = format!("the API version in the data ({found}) does not match the expected API version ({expected})");
        ApiError::BadRequest(why)
    }

    /// What is to be said of what was passed over.
    fn judge(
        &self,
        own: &Header<'_>,
        findings: Vec<String>,
        validation: FieldValidation,
    ) -> Result<Vec<String>, ApiError> {
        match validation {
            FieldValidation::Strict if !findings.is_empty() => {
                Err(self.undecodable(own, format!("strict decoding error: {}", findings.join(", "))))
            }
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict | FieldValidation::Warn => {
                Ok(findings.iter().flat_map(|finding| yaml::warnings(finding)).collect())
            }
        }
    }

    /// Source: a body that doesn't name its version and kind is taken for what the URL names. One that is of another kind
    /// is refused as Go's scheme refuses it: what it doesn't know cannot be read, and what it knows not be converted.
    fn check(&self, own: &Header<'_>) -> Result<(), ApiError> {
        let same_version = own.version.is_empty() || own.version == self.api_version;
        let same_kind = own.kind.is_empty() || own.kind == self.kind;
        if same_version && same_kind {
            return Ok(());
        }
        let meant = Header {
            version: if own.version.is_empty() { self.api_version.clone() } else { own.version.clone() },
            kind: if own.kind.is_empty() { self.kind.into() } else { own.kind.clone() },
        };
        if !meant.is_registered() {
            return Err(self.undecodable(&meant, meant.not_registered("pkg/api/legacyscheme/scheme.go:30")));
        }
        if same_kind {
            return Err(self.other_version(&meant.version));
        }
        let group =
            self.api_version.split_once('/').map_or("core", |(group, _)| group.split('.').next().unwrap_or(group));
        let (version, kind) = (meant.version(), &meant.kind);
        let why = format!("converting ({version}.{kind}) to ({group}.{}): unknown conversion", self.kind);
        Err(self.undecodable(&meant, why))
    }
}

fn read<'b>(
    body: &'b [u8],
    format: Format,
    validation: FieldValidation,
    expected: &Expected<'_>,
) -> Result<(Cow<'b, [u8]>, Vec<String>), ApiError> {
    let (json, duplicate) = expected.json(body, format)?;
    let shape = expected.schema.map_or(Shape::Any, Shape::Object);
    let scan = scan::scan(&json, shape).map_err(|e| expected.refuse(body, &json, &e))?;
    if scan.broken {
        return Err(expected.refuse(body, &json, &"it is no JSON"));
    }
    let own = Header {
        version: scan.api_version.as_deref().unwrap_or_default().into(),
        kind: scan.kind.as_deref().unwrap_or_default().into(),
    };
    expected.check(&own)?;
    let findings = duplicate.into_iter().chain(scan.findings.iter().cloned()).collect();
    let findings = expected.judge(&own, findings, validation)?;
    Ok((scan.edited(json), findings))
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
        for (body, told) in [
            (
                r#"{"spec":{"foo":1}}"#,
                r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo""#,
            ),
            (
                r#"{"apiVersion":"apps/v1","kind":"Pod"}"#,
                r#"Pod in version "v1" cannot be handled as a Pod: no kind "Pod" is registered for version "apps/v1" in scheme "pkg/api/legacyscheme/scheme.go:30""#,
            ),
            (
                r#"{"kind":"Service","spec":7}"#,
                r#"Service in version "v1" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown conversion"#,
            ),
            (
                r#"{"apiVersion":"#,
                r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({"apiVersion":)"#,
            ),
            (
                r#"{"metadata":{"name":7}}"#,
                r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"#,
            ),
            (
                "[1]",
                r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b315d)"#,
            ),
        ] {
            assert_eq!(refuse(body), told);
        }
        let scales =
            kinds::all().iter().find(|kind| kind.kind == "HorizontalPodAutoscaler" && kind.version == "v2").unwrap();
        let other = br#"{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler"}"#;
        assert_eq!(
            decode(scales, other, Format::Json, FieldValidation::Strict).unwrap_err().to_string(),
            "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)"
        );
        assert_eq!(decode(kind, b" null ", Format::Json, FieldValidation::Strict).unwrap().object.name(), "");
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
