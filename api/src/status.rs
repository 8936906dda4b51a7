//! What the API answers when it refuses, and the one place that knows HTTP status codes.
//!
//! An [`ApiError`] carries identities; [`ApiError::status`] turns it into the `Status` that Kubernetes would answer: code,
//! reason, message, details and causes.
//!
//! Source: `k8s.io/apimachinery/pkg/api/errors`.

use std::borrow::Cow;
use std::fmt::{self, Display};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails};

use crate::codec;
use crate::field;
use crate::kind::{Kind, Verb};
use crate::schema;

/// A resource as messages name it: `deployments.apps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupResource {
    pub group: Cow<'static, str>,
    /// The plural, with `/subresource` where one is meant.
    pub resource: Cow<'static, str>,
}

impl GroupResource {
    /// The resource of a row of the table.
    #[must_use]
    pub fn of(kind: &Kind) -> Self {
        Self { group: kind.group.clone(), resource: kind.plural.clone() }
    }

    /// The resource with a subresource, as in `pods/binding`.
    #[must_use]
    pub fn with_subresource(kind: &Kind, subresource: &str) -> Self {
        Self { group: kind.group.clone(), resource: format!("{}/{subresource}", kind.plural).into() }
    }
}

impl Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_qualified(f, &self.resource, &self.group)
    }
}

/// A kind as messages name it: `Deployment.apps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupKind {
    pub group: Cow<'static, str>,
    pub kind: Cow<'static, str>,
}

impl GroupKind {
    /// The kind of a row of the table.
    #[must_use]
    pub fn of(kind: &Kind) -> Self {
        Self { group: kind.group.clone(), kind: kind.kind.clone() }
    }

    /// A kind that is in no row.
    #[must_use]
    pub const fn fixed(group: &'static str, kind: &'static str) -> Self {
        Self { group: Cow::Borrowed(group), kind: Cow::Borrowed(kind) }
    }
}

impl Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_qualified(f, &self.kind, &self.group)
    }
}

fn write_qualified(f: &mut fmt::Formatter<'_>, name: &str, group: &str) -> fmt::Result {
    if group.is_empty() { f.write_str(name) } else { write!(f, "{name}.{group}") }
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The request makes no sense as it stands.
    #[error("{0}")]
    BadRequest(String),
    /// The body says of what kind it is, and cannot be read as one of the kind that it should be.
    #[error("{kind} in version {version:?} cannot be handled as a {expected}: {why}")]
    Undecodable { kind: String, version: String, expected: String, why: String },
    /// Nobody knows who is asking.
    #[error("Unauthorized")]
    Unauthorized,
    /// Who is asking may not do this, or nobody may.
    #[error("{}", forbidden(resource, name, reason))]
    Forbidden { resource: GroupResource, name: String, reason: String },
    /// Nothing can be created in a namespace that is being deleted.
    #[error("{}", forbidden(resource, name, &terminating(namespace)))]
    NamespaceTerminating { resource: GroupResource, name: String, namespace: String },
    /// The URL itself is not for those who ask, whatever it names.
    #[error("forbidden: User {user:?} cannot {verb} path {path:?}")]
    PathForbidden { user: String, verb: String, path: String },
    /// There is no such object.
    #[error("{resource} {name:?} not found")]
    NotFound { resource: GroupResource, name: String },
    /// There is no such URL.
    #[error("the server could not find the requested resource")]
    NoSuchPath,
    #[error("{resource} {name:?} already exists")]
    AlreadyExists { resource: GroupResource, name: String },
    /// Every name that was generated was taken.
    #[error("{resource} {name:?} already exists, the server was not able to generate a unique name for the object")]
    NoUniqueName { resource: GroupResource, name: String },
    /// The object is not as the writer believed.
    #[error("Operation cannot be fulfilled on {resource} {name:?}: {message}")]
    Conflict { resource: GroupResource, name: String, message: String },
    /// Other managers own fields that an apply would change.
    #[error("Apply failed with {}", list_conflicts(conflicts))]
    ApplyConflict { conflicts: Vec<ApplyConflict> },
    /// The object breaks rules of its kind.
    #[error("{kind} {name:?} is invalid: {errors}")]
    Invalid { kind: GroupKind, name: String, errors: field::Errors },
    /// The request is well formed and can't be done, such as a patch whose test fails. Why is not told: upstream keeps it
    /// to itself.
    #[error("the server rejected our request due to an error in our request")]
    Unprocessable,
    /// The revision asked for is no longer kept.
    #[error("{0}")]
    Expired(String),
    /// The revision of a list's first part is no longer kept: the rest may be had as it is now, with this token.
    #[error("{}", INCONSISTENT)]
    ContinueExpired { continue_: String },
    /// The revision asked for is not there yet.
    #[error("Too large resource version: {requested}, current: {current}")]
    RevisionTooLarge { requested: u64, current: u64 },
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// What is done with no resource of this kind. What a verb is called that nobody knows is empty.
    #[error("{verb} is not supported on resources of kind \"{resource}\"")]
    MethodNotSupported { resource: GroupResource, verb: &'static str },
    #[error("only the following media types are accepted: {}", accepted.join(", "))]
    NotAcceptable { accepted: Vec<String> },
    /// What is asked for cannot be shown in the form that the client wants.
    #[error("{0}")]
    NotConvertible(String),
    #[error("the body of the request was in an unknown format - accepted media types include: {}", accepted.join(", "))]
    UnsupportedMediaType { accepted: Vec<String> },
    #[error("Request entity too large: limit is {bytes_max}")]
    BodyTooLarge { bytes_max: usize },
    #[error("Request entity too large: The allowed maximum operations in a JSON patch is {max}, got {count}")]
    TooManyOperations { max: usize, count: usize },
    /// The server has too much to do, or what is asked for may not be done yet.
    #[error("{message}")]
    TooManyRequests { message: String, retry_after_seconds: u32 },
    /// An eviction would leave a disruption budget broken.
    #[error("Cannot evict pod as it would violate the pod's disruption budget.")]
    DisruptionBudget { message: String, retry_after_seconds: Option<u32> },
    /// Of several budgets none can say alone whether a pod may go.
    #[error("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")]
    ManyDisruptionBudgets,
    /// What was asked for took too long.
    #[error("Timeout: {0}")]
    Timeout(String),
    #[error("The {} operation against {resource} could not be completed at this time, please try again.", verb.as_str())]
    ServerTimeout { resource: GroupResource, verb: Verb, retry_after_seconds: u32 },
    /// What the server needs to answer is not there.
    #[error("{0}")]
    Unavailable(String),
    /// The disk is full: reads go on, writes are refused.
    #[error("the store has no space left: {0}")]
    StorageFull(String),
    #[error("Internal error occurred: {0}")]
    Internal(String),
    /// The request can't be done, and Kubernetes has no word for why: a configuration that is not of its kind's type.
    #[error("{0}")]
    Unclassified(String),
}

/// A field that two managers want to own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyConflict {
    /// `.spec.replicas`
    pub field: String,
    /// Who owns it now, as `"kubectl" using apps/v1`.
    pub manager: String,
}

/// The message of [`ApiError::ContinueExpired`]. Source: upstream's `inconsistentContinue`.
const INCONSISTENT: &str = "The provided continue parameter is too old to display a consistent list result. You can start \
    a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
    results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
    deleted between the time the first chunk was returned and now may show up in the list.";

/// The message of a [`ApiError::Conflict`] of revisions.
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

fn forbidden(resource: &GroupResource, name: &str, reason: &str) -> String {
    if name.is_empty() {
        format!("{resource} is forbidden: {reason}")
    } else {
        format!("{resource} {name:?} is forbidden: {reason}")
    }
}

fn terminating(namespace: &str) -> String {
    format!("unable to create new content in namespace {namespace} because it is being terminated")
}

fn list_conflicts(conflicts: &[ApplyConflict]) -> String {
    if let [ApplyConflict { field, manager }] = conflicts {
        return format!("1 conflict: conflict with {manager}: {field}");
    }
    let mut told = format!("{} conflicts: ", conflicts.len());
    for (i, of_one) in conflicts.chunk_by(|a, b| a.manager == b.manager).enumerate() {
        let line = if i == 0 { "" } else { "\n" };
        told.push_str(&format!("{line}conflicts with {}:", of_one[0].manager));
        for conflict in of_one {
            told.push_str(&format!("\n- {}", conflict.field));
        }
    }
    told
}

impl ApiError {
    /// The HTTP status code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            ApiError::BadRequest(_) | ApiError::Undecodable { .. } => 400,
            ApiError::Unauthorized => 401,
            ApiError::Forbidden { .. } | ApiError::NamespaceTerminating { .. } | ApiError::PathForbidden { .. } => 403,
            ApiError::NotFound { .. } | ApiError::NoSuchPath => 404,
            ApiError::MethodNotAllowed | ApiError::MethodNotSupported { .. } => 405,
            ApiError::NotAcceptable { .. } | ApiError::NotConvertible(_) => 406,
            ApiError::AlreadyExists { .. }
            | ApiError::NoUniqueName { .. }
            | ApiError::Conflict { .. }
            | ApiError::ApplyConflict { .. } => 409,
            ApiError::Expired(_) | ApiError::ContinueExpired { .. } => 410,
            ApiError::BodyTooLarge { .. } | ApiError::TooManyOperations { .. } => 413,
            ApiError::UnsupportedMediaType { .. } => 415,
            ApiError::Invalid { .. } | ApiError::Unprocessable => 422,
            ApiError::TooManyRequests { .. } | ApiError::DisruptionBudget { .. } => 429,
            ApiError::Internal(_)
            | ApiError::Unclassified(_)
            | ApiError::ServerTimeout { .. }
            | ApiError::ManyDisruptionBudgets => 500,
            ApiError::Unavailable(_) => 503,
            ApiError::RevisionTooLarge { .. } | ApiError::Timeout(_) => 504,
            ApiError::StorageFull(_) => 507,
        }
    }

    /// The word by which programs tell refusals apart.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            ApiError::BadRequest(_) | ApiError::Undecodable { .. } => "BadRequest",
            ApiError::Unauthorized => "Unauthorized",
            ApiError::Forbidden { .. } | ApiError::NamespaceTerminating { .. } | ApiError::PathForbidden { .. } => {
                "Forbidden"
            }
            ApiError::NotFound { .. } | ApiError::NoSuchPath => "NotFound",
            ApiError::MethodNotAllowed | ApiError::MethodNotSupported { .. } => "MethodNotAllowed",
            ApiError::NotAcceptable { .. } | ApiError::NotConvertible(_) => "NotAcceptable",
            ApiError::AlreadyExists { .. } | ApiError::NoUniqueName { .. } => "AlreadyExists",
            ApiError::Conflict { .. } | ApiError::ApplyConflict { .. } => "Conflict",
            ApiError::Expired(_) | ApiError::ContinueExpired { .. } => "Expired",
            ApiError::BodyTooLarge { .. } | ApiError::TooManyOperations { .. } => "RequestEntityTooLarge",
            ApiError::UnsupportedMediaType { .. } => "UnsupportedMediaType",
            ApiError::Invalid { .. } | ApiError::Unprocessable => "Invalid",
            ApiError::TooManyRequests { .. } | ApiError::DisruptionBudget { .. } => "TooManyRequests",
            ApiError::Internal(_) => "InternalError",
            ApiError::ManyDisruptionBudgets | ApiError::Unclassified(_) => "",
            ApiError::ServerTimeout { .. } => "ServerTimeout",
            ApiError::Unavailable(_) => "ServiceUnavailable",
            ApiError::RevisionTooLarge { .. } | ApiError::Timeout(_) => "Timeout",
            ApiError::StorageFull(_) => "InsufficientStorage",
        }
    }

    /// After how many seconds it is worth asking again: the `Retry-After` header.
    #[must_use]
    pub const fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            ApiError::TooManyRequests { retry_after_seconds, .. }
            | ApiError::ServerTimeout { retry_after_seconds, .. } => Some(*retry_after_seconds),
            ApiError::DisruptionBudget { retry_after_seconds, .. } => *retry_after_seconds,
            ApiError::RevisionTooLarge { .. } => Some(1),
            _ => None,
        }
    }

    /// The answer's body.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            status: Some("Failure".to_owned()),
            code: Some(i32::from(self.code())),
            reason: non_empty(self.reason()),
            message: Some(self.to_string()),
            details: self.details(),
            metadata: match self {
                ApiError::ContinueExpired { continue_ } => {
                    ListMeta { continue_: Some(continue_.clone()), ..ListMeta::default() }
                }
                _ => ListMeta::default(),
            },
        }
    }

    fn details(&self) -> Option<StatusDetails> {
        let details = match self {
            ApiError::BadRequest(_)
            | ApiError::Undecodable { .. }
            | ApiError::Unauthorized
            | ApiError::NotAcceptable { .. }
            | ApiError::NotConvertible(_)
            | ApiError::UnsupportedMediaType { .. }
            | ApiError::BodyTooLarge { .. }
            | ApiError::TooManyOperations { .. }
            | ApiError::Expired(_)
            | ApiError::ContinueExpired { .. }
            | ApiError::Unavailable(_)
            | ApiError::ManyDisruptionBudgets
            | ApiError::Unclassified(_)
            | ApiError::StorageFull(_) => return None,
            ApiError::PathForbidden { .. }
            | ApiError::NoSuchPath
            | ApiError::MethodNotAllowed
            | ApiError::Unprocessable => StatusDetails::default(),
            ApiError::MethodNotSupported { resource, .. } => about(resource, ""),
            ApiError::Forbidden { resource, name, .. }
            | ApiError::NotFound { resource, name }
            | ApiError::AlreadyExists { resource, name }
            | ApiError::NoUniqueName { resource, name }
            | ApiError::Conflict { resource, name, .. } => about(resource, name),
            ApiError::NamespaceTerminating { resource, name, namespace } => {
                let message = format!("namespace {namespace} is being terminated");
                with_causes(about(resource, name), vec![cause("metadata.namespace", "NamespaceTerminating", message)])
            }
            ApiError::ServerTimeout { resource, .. } => about(resource, ""),
            ApiError::ApplyConflict { conflicts } => {
                let causes = conflicts
                    .iter()
                    .map(|c| cause(&c.field, "FieldManagerConflict", format!("conflict with {}", c.manager)));
                with_causes(StatusDetails::default(), causes.collect())
            }
            ApiError::Invalid { kind, name, errors } => {
                let causes = errors.iter().map(|e| cause(&e.field, e.reason.as_str(), e.message.clone()));
                let about = StatusDetails {
                    name: non_empty(name),
                    group: non_empty(&kind.group),
                    kind: non_empty(&kind.kind),
                    ..StatusDetails::default()
                };
                with_causes(about, causes.collect())
            }
            ApiError::RevisionTooLarge { .. } => {
                let causes = vec![cause("", "ResourceVersionTooLarge", "Too large resource version".to_owned())];
                with_causes(StatusDetails::default(), causes)
            }
            ApiError::DisruptionBudget { message, .. } => {
                with_causes(StatusDetails::default(), vec![cause("", "DisruptionBudget", message.clone())])
            }
            ApiError::TooManyRequests { .. } | ApiError::Timeout(_) => StatusDetails::default(),
            ApiError::Internal(message) => with_causes(StatusDetails::default(), vec![cause("", "", message.clone())]),
        };
        let retry_after_seconds = self.retry_after_seconds().and_then(|s| i32::try_from(s).ok());
        Some(StatusDetails { retry_after_seconds, ..details })
    }
}

fn about(resource: &GroupResource, name: &str) -> StatusDetails {
    StatusDetails {
        name: non_empty(name),
        group: non_empty(&resource.group),
        kind: non_empty(&resource.resource),
        ..StatusDetails::default()
    }
}

fn with_causes(details: StatusDetails, causes: Vec<StatusCause>) -> StatusDetails {
    StatusDetails { causes: Some(causes), ..details }
}

fn cause(field: &str, reason: &str, message: String) -> StatusCause {
    StatusCause { field: non_empty(field), reason: non_empty(reason), message: non_empty(&message) }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The answer to a deletion that is done.
#[must_use]
pub fn deleted(kind: &Kind, name: &str, uid: Option<&str>) -> Status {
    let details = StatusDetails { uid: uid.map(str::to_owned), ..about(&GroupResource::of(kind), name) };
    Status { status: Some("Success".to_owned()), details: Some(details), ..Status::default() }
}

/// The answer to an action that leaves nothing to show: a binding, an eviction.
#[must_use]
pub fn done() -> Status {
    Status { status: Some("Success".to_owned()), code: Some(201), ..Status::default() }
}

/// Writes a status as JSON.
#[must_use]
pub fn encode(status: &Status) -> bytes::Bytes {
    codec::encode_as(status, schema::find("meta.v1.Status").expect("the graph has the status"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};

    use super::*;
    use crate::field::{Errors, Path};
    use crate::kinds;

    fn text(error: &ApiError) -> String {
        String::from_utf8(encode(&error.status()).to_vec()).expect("JSON is UTF-8")
    }

    #[test]
    fn refusals_are_told_as_kubernetes_tells_them() {
        let pods = GroupResource::of(kinds::of::<core::Pod>());
        let deployments = GroupResource::of(kinds::of::<apps::Deployment>());
        let mut errors = Errors::new();
        errors.required(&Path::new("spec").child("selector"), "");
        for (error, json) in [
            (
                ApiError::NotFound { resource: deployments.clone(), name: "w".into() },
                r#"{"apiVersion":"v1","kind":"Status","code":404,"details":{"group":"apps","kind":"deployments","name":"w"},"message":"deployments.apps \"w\" not found","metadata":{},"reason":"NotFound","status":"Failure"}"#,
            ),
            (
                ApiError::Conflict { resource: pods.clone(), name: "p".into(), message: MODIFIED.into() },
                r#"{"apiVersion":"v1","kind":"Status","code":409,"details":{"kind":"pods","name":"p"},"message":"Operation cannot be fulfilled on pods \"p\": the object has been modified; please apply your changes to the latest version and try again","metadata":{},"reason":"Conflict","status":"Failure"}"#,
            ),
            (
                ApiError::Invalid { kind: GroupKind::of(kinds::of::<apps::Deployment>()), name: "w".into(), errors },
                r#"{"apiVersion":"v1","kind":"Status","code":422,"details":{"causes":[{"field":"spec.selector","message":"Required value","reason":"FieldValueRequired"}],"group":"apps","kind":"Deployment","name":"w"},"message":"Deployment.apps \"w\" is invalid: spec.selector: Required value","metadata":{},"reason":"Invalid","status":"Failure"}"#,
            ),
            (
                ApiError::Unauthorized,
                r#"{"apiVersion":"v1","kind":"Status","code":401,"message":"Unauthorized","metadata":{},"reason":"Unauthorized","status":"Failure"}"#,
            ),
            (
                ApiError::RevisionTooLarge { requested: 9, current: 3 },
                r#"{"apiVersion":"v1","kind":"Status","code":504,"details":{"causes":[{"message":"Too large resource version","reason":"ResourceVersionTooLarge"}],"retryAfterSeconds":1},"message":"Too large resource version: 9, current: 3","metadata":{},"reason":"Timeout","status":"Failure"}"#,
            ),
            (
                ApiError::NamespaceTerminating { resource: pods, name: "p".into(), namespace: "n".into() },
                r#"{"apiVersion":"v1","kind":"Status","code":403,"details":{"causes":[{"field":"metadata.namespace","message":"namespace n is being terminated","reason":"NamespaceTerminating"}],"kind":"pods","name":"p"},"message":"pods \"p\" is forbidden: unable to create new content in namespace n because it is being terminated","metadata":{},"reason":"Forbidden","status":"Failure"}"#,
            ),
        ] {
            assert_eq!(text(&error), json);
        }
    }

    #[test]
    fn success_is_told_too() {
        let status = deleted(kinds::of::<core::ConfigMap>(), "a", Some("u"));
        assert_eq!(
            encode(&status),
            &br#"{"apiVersion":"v1","kind":"Status","details":{"kind":"configmaps","name":"a","uid":"u"},"metadata":{},"status":"Success"}"#[..]
        );
        assert_eq!(done().code, Some(201));
    }
}
