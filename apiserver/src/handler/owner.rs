//! Who writes which fields: every write of a client is told to [field ownership](coracle_api::ownership), before a
//! strategy touches the object, since what the server itself changes is nobody's.
//!
//! Source: upstream's `FieldManager` and where its handlers call it.

use coracle_api::any::AnyObject;
use coracle_api::codec::{self, FieldValidation, Format};
use coracle_api::field::{Errors, Path};
use coracle_api::kind::{Kind, Model};
use coracle_api::ownership::{ApplyError, Managed, OneVersion, Request, Reset, State, Type, Versions};
use coracle_api::status::{ApiError, ApplyConflict};
use coracle_api::{convert, kinds};
use http::HeaderMap;
use http::header::USER_AGENT;
use serde_json::Value;

use super::Call;
use super::options::{WriteOptions, check_manager, is_printable};
use crate::resource::Resource;
use crate::strategy::{Part, reset};
use crate::{clock, limits};

/// The client that writes, as managers are named.
pub(super) struct Owner<'c> {
    resource: &'c Resource,
    manager: String,
    subresource: &'static str,
    reset: Reset,
}

/// A configuration that is applied, and whether it takes what others own.
pub(super) struct Config {
    /// Why it cannot be read, otherwise: that is told when it is to be applied to something.
    value: Result<Value, String>,
    /// The keys that stand twice in it.
    findings: Vec<String>,
    force: bool,
}

impl Config {
    /// Reads the body of an apply.
    ///
    /// # Errors
    /// When it is too large.
    pub(super) fn read(body: &[u8], force: bool) -> Result<Self, ApiError> {
        let (value, findings) = match codec::decode_value(body, Format::Yaml) {
            Ok(decoded) => (object_of(decoded.object), decoded.warnings),
            Err(ApiError::BadRequest(why)) => (Err(why), Vec::new()),
            Err(other) => return Err(other),
        };
        Ok(Self { value, findings, force })
    }

    /// What the client should be told of keys that stand twice.
    ///
    /// # Errors
    /// When it wants to be refused for it.
    pub(super) fn warnings(&self, validation: FieldValidation) -> Result<Vec<String>, ApiError> {
        match validation {
            FieldValidation::Strict if !self.findings.is_empty() => {
                let why = self.findings.join(", ");
                Err(ApiError::BadRequest(format!("error strict decoding YAML: error converting YAML to JSON: {why}")))
            }
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict | FieldValidation::Warn => {
                Ok(self.findings.iter().flat_map(|finding| codec::warnings(finding)).collect())
            }
        }
    }

    /// The configuration, if it is of the kind that the URL names, and doesn't say who owns what.
    ///
    /// # Errors
    /// When it is not, or cannot be read.
    fn check_kind(&self, api_version: &str, kind: &str) -> Result<&Value, ApiError> {
        let value = self.value.as_ref().map_err(|why| ApiError::BadRequest(format!("error decoding YAML: {why}")))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        if (text("apiVersion"), text("kind")) != (api_version, kind) {
            let found = group_version_kind(text("apiVersion"), text("kind"));
            return Err(ApiError::BadRequest(format!("invalid object type: {found}")));
        }
        if value.pointer("/metadata/managedFields").is_some_and(Value::is_array) {
            return Err(ApiError::BadRequest("metadata.managedFields must be nil".to_owned()));
        }
        Ok(value)
    }
}

/// The object that a body is. A body of nothing is one of nothing.
fn object_of(value: Value) -> Result<Value, String> {
    let found = match value {
        Value::Object(_) => return Ok(value),
        Value::Null => return Ok(Value::Object(serde_json::Map::new())),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Err(format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type \
         map[string]interface {{}}"
    ))
}

/// As Go prints what kind something is: `apps/v1, Kind=Deployment`.
fn group_version_kind(api_version: &str, kind: &str) -> String {
    match api_version.split_once('/') {
        Some((_, version)) if version.contains('/') => "/, Kind=".to_owned(),
        Some((group, version)) => format!("{group}/{version}, Kind={kind}"),
        None => format!("/{api_version}, Kind={kind}"),
    }
}

/// An object that a configuration was applied to.
pub(super) struct Applied {
    /// `None` when it stays as it is.
    pub(super) object: Option<Value>,
    pub(super) managed: Vec<u8>,
}

/// The type of an object whose fields are owned.
pub(super) struct Subject<'s> {
    pub(super) api_version: &'s str,
    pub(super) kind: &'s str,
    pub(super) type_: Type<'s>,
    /// An object of which nothing is set.
    pub(super) zero: Vec<u8>,
    pub(super) versions: &'s dyn Versions,
}

impl<'c> Owner<'c> {
    pub(super) fn of(call: &'c Call, part: Part, options: &WriteOptions) -> Self {
        let resource = call.resource();
        let named = options.field_manager.clone().filter(|name| !name.is_empty());
        let manager = named.unwrap_or_else(|| user_agent(&call.headers));
        let subresource = call.target.subresource.map_or("", |subresource| subresource.as_str());
        Self { resource, manager, subresource, reset: reset::of(&resource.kind, part) }
    }

    /// As the owner of something that the subresource shows: all of it may be changed.
    pub(super) fn unrestricted(self) -> Self {
        Self { reset: Reset::NOTHING, ..self }
    }

    /// Says in an object who manages its fields, which is about to be created. Returns what is wrong with those that the
    /// client named.
    pub(super) fn created(&self, object: &mut AnyObject) -> Errors {
        let is_given = !object.managed().is_empty();
        let json = object.encode_alone();
        let managed = self
            .with(|request, subject| request.created(&subject.zero, State { json: &json, managed: object.managed() }));
        object.set_managed(managed);
        if is_given { check_managers(object.managed()) } else { Errors::new() }
    }

    /// Says in an object who manages its fields, which is about to replace `old`. Returns what is wrong with those that
    /// the client named.
    pub(super) fn updated(&self, new: &mut AnyObject, old: &AnyObject) -> Errors {
        let is_given = !new.managed().is_empty();
        let (before, after) = (old.encode_alone(), new.encode_alone());
        let live = State { json: &before, managed: old.managed() };
        let managed = self.with(|request, _| request.updated(live, State { json: &after, managed: new.managed() }));
        new.set_managed(managed);
        if is_given { check_managers(new.managed()) } else { Errors::new() }
    }

    /// Applies a configuration to an object of the resource's kind, or to none.
    ///
    /// # Errors
    /// When it does not fit, or others own what it would change.
    pub(super) fn apply(&self, old: Option<&AnyObject>, config: &Config) -> Result<AnyObject, ApiError> {
        let managed = old.map_or(&[][..], |old| old.managed());
        let live = old.map(|old| value_of(&old.encode_alone())).transpose()?;
        let applied = self.with(|request, subject| apply_to(request, subject, live, managed, config))?;
        let mut object = match (applied.object, old) {
            (None, Some(old)) => old.clone(),
            (object, _) => self.typed(&object.unwrap_or_default(), config)?,
        };
        object.set_managed(applied.managed);
        Ok(object)
    }

    /// The object of the resource's kind that a merged value is.
    fn typed(&self, value: &Value, config: &Config) -> Result<AnyObject, ApiError> {
        let (kind, json) = (&self.resource.kind, value.to_string());
        // Of an object of which an apply left nothing there is null, which its schema may not allow.
        if let (Some(_), Ok(object)) = (kind.model.custom(), kind.model.decode(json.as_bytes())) {
            return Ok(object);
        }
        let decoded = codec::decode(kind, json.as_bytes(), Format::Json, FieldValidation::Ignore);
        let prefix = format!("{} in version {:?} cannot be handled as a {}: ", kind.kind, &*kind.version, kind.kind);
        decoded.map(|decoded| decoded.object).map_err(|error| match error {
            ApiError::BadRequest(why) if kind.model.custom().is_none() => {
                let of_kind = group_version_kind(&self.resource.api_version, &kind.kind);
                let which = told(config, &self.resource.api_version, &kind.kind);
                let why = unfit(why.strip_prefix(&prefix).unwrap_or(&why));
                ApiError::Unclassified(format!(
                    "failed to convert new object ({which}) to proper version: unable to convert unstructured object to \
                     {of_kind}: {why}"
                ))
            }
            error => error,
        })
    }

    /// The request of this owner on objects of its resource.
    fn with<T>(&self, run: impl FnOnce(&Request<'_>, &Subject<'_>) -> T) -> T {
        let kind = &self.resource.kind;
        let subject = Subject {
            api_version: &self.resource.api_version,
            kind: &kind.kind,
            type_: type_of(&kind.model),
            zero: kind.model.schema().map_or_else(|| CUSTOM_ZERO.to_vec(), codec::encode_zero),
            versions: self.resource,
        };
        run(&self.request(&subject), &subject)
    }

    /// The request of this owner on objects of some type.
    pub(super) fn request<'s>(&'s self, subject: &Subject<'s>) -> Request<'s> {
        Request {
            manager: &self.manager,
            api_version: subject.api_version,
            subresource: self.subresource,
            seconds: clock::now().as_second(),
            type_: subject.type_,
            reset: self.reset,
            versions: subject.versions,
        }
    }
}

/// What is wrong with managers that a client named. Source: upstream's `ValidateManagedFields`.
fn check_managers(managed: &[u8]) -> Errors {
    let mut errors = Errors::new();
    let metadata = Path::new("metadata");
    let all = metadata.child("managedFields");
    for (i, entry) in Managed::read(managed).unwrap_or_default().entries.iter().enumerate() {
        let path = all.index(i);
        check_manager(&path.child("manager"), &entry.manager.name, &mut errors);
        if entry.manager.subresource.len() > limits::MANAGED_SUBRESOURCE_BYTES_MAX {
            errors.too_long(&path.child("subresource"), limits::MANAGED_SUBRESOURCE_BYTES_MAX);
        }
    }
    errors
}

/// Applies a configuration to an object, or to none.
///
/// # Errors
/// As [`Owner::apply`].
pub(super) fn apply_to(
    request: &Request<'_>,
    subject: &Subject<'_>,
    live: Option<Value>,
    managed: &[u8],
    config: &Config,
) -> Result<Applied, ApiError> {
    let value = config.check_kind(subject.api_version, subject.kind)?;
    let mut zero = value_of(&subject.zero)?;
    if let Value::Object(zero) = &mut zero {
        zero.insert("apiVersion".to_owned(), subject.api_version.into());
        zero.insert("kind".to_owned(), subject.kind.into());
    }
    let is_new = live.is_none();
    let live = live.unwrap_or_else(|| zero.clone());
    match request.apply(&zero, &live, managed, value, config.force) {
        Ok(applied) => {
            let object = if is_new { applied.object.or(Some(zero)) } else { applied.object };
            Ok(Applied { object, managed: applied.managed })
        }
        Err(ApplyError::Conflicts(conflicts)) => {
            let conflict = |c: coracle_api::ownership::Conflict| ApplyConflict { field: c.field, manager: c.manager };
            Err(ApiError::ApplyConflict { conflicts: conflicts.into_iter().map(conflict).collect() })
        }
        Err(ApplyError::Config(error)) => {
            let which = told(config, subject.api_version, subject.kind);
            let why = format!("failed to create typed patch object ({which}): {error}");
            Err(ApiError::Unclassified(why))
        }
        Err(ApplyError::Unfit(error)) => Err(ApiError::Unclassified(format!("failed to merge config: {error}"))),
    }
}

/// What a configuration is of, as errors say it.
fn told(config: &Config, api_version: &str, kind: &str) -> String {
    let text = |pointer: &str| {
        config.value.as_ref().ok().and_then(|value| value.pointer(pointer)?.as_str()).unwrap_or_default()
    };
    let of_kind = group_version_kind(api_version, kind);
    format!("{}/{}; {of_kind}", text("/metadata/namespace"), text("/metadata/name"))
}

/// Why a value doesn't fit a typed object, as upstream's conversion says it: every number of a configuration is a float.
fn unfit(why: &str) -> String {
    match why.strip_prefix("json: cannot unmarshal number into").and_then(|rest| rest.rsplit_once(" of type ")) {
        Some((_, type_)) => format!("cannot convert float64 to {type_}"),
        None => why.to_owned(),
    }
}

/// The name of a client that doesn't say one: its program's, as far as it is printable.
///
/// Source: upstream's `prefixFromUserAgent`.
fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes())).unwrap_or_default();
    let mut name = String::new();
    for letter in agent.split('/').next().unwrap_or_default().chars().filter(|letter| is_printable(*letter)) {
        if name.len() + letter.len_utf8() > limits::MANAGER_BYTES_MAX {
            break;
        }
        name.push(letter);
    }
    name
}

fn value_of(json: &[u8]) -> Result<Value, ApiError> {
    codec::decode_plain(json, Format::Json)
}

/// A custom object of which nothing is set.
const CUSTOM_ZERO: &[u8] = br#"{"metadata":{}}"#;

fn type_of(model: &Model) -> Type<'_> {
    match model {
        Model::Typed { schema, .. } => Type::of(schema()),
        Model::Custom(model) => Type::custom(&*model.schema),
    }
}

impl Resource {
    /// The kind that shows the resource's objects in a version.
    fn in_version(&self, api_version: &str) -> Option<&Kind> {
        let own = &self.kind;
        kinds::all()
            .iter()
            .chain(self.versions.iter().map(|kind| &**kind))
            .find(|kind| kind.plural == own.plural && kind.storage == own.storage && kind.api_version() == api_version)
    }
}

/// A resource's objects in the versions of others that show the same.
impl Versions for Resource {
    fn convert(&self, object: &Value, api_version: &str) -> Option<(Value, Type<'_>)> {
        let (from, to) = (self.in_version(object.get("apiVersion")?.as_str()?)?, self.in_version(api_version)?);
        if from.api_version() == to.api_version() {
            return Some((object.clone(), type_of(&to.model)));
        }
        let object = from.model.decode(object.to_string().as_bytes()).ok()?;
        let converted = convert::to_served(convert::to_stored(object, &self.stored), to);
        if converted.api_version() != api_version {
            return None;
        }
        let value = serde_json::from_slice(&converted.encode_alone()).ok()?;
        Some((value, type_of(&to.model)))
    }

    fn type_in(&self, api_version: &str) -> Option<Type<'_>> {
        self.in_version(api_version).map(|kind| type_of(&kind.model))
    }

    /// Definitions say it of each version alone.
    fn share_reset(&self) -> bool {
        self.kind.model.custom().is_none()
    }

    fn may_change(&self) -> bool {
        self.kind.model.custom().is_some()
    }
}

/// Of what is served in one version only.
pub(super) static ONE_VERSION: OneVersion = OneVersion;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_called_by_their_programs() {
        let long = "x".repeat(200);
        for (agent, name) in [
            ("kubectl/v1.32.0 (linux/amd64) kubernetes/abc", "kubectl"),
            ("curl", "curl"),
            ("", ""),
            (&*long, &long[..128]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().expect("a header"));
            assert_eq!(user_agent(&headers), name);
        }
    }
}
