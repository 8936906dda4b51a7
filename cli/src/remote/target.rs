//! Which pod and which container a person means. Source: kubectl's `podcmd` and `polymorphichelpers`.

use std::cmp::Reverse;
use std::time::Duration;

use futures::TryStreamExt;
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::server::{Discovery, Named, Server, encode, media, query};

const ANNOTATION: &str = "kubectl.kubernetes.io/default-container";

/// The lists of containers in a spec, and how each is marked where all are named.
const LISTS: [(&str, &str); 3] =
    [("containers", ""), ("ephemeralContainers", " (ephem)"), ("initContainers", " (init)")];

/// What was named, and the pod that it comes to.
#[derive(Debug)]
pub struct Target {
    pub pod: Value,
    /// What was named; the pod itself, where that was.
    pub object: Value,
}

impl Target {
    /// The pod's name.
    pub fn name(&self) -> &str {
        self.pod["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Refuses a pod that has ended. `what` is what is wanted of it.
    ///
    /// # Errors
    /// When it has.
    pub fn still_runs(&self, what: &str) -> Result {
        match self.pod["status"]["phase"].as_str() {
            Some(phase @ ("Succeeded" | "Failed")) => {
                Err(Failure::new(format!("cannot {what} a container in a completed pod; current phase is {phase}")))
            }
            _ => Ok(()),
        }
    }

    /// A path below the pod.
    pub fn path(&self, server: &Server, below: &str) -> String {
        format!("/api/v1/namespaces/{}/pods/{}/{below}", encode(server.namespace()), encode(self.name()))
    }
}

/// The pod of this name, or the likeliest of those that a `TYPE/NAME` selects: one is waited for, for as long as `patience`.
///
/// # Errors
/// When there is nothing of that name, or no pod in time.
pub async fn attachable(server: &Server, target: &str, patience: Duration) -> Result<Target> {
    let pods = format!("/api/v1/namespaces/{}/pods", encode(server.namespace()));
    let own = match target.split_once('/') {
        None => Some(target),
        Some(("pod" | "pods" | "po", name)) => Some(name),
        Some(_) => None,
    };
    if let Some(name) = own {
        let pod = server.get(&format!("{pods}/{}", encode(name))).await?;
        return Ok(Target { object: pod.clone(), pod });
    }
    let discovery: Discovery = server.discover().await?;
    let owner = Named::parse(&discovery, target)?;
    let object = server.get(&owner.resource.object(server.namespace(), &owner.name)).await?;
    let selector = selector_of(&object)?;
    let found = tokio::time::timeout(patience, first_pod(server, &pods, &selector)).await;
    let pod = found.map_err(|_| Failure::new("timed out waiting for the condition"))??;
    Ok(Target { pod, object })
}

async fn first_pod(server: &Server, pods: &str, selector: &str) -> Result<Value> {
    loop {
        let list = server.get(&query(pods, &[("labelSelector", Some(selector))])).await?;
        let found = list["items"].as_array().cloned().unwrap_or_default();
        if let Some(pod) = found.into_iter().max_by_key(activity) {
            return Ok(pod);
        }
        let version = list["metadata"]["resourceVersion"].as_str();
        let parameters = [("labelSelector", Some(selector)), ("watch", Some("true")), ("resourceVersion", version)];
        let events = server.watch(&query(pods, &parameters), media::JSON).await?;
        // Whatever happens, and the end of the watch: it is looked at again.
        std::pin::pin!(events).try_next().await?;
    }
}

/// How much of a pod is there to be reached: of several, the most is meant. Source: `ActivePods`.
fn activity(pod: &Value) -> impl Ord + use<> {
    let status = &pod["status"];
    let phase = ["Pending", "Unknown", "Running"].iter().position(|phase| status["phase"] == *phase);
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let statuses = status["containerStatuses"].as_array().into_iter().flatten();
    let restarts = statuses.filter_map(|status| status["restartCount"].as_i64()).max().unwrap_or(0);
    let age = pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    (pod["spec"]["nodeName"].is_string(), phase, is_ready, Reverse(restarts), Reverse(age))
}

/// The pods with these labels.
///
/// # Errors
/// When the server refuses.
pub async fn pods_with(server: &Server, selector: &str) -> Result<Vec<Value>> {
    let path = format!("/api/v1/namespaces/{}/pods", encode(server.namespace()));
    let list = server.get(&query(&path, &[("labelSelector", Some(selector))])).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// The container that is meant: the one that is named, the one of the annotation, or the first. Where the first was one of
/// several, that is to be said: the second part.
///
/// # Errors
/// When there is none of that name.
pub fn container<'p>(pod: &'p Value, named: Option<&str>) -> Result<(&'p Value, Option<String>)> {
    let all = || LISTS.into_iter().flat_map(|(list, _)| pod["spec"][list].as_array().into_iter().flatten());
    let find = |name: &str| all().find(|container| container["name"] == name);
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(name) = named {
        let found = find(name).ok_or_else(|| Failure::new(format!("container {name} not found in pod {pod_name}")))?;
        return Ok((found, None));
    }
    if let Some(annotated) = pod["metadata"]["annotations"][ANNOTATION].as_str().and_then(find) {
        return Ok((annotated, None));
    }
    let first = &pod["spec"]["containers"][0];
    let said = (all().count() > 1).then(|| {
        let names = |(list, mark): (&str, &str)| {
            let containers = pod["spec"][list].as_array().into_iter().flatten();
            let named = containers.map(|container| format!("{}{mark}", container["name"].as_str().unwrap_or_default()));
            named.collect::<Vec<_>>()
        };
        let names: Vec<String> = LISTS.into_iter().flat_map(names).collect();
        format!("Defaulted container {} out of: {}", first["name"], names.join(", "))
    });
    Ok((first, said))
}

/// The selector of a workload or service, in the form of a query.
///
/// # Errors
/// When it has none.
pub fn selector_of(object: &Value) -> Result<String> {
    let selector = &object["spec"]["selector"];
    let labels = if selector["matchLabels"].is_object() { &selector["matchLabels"] } else { selector };
    let equal = labels.as_object().into_iter().flatten().filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?)));
    let mut terms: Vec<String> = equal.collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if terms.is_empty() { Err(Failure::new("it selects no pods")) } else { Ok(terms.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_workload_is_a_selector_of_pods() {
        let deployment = json!({"spec": {"selector": {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "In", "values": ["2", "3"]}, {"key": "c", "operator": "DoesNotExist"}]}}});
        assert_eq!(selector_of(&deployment).expect("a selector"), "a=1,b in (2,3),!c");
        let service = json!({"spec": {"selector": {"app": "web"}}});
        assert_eq!(selector_of(&service).expect("a selector"), "app=web");
    }

    #[test]
    fn the_first_of_several_containers_is_meant() {
        // A pod of two containers had no log unless one of them was named.
        let pod = |annotations: Value, main: &[&str], init: &[&str]| {
            let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
            json!({"metadata": {"name": "p", "annotations": annotations}, "spec": {"containers": named(main), "initContainers": named(init)}})
        };
        let annotated = |name: &str| json!({ANNOTATION: name});
        let said = Some("Defaulted container \"a\" out of: a, b, i (init)");
        let table = [
            (pod(Value::Null, &["a"], &[]), None, "a", None),
            (pod(Value::Null, &["a", "b"], &["i"]), None, "a", said),
            (pod(annotated("b"), &["a", "b"], &[]), None, "b", None),
            (pod(annotated("gone"), &["a", "b"], &["i"]), None, "a", said),
            (pod(annotated("b"), &["a", "b"], &["i"]), Some("i"), "i", None),
        ];
        for (pod, named, name, want) in table {
            let (found, said) = container(&pod, named).expect("a container");
            assert_eq!((found["name"].as_str(), said.as_deref()), (Some(name), want), "{pod}");
        }
        let refused = container(&pod(Value::Null, &["a"], &[]), Some("x")).expect_err("there is none");
        assert_eq!(refused.message(), "error: container x not found in pod p");
    }

    #[test]
    fn of_several_pods_the_one_that_serves_is_meant() {
        let pod = |name: &str, phase: &str, ready: &str, restarts: u32| {
            json!({"metadata": {"name": name}, "spec": {"nodeName": "n"}, "status": {"phase": phase,
                "conditions": [{"type": "Ready", "status": ready}], "containerStatuses": [{"restartCount": restarts}]}})
        };
        let pods = [
            pod("pending", "Pending", "False", 0),
            pod("unready", "Running", "False", 0),
            pod("restarted", "Running", "True", 3),
            pod("best", "Running", "True", 1),
            pod("ended", "Succeeded", "False", 0),
        ];
        let best = pods.iter().max_by_key(|pod| activity(pod)).expect("some");
        assert_eq!(best["metadata"]["name"], "best");
    }
}
