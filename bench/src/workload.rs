//! The pods that are measured: one container that waits.

use serde_json::{Value, json};

use crate::namespace::LABEL;

/// What runs in a measured pod.
#[derive(Clone, Debug, clap::Args)]
pub struct Workload {
    /// The image of each pod; it should start at once and then wait
    #[arg(long, default_value = "hello")]
    pub image: String,

    /// Arguments of its container
    #[arg(long, value_name = "ARG")]
    pub arg: Vec<String>,

    /// Where the pods go: `--node-selector type=kwok`
    #[arg(long, value_name = "LABEL=VALUE", value_parser = pair)]
    pub node_selector: Option<(String, String)>,

    /// Tolerate every taint
    #[arg(long)]
    pub tolerate: bool,
}

impl Workload {
    /// A Deployment without replicas yet.
    pub fn deployment(&self, name: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "labels": {LABEL: name}},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {LABEL: name}},
                "template": {"metadata": {"labels": {LABEL: name}}, "spec": self.pod_spec()},
            },
        })
    }

    /// A pod of its own.
    pub fn pod(&self, name: &str, measurement: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {LABEL: measurement}},
            "spec": self.pod_spec(),
        })
    }

    /// The spec of each pod.
    pub fn pod_spec(&self) -> Value {
        let mut spec = json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": self.image, "imagePullPolicy": "IfNotPresent", "args": self.arg}],
        });
        if let Some((label, value)) = &self.node_selector {
            spec["nodeSelector"] = json!({label: value});
        }
        if self.tolerate {
            spec["tolerations"] = json!([{"operator": "Exists"}]);
        }
        spec
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (label, value) = text.split_once('=').ok_or("not LABEL=VALUE")?;
    Ok((label.to_owned(), value.to_owned()))
}
