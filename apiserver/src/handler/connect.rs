//! What leads to a container itself: `exec`, `attach` and `portforward`, which upgrade their connection. The nodes of this
//! cluster don't offer them; all that comes before is refused as upstream refuses it.
//!
//! Source: upstream's `ConnectResource`, and `streamLocation` and `validateContainer` of the strategy of pods.

use axum::body::Body;
use coracle_api::status::ApiError;
use http::header::CONNECTION;
use http::{HeaderMap, Response};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::Call;
use crate::proxy::NodeAddress;
use crate::query::Query;
use crate::route::Subresource;
use crate::strategy::typed;
use crate::writer::Writer;

/// # Errors
/// Always: something is not there, the connection is not to be upgraded, or its node cannot do this.
pub(super) async fn run(call: &Call, what: Subresource) -> Result<Response<Body>, ApiError> {
    refuse_dry_run(&call.query)?;
    call.api.be_fresh().await?;
    let found = call.resource().cache.get(&call.target.path());
    let found = found.ok_or_else(|| call.writer(true).not_found(call.name()))?;
    let loaded = call.resource().load(&found)?;
    let pod = typed::<Pod>(&loaded);
    if what != Subresource::PortForward {
        container(pod, call.query.get("container"))?;
    }
    let host = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    if host.is_empty() {
        return Err(ApiError::BadRequest(format!("pod {} does not have a host assigned", call.name())));
    }
    node(call, host)?;
    if !is_upgrade(&call.headers) {
        return Err(ApiError::BadRequest("Upgrade request required".to_owned()));
    }
    Err(ApiError::Unavailable(format!("{} is not offered by the nodes of this cluster", what.as_str())))
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
