//! What is there before anybody asks for it: the namespaces that components use, the priorities of what every cluster
//! needs, and the service by which pods find the API server.
//!
//! What is there already is not written again, so that a server starts, and can be read from, on a disk that is full.
//!
//! Source: upstream's `systemnamespaces` and `kubernetesservice` controllers, and the post-start hook of scheduling.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use coracle_api::status::ApiError;
use coracle_api::validation::SYSTEM_PRIORITIES;
use futures::future::try_join_all;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde_json::{Value, json};
use tower::Service as _;

use crate::serve::InProcess;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The API server's own service, and everything that belongs to it.
const SERVICE: &str = "kubernetes";

/// Makes what is missing. `address` is where the server listens, if it does.
///
/// # Errors
/// When something cannot be made.
pub(crate) async fn run(client: InProcess, service_ip: IpAddr, address: Option<SocketAddr>) -> Result<(), ApiError> {
    try_join_all(NAMESPACES.map(|name| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(client.clone(), "/api/v1/namespaces", name, namespace)
    }))
    .await?;
    try_join_all(SYSTEM_PRIORITIES.map(|(name, value)| {
        create(client.clone(), "/apis/scheduling.k8s.io/v1/priorityclasses", name, priority_class(name, value))
    }))
    .await?;
    let port = address.map_or(443, |address| address.port());
    ensure(client.clone(), "/api/v1/namespaces/default/services", service(service_ip, port)).await?;
    if let Some(address) = address.filter(|address| !address.ip().is_unspecified()) {
        ensure(client.clone(), "/api/v1/namespaces/default/endpoints", endpoints(address)).await?;
        ensure(client, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", endpoint_slice(address)).await?;
    }
    Ok(())
}

fn priority_class(name: &str, value: i32) -> Value {
    let description = match name {
        "system-node-critical" => "Used for system critical pods that must not be moved from their current node.",
        _ => {
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."
        }
    };
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        "description": description,
    })
}

fn service(ip: IpAddr, port: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": ip,
            "clusterIPs": [ip],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    })
}

fn endpoints(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": SERVICE, "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": address.ip()}],
            "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
        }],
    })
}

fn endpoint_slice(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    })
}

/// Makes an object, unless it is there.
async fn create(client: InProcess, collection: &str, name: &str, object: Value) -> Result<(), ApiError> {
    let path = format!("{collection}/{name}");
    if send(client.clone(), Method::GET, &path, "application/json", &Value::Null).await.is_ok() {
        return Ok(());
    }
    match send(client, Method::POST, collection, "application/json", &object).await {
        // Another server was faster.
        Ok(()) | Err(Refused { code: 409, .. }) => Ok(()),
        Err(refused) => Err(refused.into()),
    }
}

/// Changes an object to what it should be; makes it when it is not there.
async fn ensure(client: InProcess, collection: &str, object: Value) -> Result<(), ApiError> {
    let path = format!("{collection}/{SERVICE}");
    match send(client.clone(), Method::PATCH, &path, "application/merge-patch+json", &object).await {
        Err(Refused { code: 404, .. }) => create(client, collection, SERVICE, object).await,
        Err(Refused { code: 507, message }) => {
            tracing::warn!(message, "pods may not find the API server: there is no room to say where it is");
            Ok(())
        }
        changed => Ok(changed?),
    }
}

struct Refused {
    code: u16,
    message: String,
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        Self::Internal(refused.message)
    }
}

async fn send(
    mut client: InProcess,
    method: Method,
    path: &str,
    media_type: &'static str,
    body: &Value,
) -> Result<(), Refused> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, media_type);
    let request = request.body(Body::from(body.to_string())).expect("the paths above are paths");
    let Ok(response) = client.call(request).await;
    let code = response.status();
    if code.is_success() {
        return Ok(());
    }
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let status: Status = serde_json::from_slice(&body).unwrap_or_default();
    Err(Refused { code: code.as_u16(), message: format!("{path}: {}", status.message.unwrap_or_default()) })
}
