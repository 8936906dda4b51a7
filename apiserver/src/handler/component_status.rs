//! GET of how the parts of the control plane are: nothing of it is stored. All that is known here is the store, and that
//! whoever asks has found a server; so the parts are as healthy as the store is.
//!
//! Source: upstream's `pkg/registry/core/componentstatus`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::status::ApiError;
use http::{Response, StatusCode};
use k8s_openapi::api::core::v1::{ComponentCondition, ComponentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};

use super::{Call, list};
use crate::fields;
use crate::route::Verb;

const COMPONENTS: [&str; 3] = ["controller-manager", "etcd-0", "scheduler"];
/// How long the store may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let problem = problem(call).await;
    let object = |name: &str| AnyObject::new(status(name, problem.as_deref()));
    let writer = call.writer(true);
    if call.target.verb == Verb::Get {
        let name = COMPONENTS.into_iter().find(|name| *name == call.name());
        let found = name.ok_or_else(|| writer.not_found(call.name()))?;
        call.show(StatusCode::OK, &writer.unstored(&object(found)))
    } else {
        let selection = fields::selection(call.resource(), None, None, &call.query)?;
        let all = COMPONENTS.into_iter().map(|name| Arc::new(writer.unstored(&object(name))));
        list::show(call, all.filter(|one| selection.wants(one)).collect(), ListMeta::default())
    }
}

/// Why the store does not answer.
async fn problem(call: &Call) -> Option<String> {
    match tokio::time::timeout(TIMEOUT, call.api.store.revision()).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("the store has not answered for {} s", TIMEOUT.as_secs())),
    }
}

fn status(name: &str, problem: Option<&str>) -> ComponentStatus {
    ComponentStatus {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        conditions: Some(vec![ComponentCondition {
            type_: "Healthy".to_owned(),
            status: if problem.is_none() { "True" } else { "False" }.to_owned(),
            message: problem.is_none().then(|| "ok".to_owned()),
            error: problem.map(str::to_owned),
        }]),
    }
}
