//! The pods that are measured: one container that waits, or in a Job one that ends.

use serde_json::{Value, json};

use crate::namespace::LABEL;

/// Samples: one that waits, one that ends.
const WAITS: &str = "hello";
const ENDS: &str = "once";

/// What runs in a measured pod.
#[derive(Clone, Debug, clap::Args)]
pub struct Workload {
    /// The image of each pod; it should start at once and then wait, or in a Job end [default: hello; in a Job: once]
    #[arg(long)]
    pub image: Option<String>,

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
                "template": {"metadata": {"labels": {LABEL: name}}, "spec": self.pod_spec(WAITS)},
            },
        })
    }

    /// A pod of its own.
    pub fn pod(&self, name: &str, measurement: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {LABEL: measurement}},
            "spec": self.pod_spec(WAITS),
        })
    }

    /// The spec of a pod that ends well.
    pub fn one_shot_spec(&self) -> Value {
        let mut spec = self.pod_spec(ENDS);
        spec["restartPolicy"] = "Never".into();
        spec
    }

    fn pod_spec(&self, default_image: &str) -> Value {
        let image = self.image.as_deref().unwrap_or(default_image);
        let mut spec = json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "args": self.arg}],
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
