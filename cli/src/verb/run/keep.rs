//! The module as a pod, or a Deployment, of the cluster that runs.

use serde_json::{Value, json};

use crate::failure::{Failure, Hint, Result};
use crate::server::{Access, Server};
use crate::verb::run::Options;
use crate::verb::run::grants::Grants;

/// Source: the label that `kubectl run` gives.
const LABEL: &str = "run";

pub async fn run(options: &Options, grants: &Grants, access: &Access) -> Result {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => name_of(&options.path.file_stem().unwrap_or_default().to_string_lossy()),
    };
    if name.is_empty() {
        return Err(Failure::new("the file's name is no name for an object").with_hint("give it one with --name"));
    }
    if options.timeout.is_some() && options.replicas.is_some() {
        return Err(Failure::new("a Deployment runs on: it has no --timeout"));
    }
    let server = Server::connect(access).await?;
    let (path, object) = object(options, grants, &name, server.namespace());
    let created =
        server.post(&path, &object).await.hint("`coracle delete` removes an earlier one; --name makes another")?;
    let kind = if options.replicas.is_some() { "deployment.apps" } else { "pod" };
    eprintln!("{kind}/{} created", created["metadata"]["name"].as_str().unwrap_or(&name));
    Ok(())
}

fn object(options: &Options, grants: &Grants, name: &str, namespace: &str) -> (String, Value) {
    let metadata = json!({"name": name, "labels": {LABEL: name}});
    let mut spec = grants.pod_spec();
    match options.replicas {
        None => {
            spec["restartPolicy"] = "Never".into();
            if let Some(limit) = options.timeout {
                spec["activeDeadlineSeconds"] = limit.as_secs().max(1).into();
            }
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
            (format!("/api/v1/namespaces/{namespace}/pods"), pod)
        }
        Some(replicas) => {
            let deployment = json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": {LABEL: name}},
                    "template": {"metadata": {"labels": {LABEL: name}}, "spec": spec},
                },
            });
            (format!("/apis/apps/v1/namespaces/{namespace}/deployments"), deployment)
        }
    }
}

/// A name that an object may have, as near to the file's as can be.
fn name_of(stem: &str) -> String {
    let letters =
        stem.to_lowercase().chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect::<String>();
    let name: String = letters.trim_matches('-').chars().take(50).collect();
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_give_names() {
        for (stem, name) in [("hello", "hello"), ("My_App.v2", "my-app-v2"), ("--x--", "x"), ("ü", "")] {
            assert_eq!(name_of(stem), name);
        }
    }
}
