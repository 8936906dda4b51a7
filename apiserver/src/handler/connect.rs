//! What leads to a container itself: `exec`, `attach` and `portforward`, which upgrade their connection and give it to the
//! kubelet. What is spoken over it is between the client and the kubelet.
//!
//! Source: upstream's `ConnectResource`, and `streamLocation` and `validateContainer` of the strategy of pods.

use axum::body::Body;
use coracle_api::status::ApiError;
use http::header::{self, CONNECTION, HeaderName};
use http::{HeaderMap, Method, Request, Response};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::{Call, denied};
use crate::auth::{Attributes, Decision, ResourceAttributes};
use crate::proxy::NodeAddress;
use crate::query::{Query, encode};
use crate::route::{Subresource, Verb};
use crate::strategy::typed;
use crate::writer::Writer;

/// What of a request's headers is about its upgrade.
const UPGRADE_HEADERS: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_VERSION,
    HeaderName::from_static("x-stream-protocol-version"),
];

/// # Errors
/// When something is not there, the connection is not to be upgraded, or its node cannot be reached.
pub(super) async fn run(call: &Call, what: Subresource) -> Result<Response<Body>, ApiError> {
    refuse_dry_run(&call.query)?;
    authorize_create(call, what)?;
    call.api.be_fresh().await?;
    let found = call.resource().cache.get(&call.target.path());
    let found = found.ok_or_else(|| call.writer(true).not_found(call.name()))?;
    let loaded = call.resource().load(&found)?;
    let pod = typed::<Pod>(&loaded);
    let container = match what {
        Subresource::PortForward => None,
        _ => Some(container(pod, call.query.get("container"))?),
    };
    let host = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if host.is_empty() {
        return Err(ApiError::BadRequest(format!("pod {} does not have a host assigned", call.name())));
    }
    let node = node(call, host)?;
    if !is_upgrade(&call.headers) {
        return Err(ApiError::BadRequest("Upgrade request required".to_owned()));
    }
    let request = request(call, what, container.as_deref());
    let answer = call.api.nodes.send(&node, request).await;
    answer.map_err(|error| ApiError::Internal(format!("error dialing backend: {error}")))
}

/// Whoever upgrades a connection by a GET, as WebSockets do, must be allowed to create what is behind it, too.
///
/// Source: `AuthorizePodWebsocketUpgradeCreatePermission`, on from 1.35.
fn authorize_create(call: &Call, what: Subresource) -> Result<(), ApiError> {
    let kind = &call.resource().kind;
    let resource = ResourceAttributes {
        group: &kind.group,
        version: &kind.version,
        resource: &kind.plural,
        subresource: Some(what.as_str()),
        namespace: call.target.namespace.as_deref(),
        name: call.target.name.as_deref(),
    };
    let asked = Attributes { verb: "create", path: "", resource: Some(resource) };
    match call.api.authorizer.authorize(&call.identity, &asked) {
        Decision::Allow => Ok(()),
        Decision::Deny { reason } => Err(denied(&call.identity, &asked, &reason)),
    }
}

/// What the kubelet is asked, with the way to the client's connection.
fn request(call: &Call, what: Subresource, container: Option<&str>) -> Request<Body> {
    let mut path = match what {
        Subresource::Exec => "/exec/",
        Subresource::Attach => "/attach/",
        _ => "/portForward/",
    }
    .to_owned();
    path.push_str(&call.target.path());
    if let Some(container) = container {
        path.push('/');
        path.push_str(&encode(container));
    }
    let mut options = Vec::new();
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if what != Subresource::PortForward && call.query.flag(ours) {
            options.push(format!("{theirs}=1"));
        }
    }
    let (ours, theirs) = if what == Subresource::PortForward { ("ports", "port") } else { ("command", "command") };
    options.extend(call.query.all(ours).map(|value| format!("{theirs}={}", encode(value))));
    path.push('?');
    path.push_str(&options.join("&"));
    let mut request = Request::new(Body::empty());
    *request.method_mut() = if call.target.verb == Verb::Get { Method::GET } else { Method::POST };
    // Names are checked and values encoded, so this is a path.
    *request.uri_mut() = path.parse().unwrap_or_default();
    for name in UPGRADE_HEADERS {
        for value in call.headers.get_all(&name) {
            request.headers_mut().append(name.clone(), value.clone());
        }
    }
    if let Some(upgrade) = &call.upgrade {
        request.extensions_mut().insert(upgrade.clone());
    }
    request
}

/// # Errors
/// When a dry run is asked for of what has an effect that is not known here.
pub(super) fn refuse_dry_run(query: &Query) -> Result<(), ApiError> {
    match query.first("dryRun") {
        None => Ok(()),
        Some(_) => Err(ApiError::BadRequest("dryRun is not supported".to_owned())),
    }
}

/// The container that is meant: the one that is named, or the only one.
///
/// # Errors
/// When there is no such container, or none is named where there are several.
pub(super) fn container(pod: &Pod, asked: Option<&str>) -> Result<String, ApiError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let refuse = |why: String| Err(ApiError::BadRequest(why));
    let Some(spec) = &pod.spec else { return refuse(format!("a container name must be specified for pod {name}")) };
    let initial = spec.init_containers.iter().flatten().map(|container| container.name.as_str());
    let usual = spec.containers.iter().map(|container| container.name.as_str());
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| container.name.as_str());
    let all: Vec<&str> = initial.chain(usual).chain(ephemeral).collect();
    match (asked, spec.containers.as_slice()) {
        (Some(asked), _) if all.contains(&asked) => Ok(asked.to_owned()),
        (Some(asked), _) => refuse(format!("container {asked} is not valid for pod {name}")),
        (None, [one]) => Ok(one.name.clone()),
        (None, []) => refuse(format!("a container name must be specified for pod {name}")),
        (None, _) => {
            let all = all.join(" ");
            refuse(format!("a container name must be specified for pod {name}, choose one of: [{all}]"))
        }
    }
}

/// Where the kubelet of a node is.
///
/// # Errors
/// When there is no such node.
pub(super) fn node(call: &Call, name: &str) -> Result<NodeAddress, ApiError> {
    let nodes = call.api.resources.core("nodes");
    let writer = Writer { api: &call.api, resource: nodes, dry_run: true };
    let found = nodes.cache.get(name).ok_or_else(|| writer.not_found(name))?;
    Ok(NodeAddress::of(typed::<Node>(&nodes.load(&found)?)))
}

/// Source: upstream's `httpstream.IsUpgradeRequest`.
fn is_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.into_iter().any(|value| value.to_ascii_lowercase().contains("upgrade"))
}
