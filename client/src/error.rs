//! Why a request did not give what was asked for.

use coracle_api::object::DecodeError;
use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

/// What the layers below a request fail with.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request that failed. The server's own answers come as [`Error::Api`] and are asked about by their meaning
/// ([`Error::is_not_found`] and so on), everything else is a failure on the way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a `Status`.
    #[error("{}", .status.message.as_deref().unwrap_or("the API server refused the request"))]
    Api { status: Box<Status> },

    /// The answer did not come, or not all of it.
    #[error("cannot reach the API server")]
    Transport { source: BoxError },

    /// The answer is not what this request is answered with.
    #[error("the API server's answer to {request} is not understood")]
    Answer { request: String, source: DecodeError },

    /// A line of a watch is not an event.
    #[error("a watch of {path} sent what is not an event: {problem}")]
    Event { path: String, problem: &'static str },

    /// A name or a body that cannot be put into a request.
    #[error("cannot build the request")]
    Request { source: http::Error },

    /// A namespaced object was named without its namespace.
    #[error("{kind} objects live in a namespace, and none was given")]
    NoNamespace { kind: &'static str },

    /// An object that is to be written has no name.
    #[error("a {kind} without a name cannot be written")]
    NoName { kind: &'static str },

    #[error("cannot use the kubeconfig")]
    Kubeconfig { source: BoxError },

    #[error("cannot set up TLS to the API server")]
    Tls { source: BoxError },
}

impl Error {
    /// The server's answer, where it was the server who refused.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api { status } => Some(status),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.means("NotFound", StatusCode::NOT_FOUND)
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some("AlreadyExists")
    }

    /// The object was changed since it was read (and not: it exists already, which has the same code).
    pub fn is_conflict(&self) -> bool {
        self.means("Conflict", StatusCode::CONFLICT)
    }

    /// The revision asked for is no longer kept: list again.
    pub fn is_gone(&self) -> bool {
        self.means("Expired", StatusCode::GONE) || self.reason() == Some("Gone")
    }

    pub fn is_invalid(&self) -> bool {
        self.means("Invalid", StatusCode::UNPROCESSABLE_ENTITY)
    }

    pub fn is_bad_request(&self) -> bool {
        self.means("BadRequest", StatusCode::BAD_REQUEST)
    }

    pub fn is_forbidden(&self) -> bool {
        self.means("Forbidden", StatusCode::FORBIDDEN)
    }

    /// The namespace is being deleted, so nothing can be created in it.
    pub fn is_namespace_terminating(&self) -> bool {
        let causes = self.status().and_then(|s| s.details.as_ref()).and_then(|d| d.causes.as_ref());
        causes.into_iter().flatten().any(|cause| cause.reason.as_deref() == Some("NamespaceTerminating"))
    }

    /// The reason decides; the code only where a server gave none.
    fn means(&self, reason: &str, code: StatusCode) -> bool {
        match (self.reason(), self.status()) {
            (Some(given), _) => given == reason,
            (None, Some(status)) => status.code == Some(i32::from(code.as_u16())),
            (None, None) => false,
        }
    }

    fn reason(&self) -> Option<&str> {
        self.status()?.reason.as_deref().filter(|reason| !reason.is_empty())
    }

    pub(crate) fn transport(source: impl Into<BoxError>) -> Self {
        Self::Transport { source: source.into() }
    }

    /// The error that an answer with `code` and `body` stands for.
    pub(crate) fn refused(code: StatusCode, body: &[u8]) -> Self {
        let status = serde_json::from_slice(body).unwrap_or_else(|_| Status {
            code: Some(i32::from(code.as_u16())),
            message: Some(match String::from_utf8_lossy(body).trim() {
                "" => format!("the API server answered {code}"),
                text => format!("the API server answered {code}: {text}"),
            }),
            status: Some("Failure".into()),
            ..Status::default()
        });
        Self::Api { status: Box::new(status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, body: &str) -> Error {
        Error::refused(StatusCode::from_u16(code).expect("a status code"), body.as_bytes())
    }

    #[test]
    fn reasons_tell_answers_with_one_code_apart() {
        let exists = refused(409, r#"{"kind":"Status","apiVersion":"v1","reason":"AlreadyExists","code":409}"#);
        assert!(exists.is_already_exists() && !exists.is_conflict());
        let conflict = refused(409, r#"{"kind":"Status","apiVersion":"v1","reason":"Conflict","code":409}"#);
        assert!(conflict.is_conflict() && !conflict.is_already_exists());
        let expired = refused(410, r#"{"kind":"Status","apiVersion":"v1","reason":"Expired","code":410}"#);
        assert!(expired.is_gone());
    }

    #[test]
    fn an_answer_that_is_no_status_keeps_its_text() {
        let error = refused(404, "404 page not found\n");
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), "the API server answered 404 Not Found: 404 page not found");
    }
}
