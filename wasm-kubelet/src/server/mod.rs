//! The node's own API, as upstream's kubelet has it: what the API server forwards `kubectl logs` to, and what monitoring
//! reads.
//!
//! | path | answer |
//! | --- | --- |
//! | `/healthz` | `ok` |
//! | `/pods` | the pods of this node, a `PodList` |
//! | `/configz` | what the node was told when it started, as a `KubeletConfiguration` |
//! | `/containerLogs/{namespace}/{pod}/{container}` | see [`logs`] |
//! | `/exec/…`, `/attach/…`, `/portForward/…` | see [`stream`] |
//! | `/metrics`, `/metrics/resource`, `/stats/summary` | see [`metrics`] |
//!
//! The router authenticates nobody: in-process its caller has done so, and over the network [`tls`] has.

mod logs;
mod metrics;
mod query;
pub mod rates;
mod stream;
mod tls;

/// What goes over connections to containers, for programs at the other end of one.
pub mod wire {
    pub use super::stream::files::archive;
    pub use super::stream::spdy::frame::{Broken, Decoder, Encoder, Frame};
}

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use bytes::BytesMut;
use coracle_api::Object;
use http::{Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::node::eviction::Eviction;
use crate::pod::Workers;

pub use tls::{Bound, ServeError, bind, serve};

/// The node's API over its pods.
pub fn router(workers: Arc<Workers>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/configz", get(configz))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::get))
        .route("/metrics", get(metrics::node))
        .route("/metrics/resource", get(metrics::resource))
        .route("/stats/summary", get(metrics::summary))
        .with_state(workers.clone())
        .merge(stream::router(workers))
}

async fn pods(State(workers): State<Arc<Workers>>) -> Response<Body> {
    let mut list = BytesMut::from(&br#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":["#[..]);
    for (at, pod) in workers.host().pods.list().iter().filter(|pod| workers.of(pod).is_some()).enumerate() {
        if at > 0 {
            list.extend_from_slice(b",");
        }
        list.extend_from_slice(&pod.encode());
    }
    list.extend_from_slice(b"]}");
    answer(StatusCode::OK, "application/json", Body::from(list.freeze()))
}

/// As far as Kubernetes has words for it.
async fn configz(State(workers): State<Arc<Workers>>) -> Response<Body> {
    let config = &workers.host().config;
    let told = json!({"kubeletconfig": {
        "podCIDR": config.pod_cidr.to_string(),
        "maxPods": config.max_pods,
        "nodeLeaseDurationSeconds": config.lease.as_secs(),
        "shutdownGracePeriod": format!("{}s", config.node_shutdown.grace.as_secs()),
        "shutdownGracePeriodCriticalPods": format!("{}s", config.node_shutdown.critical_pods.as_secs()),
        "evictionHard": thresholds(&config.eviction, false),
        "evictionSoft": thresholds(&config.eviction, true),
        "evictionMaxPodGracePeriod": config.eviction.pod_grace_max.as_secs(),
        "evictionPressureTransitionPeriod": format!("{}s", config.eviction.pressure_transition.as_secs()),
        "staticPodPath": config.static_pods,
        "containerLogMaxSize": config.logs.file_bytes_max.to_string(),
        "containerLogMaxFiles": config.logs.files_max,
        "authentication": {"anonymous": {"enabled": false}},
    }});
    answer(StatusCode::OK, "application/json", told.to_string())
}

/// The hard ones, or the soft ones: amounts by signal.
fn thresholds(eviction: &Eviction, is_soft: bool) -> Map<String, Value> {
    let of_kind = eviction.thresholds.iter().filter(|threshold| threshold.grace.is_some() == is_soft);
    of_kind.map(|threshold| (threshold.signal.to_string(), threshold.value.to_string().into())).collect()
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

fn refuse(status: StatusCode, message: impl Into<String>) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", message.into())
}
