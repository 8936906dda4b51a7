//! What a `Site` is.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page that is served.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "samples.coracle.dev",
    version = "v1",
    kind = "Site",
    namespaced,
    status = "SiteStatus",
    shortname = "st",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    validation = Rule::new("self.spec.replicas <= 5").message("a site has at most five replicas")
)]
#[serde(rename_all = "camelCase")]
pub struct SiteSpec {
    /// What is served.
    pub page: String,

    /// How many pods serve it.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub replicas: i32,
}

/// How far a site is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SiteStatus {
    /// The generation of the spec that this is about.
    pub observed_generation: Option<i64>,
    pub replicas: i32,
    pub ready_replicas: i32,
}

fn one() -> i32 {
    1
}
