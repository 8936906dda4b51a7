//! GET of what a container has written, from the node that runs it. Source: upstream's `LogREST`.

use axum::body::Body;
use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use super::watch::Place;
use super::{Call, connect};
use crate::query::{Query, encode};
use crate::respond;
use crate::strategy::typed;

/// The options that are the kubelet's to read.
const PASSED_ON: [&str; 7] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes"];

pub(super) async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    check(&call.query, call.name())?;
    call.api.be_fresh().await?;
    let found = call.resource().cache.get(&call.target.path());
    let found = found.ok_or_else(|| call.writer(true).not_found(call.name()))?;
    let loaded = call.resource().load(&found)?;
    let pod = typed::<Pod>(&loaded);
    let container = connect::container(pod, call.query.get("container"))?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if node.is_empty() {
        // Nothing has been written yet; upstream answers so too.
        return Ok(respond::text(http::StatusCode::OK, Body::empty()));
    }
    let place = call.query.flag("follow").then(|| Place::take(&call.api)).transpose()?;
    let request = request(call, &container);
    let answer = call.api.nodes.send(&connect::node(call, node)?, request).await;
    let answer = answer.map_err(|error| {
        let why = format!("Get \"containerLogs/{}/{container}\" of node {node}: {error}", call.target.path());
        tracing::debug!(%error, node, "a kubelet did not answer");
        ApiError::Internal(why)
    })?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let (_, body) = answer.into_parts();
    let body = match place {
        Some(place) => Body::new(body.map_frame(move |frame| {
            // Held as long as the log goes on.
            let _held = &place;
            frame
        })),
        None => body,
    };
    Ok(respond::text(http::StatusCode::OK, body))
}

/// Source: upstream's `ValidatePodLogOptions`.
fn check(query: &Query, name: &str) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    for (option, least) in [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)] {
        if let Some(value) = query.integer(option)?.filter(|value| *value < least) {
            errors.invalid(&Path::new(option), &value, &format!("must be greater than or equal to {least}"));
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        errors.forbidden(&Path::new("sinceTime"), "at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    // The gate `PodLogsQuerySplitStreams` is closed in v1.36.
    if query.get("stream").is_some() {
        errors.forbidden(&Path::new("stream"), "may not be specified");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid { kind: GroupKind::fixed("", "PodLogOptions"), name: name.to_owned(), errors })
}

fn request(call: &Call, container: &str) -> Request<Body> {
    let mut path = format!("/containerLogs/{}/{}", call.target.path(), encode(container));
    for (index, name) in PASSED_ON.iter().filter(|name| call.query.get(name).is_some()).enumerate() {
        let value = encode(call.query.get(name).unwrap_or_default());
        path.push_str(&format!("{}{name}={value}", if index == 0 { '?' } else { '&' }));
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::GET;
    // Names are checked and values encoded, so this is a path.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

/// The kubelet's refusal in our own words: most are about what the container is doing.
async fn refused(answer: Response<Body>) -> ApiError {
    let code = answer.status();
    let body = http_body_util::Limited::new(answer.into_body(), 64 * 1024).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message = match serde_json::from_slice::<Status>(&body) {
        Ok(Status { message: Some(message), .. }) => message,
        _ => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    if code.is_server_error() { ApiError::Internal(message) } else { ApiError::BadRequest(message) }
}
