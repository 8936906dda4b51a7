//! Answers: bytes that are ready, with the headers that say what they are.

use axum::body::Body;
use bytes::Bytes;
use coracle_api::codec;
use coracle_api::status::{self, ApiError};
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use sha2::{Digest as _, Sha512};

use crate::negotiate::{Accept, Format, View};
use crate::pretty;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// JSON, or the same as YAML.
pub(crate) fn document(code: StatusCode, json: impl Into<Bytes>, accept: Accept) -> Response<Body> {
    let json = dated(json.into(), accept);
    match accept.format {
        Format::Json => with_type(code, JSON, Body::from(ended(json))),
        Format::Pretty => with_type(code, JSON, Body::from(pretty::indented(&json))),
        Format::Yaml => match codec::json_to_yaml(&json) {
            Ok(yaml) => with_type(code, YAML, Body::from(yaml)),
            Err(error) => refusal(&ApiError::Internal(error.to_string()), Accept::JSON),
        },
    }
}

/// A text ends with its line, as Go's encoder ends it.
fn ended(json: Bytes) -> Bytes {
    match json.try_into_mut() {
        Ok(mut own) => {
            own.extend_from_slice(b"\n");
            own.freeze()
        }
        Err(shared) => [&shared[..], b"\n"].concat().into(),
    }
}

/// A table, or metadata, in the version that is wanted of them; anything else as it is.
pub(crate) fn dated(json: Bytes, accept: Accept) -> Bytes {
    const NOW: &str = "\"apiVersion\":\"meta.k8s.io/v1\"";
    const THEN: &str = "\"apiVersion\":\"meta.k8s.io/v1beta1\"";
    let is_dated = matches!(accept.view, View::Table | View::Metadata | View::MetadataList);
    match std::str::from_utf8(&json) {
        // Within a string the quotes would be escaped.
        Ok(text) if accept.is_beta && is_dated => text.replace(NOW, THEN).into(),
        _ => json,
    }
}

/// JSON of a media type of its own.
pub(crate) fn typed_json(media_type: &str, json: impl Into<Bytes>) -> Response<Body> {
    let media_type = HeaderValue::from_str(media_type).unwrap_or(JSON);
    with_type(StatusCode::OK, media_type, Body::from(json.into()))
}

/// JSON that a client may have already: then it is told so.
pub(crate) fn tagged(headers: &HeaderMap, json: String) -> Response<Body> {
    let hash = hash(json.as_bytes());
    with_tag(headers, &hash, typed_json("application/json", json))
}

/// Aggregated discovery, which has a media type of its own: `called` says which, after the text.
///
/// Source: upstream's `ServeHTTPWithETag`.
pub(crate) fn discovery(called: &str, headers: &HeaderMap, json: String, accept: Accept) -> Response<Body> {
    let hash = hash(json.as_bytes());
    let mut response = document(StatusCode::OK, json, accept);
    let text = if accept.format == Format::Yaml { "yaml" } else { "json" };
    let media_type = HeaderValue::from_str(&format!("application/{text};{called}")).unwrap_or(JSON);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    let mut response = with_tag(headers, &hash, response);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

fn with_tag(headers: &HeaderMap, hash: &str, mut response: Response<Body>) -> Response<Body> {
    if is_known(headers, hash) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    response.headers_mut().insert(ETAG, etag(hash));
    response
}

/// Says which request this is the answer to: by what the client calls it, or by a name that is made up.
///
/// Source: upstream's `WithAuditInit`.
pub(crate) fn identify(response: &mut Response<Body>, headers: &HeaderMap) {
    let name = HeaderName::from_static("audit-id");
    let given = headers.get(&name).filter(|value| !value.is_empty()).cloned();
    let made = || HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static(""));
    response.headers_mut().entry(name).or_insert_with(|| given.unwrap_or_else(made));
}

/// As documents are told apart: SHA-512, in upper case. Source: kube-openapi's `computeETag`.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha512::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The header that says which hash an answer has.
pub(crate) fn etag(hash: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static(""))
}

/// Whether the client says that it has what has this hash.
pub(crate) fn is_known(headers: &HeaderMap, hash: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.trim_start_matches("W/").trim_matches('"') == hash)
}

/// What is answered to HEAD: as to GET, but for the body.
pub(crate) fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(bytes) = body.size_hint().exact() {
        parts.headers.insert(CONTENT_LENGTH, bytes.into());
    }
    Response::from_parts(parts, Body::empty())
}

/// A refusal as a `Status`.
pub(crate) fn refusal(error: &ApiError, accept: Accept) -> Response<Body> {
    let mut response = status(&error.status(), accept);
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if matches!(error, ApiError::Unauthorized) {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(error, ApiError::Forbidden { .. } | ApiError::PathForbidden { .. }) {
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    }
    response
}

/// A `Status`, with the code that it says itself.
pub(crate) fn status(status: &Status, accept: Accept) -> Response<Body> {
    let code = status.code.and_then(|code| u16::try_from(code).ok()).and_then(|code| StatusCode::from_u16(code).ok());
    document(code.unwrap_or(StatusCode::OK), status::encode(status), accept)
}

/// Text for people and scrapers.
pub(crate) fn text(code: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = with_type(code, TEXT, text.into());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
    response
}

/// What Prometheus reads.
pub(crate) fn metrics(text: String) -> Response<Body> {
    with_type(StatusCode::OK, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"), text.into())
}

/// What is wrong with the server's health.
pub(crate) fn unwell(what: String) -> Response<Body> {
    let code = StatusCode::from_u16(ApiError::Internal(String::new()).code()).unwrap_or_default();
    text(code, what)
}

/// What a web server answers to a path that leads nowhere.
pub(crate) fn no_such_page() -> Response<Body> {
    let code = StatusCode::from_u16(ApiError::NoSuchPath.code()).unwrap_or_default();
    text(code, "404 page not found\n")
}

/// An answer that goes on.
pub(crate) fn stream(media_type: HeaderValue, body: Body) -> Response<Body> {
    with_type(StatusCode::OK, media_type, body)
}

fn with_type(code: StatusCode, media_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}
