//! `metrics.k8s.io`: what pods and nodes use now, as `kubectl top` asks. Nothing of it is stored: the kubelets are asked
//! each time, and what one does not answer for is not there.
//!
//! Source: metrics-server, which upstream puts behind its API server for this.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::status::{ApiError, GroupResource};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Api;
use crate::auth::ResourceAttributes;
use crate::negotiate::{Accept, Endpoint, View};
use crate::proxy::NodeAddress;
use crate::query::Query;
use crate::route::{Document, NoRoute, Route};
use crate::strategy::typed;
use crate::{fields, limits, respond};

pub(crate) const GROUP: &str = "metrics.k8s.io";
pub(crate) const VERSION: &str = "v1beta1";
const GROUP_VERSION: &str = "metrics.k8s.io/v1beta1";

/// Over what time a kubelet looks at what is used.
const WINDOW: &str = "10s";

/// Pods or nodes, one or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    of_pods: bool,
    namespace: Option<String>,
    name: Option<String>,
}

impl Usage {
    /// Reads what comes after the group in a path.
    ///
    /// # Errors
    /// When there is nothing of that kind, or it is not to be read.
    pub(crate) fn route(method: &Method, rest: &[&str]) -> Result<Route, NoRoute> {
        let owned = |text: &&str| Some((*text).to_owned());
        let of = |of_pods, namespace, name| Route::Usage(Self { of_pods, namespace, name });
        let route = match rest {
            [] => Route::Discovery(Document::Group(GROUP.to_owned())),
            [VERSION] => Route::Discovery(Document::Resources { group: GROUP.to_owned(), version: VERSION.to_owned() }),
            [VERSION, "nodes"] => of(false, None, None),
            [VERSION, "nodes", name] => of(false, None, owned(name)),
            [VERSION, "pods"] => of(true, None, None),
            [VERSION, "namespaces", namespace, "pods"] => of(true, owned(namespace), None),
            [VERSION, "namespaces", namespace, "pods", name] => of(true, owned(namespace), owned(name)),
            _ => return Err(NoRoute::Path),
        };
        if *method == Method::GET { Ok(route) } else { Err(ApiError::MethodNotAllowed.into()) }
    }

    pub(crate) fn verb(&self) -> &'static str {
        if self.name.is_some() { "get" } else { "list" }
    }

    /// What is asked, as authorizers speak of it.
    pub(crate) fn attributes(&self) -> ResourceAttributes<'_> {
        ResourceAttributes {
            group: GROUP,
            version: VERSION,
            resource: if self.of_pods { "pods" } else { "nodes" },
            subresource: None,
            namespace: self.namespace.as_deref(),
            name: self.name.as_deref(),
        }
    }

    fn kind(&self) -> &'static str {
        if self.of_pods { "PodMetrics" } else { "NodeMetrics" }
    }
}

/// The group as discovery tells it, by itself or among the others.
pub(crate) fn group(alone: bool) -> Value {
    let version = json!({"groupVersion": GROUP_VERSION, "version": VERSION});
    let mut group = json!({"name": GROUP, "versions": [version], "preferredVersion": version});
    if alone {
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
    }
    group
}

const RESOURCES: [(&str, &str, bool); 2] = [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// What the group has, in a document of its own.
pub(crate) fn resources() -> Value {
    let all = RESOURCES.map(|(name, kind, namespaced)| {
        json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]})
    });
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": all})
}

/// What the group has, in aggregated discovery.
pub(crate) fn aggregated() -> Value {
    let all = RESOURCES.map(|(name, kind, namespaced)| {
        json!({
            "resource": name,
            "responseKind": {"group": GROUP, "version": VERSION, "kind": kind},
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": "",
            "verbs": ["get", "list"],
        })
    });
    let version = json!({"version": VERSION, "resources": all, "freshness": "Current"});
    json!({"metadata": {"name": GROUP}, "versions": [version]})
}

/// Answers with what is used now.
///
/// # Errors
/// When it is of nothing that is there, or its kubelet says nothing of it.
pub(crate) async fn answer(
    api: &Arc<Api>,
    asked: &Usage,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    let accept = Accept::negotiate(headers, query, Endpoint::Objects)?;
    api.be_fresh().await?;
    let resource = api.resources.core(if asked.of_pods { "pods" } else { "nodes" });
    let selection = fields::selection(resource, asked.namespace.as_deref(), asked.name.as_deref(), query)?;
    let found = resource.cache.list(&selection, None, None, api.cache.seen()).objects;
    let found: Vec<AnyObject> =
        found.iter().filter(|object| selection.wants(object)).filter_map(|object| resource.load(object).ok()).collect();
    let used = if asked.of_pods { pods(api, &found).await } else { nodes(api, &found).await };
    let body = match &asked.name {
        Some(name) => {
            let missing = || not_found(asked, name);
            let mut one = used.into_iter().next().ok_or_else(missing)?;
            match accept.view {
                View::Table => table(asked, &[one]),
                _ => {
                    one["kind"] = asked.kind().into();
                    one["apiVersion"] = GROUP_VERSION.into();
                    one
                }
            }
        }
        None if accept.view == View::Table => table(asked, &used),
        None => {
            let kind = format!("{}List", asked.kind());
            json!({"kind": kind, "apiVersion": GROUP_VERSION, "metadata": {}, "items": used})
        }
    };
    Ok(respond::document(StatusCode::OK, body.to_string(), accept))
}

fn not_found(asked: &Usage, name: &str) -> ApiError {
    let name = match &asked.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    };
    let resource = asked.kind().to_ascii_lowercase();
    ApiError::NotFound { resource: GroupResource { group: GROUP.into(), resource: resource.into() }, name }
}

/// What kubelets say, as far as it is read here. Source: `stats/v1alpha1.Summary`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Summary {
    node: Stats,
    pods: Vec<PodStats>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodStats {
    pod_ref: PodRef,
    containers: Vec<Stats>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodRef {
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    name: String,
    cpu: Cpu,
    memory: Memory,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cpu {
    time: String,
    usage_nano_cores: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Memory {
    working_set_bytes: u64,
}

impl Stats {
    /// The time of what is used, and how much; none before the kubelet has looked twice.
    fn used(&self) -> Option<(&str, Value)> {
        let nanos = self.cpu.usage_nano_cores?;
        Some((&self.cpu.time, json!({"cpu": cores(nanos), "memory": bytes(self.memory.working_set_bytes)})))
    }
}

/// As Kubernetes writes an amount: with the largest unit of which it is a whole number.
fn cores(nanos: u64) -> String {
    let units = [(1_000_000_000, ""), (1_000_000, "m"), (1_000, "u"), (1, "n")];
    whole(nanos, &units)
}

fn bytes(count: u64) -> String {
    let units = [(1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"), (1, "")];
    whole(count, &units)
}

fn whole(amount: u64, units: &[(u64, &str)]) -> String {
    let unit = units.iter().find(|(size, _)| amount != 0 && amount.is_multiple_of(*size));
    unit.map_or_else(|| "0".to_owned(), |(size, name)| format!("{}{name}", amount / size))
}

async fn nodes(api: &Arc<Api>, found: &[AnyObject]) -> Vec<Value> {
    let names = found.iter().filter_map(|node| node.meta().name.clone()).collect();
    let summaries = summaries(api, names).await;
    let used = found.iter().filter_map(|node| {
        let (time, usage) = summaries.get(node.meta().name.as_deref()?)?.node.used()?;
        Some(json!({"metadata": metadata(node), "timestamp": time, "window": WINDOW, "usage": usage}))
    });
    used.collect()
}

async fn pods(api: &Arc<Api>, found: &[AnyObject]) -> Vec<Value> {
    let node_of = |pod: &AnyObject| typed::<Pod>(pod).spec.as_ref().and_then(|spec| spec.node_name.clone());
    let summaries = summaries(api, found.iter().filter_map(node_of).collect()).await;
    let by_uid: HashMap<&str, &PodStats> =
        summaries.values().flat_map(|summary| summary.pods.iter().map(|pod| (pod.pod_ref.uid.as_str(), pod))).collect();
    let used = found.iter().filter_map(|pod| {
        let stats = by_uid.get(pod.meta().uid.as_deref()?)?;
        let time = stats.containers.first()?.used()?.0;
        let containers: Option<Vec<Value>> = stats
            .containers
            .iter()
            .map(|container| Some(json!({"name": container.name, "usage": container.used()?.1})))
            .collect();
        Some(json!({"metadata": metadata(pod), "timestamp": time, "window": WINDOW, "containers": containers?}))
    });
    used.collect()
}

/// What its own metadata says of an object that is used, as far as its usage repeats it.
fn metadata(object: &AnyObject) -> Value {
    let meta = object.meta();
    let mut told = json!({"name": meta.name, "creationTimestamp": meta.creation_timestamp});
    if let Some(namespace) = &meta.namespace {
        told["namespace"] = namespace.as_str().into();
    }
    if let Some(labels) = &meta.labels {
        told["labels"] = json!(labels);
    }
    told
}

/// What the kubelets of these nodes say, by node.
async fn summaries(api: &Arc<Api>, names: BTreeSet<String>) -> HashMap<String, Summary> {
    let asked = stream::iter(names).map(|name| async move {
        let summary = tokio::time::timeout(limits::SUMMARY_TIMEOUT, summary(api, &name)).await;
        match summary {
            Ok(Some(summary)) => Some((name, summary)),
            _ => {
                tracing::debug!(node = name, "a kubelet does not say what is used");
                None
            }
        }
    });
    asked.buffer_unordered(limits::SUMMARIES_AT_ONCE).filter_map(std::future::ready).collect().await
}

async fn summary(api: &Api, name: &str) -> Option<Summary> {
    let nodes = api.resources.core("nodes");
    let node = nodes.load(&*nodes.cache.get(name)?).ok()?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/stats/summary");
    let answer = api.nodes.send(&NodeAddress::of(typed::<Node>(&node)), request).await.ok()?;
    let body = Limited::new(answer.into_body(), limits::SUMMARY_BYTES_MAX).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

/// Source: the tables of metrics-server.
fn table(asked: &Usage, used: &[Value]) -> Value {
    let column = |name: &str, kind: &str, description: &str| {
        let format = if name == "Name" { "name" } else { "" };
        json!({"name": name, "type": kind, "format": format, "description": description, "priority": 0})
    };
    let sum = |object: &Value, what: &str| -> String {
        let parts = object["containers"].as_array().into_iter().flatten().map(|container| &container["usage"][what]);
        let whole = if asked.of_pods { parts.collect() } else { vec![&object["usage"][what]] };
        let total: u128 = whole.iter().filter_map(|amount| nanos(amount.as_str()?)).sum();
        match what {
            "cpu" => cores(u64::try_from(total).unwrap_or(u64::MAX)),
            _ => bytes(u64::try_from(total / 1_000_000_000).unwrap_or(u64::MAX)),
        }
    };
    let rows: Vec<Value> = used
        .iter()
        .map(|object| {
            let mut metadata = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"});
            metadata["metadata"] = object["metadata"].clone();
            let cells =
                json!([object["metadata"]["name"], sum(object, "cpu"), sum(object, "memory"), object["window"]]);
            json!({"cells": cells, "object": metadata})
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            column("Name", "string", "Name of the resource"),
            column("cpu", "string", "CPU"),
            column("memory", "string", "Memory"),
            column("Window", "string", "Window"),
        ],
        "rows": rows,
    })
}

/// Billionths of what an amount says that was written here.
fn nanos(amount: &str) -> Option<u128> {
    let digits = amount.find(|character: char| !character.is_ascii_digit()).unwrap_or(amount.len());
    let number: u128 = amount[..digits].parse().ok()?;
    let unit = match &amount[digits..] {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        "Ki" => 1_000_000_000 << 10,
        "Mi" => 1_000_000_000 << 20,
        "Gi" => 1_000_000_000 << 30,
        "Ti" => 1_000_000_000 << 40,
        _ => return None,
    };
    Some(number * unit)
}

/// So that nothing is asked for longer than anybody waits.
const _: () = assert!(limits::SUMMARY_TIMEOUT.as_millis() < Duration::from_secs(60).as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_the_largest_whole_unit() {
        for (amount, want) in
            [(0, "0"), (7, "7n"), (1_500, "1500n"), (2_000, "2u"), (3_000_000, "3m"), (4_000_000_000, "4")]
        {
            assert_eq!(cores(amount), want);
            assert_eq!(nanos(want), Some(amount.into()));
        }
        for (count, want) in
            [(0, "0"), (1000, "1000"), (65_536, "64Ki"), (3 << 20, "3Mi"), ((1 << 30) + 1024, "1048577Ki")]
        {
            assert_eq!(bytes(count), want);
            assert_eq!(nanos(want), Some(u128::from(count) * 1_000_000_000));
        }
    }

    #[test]
    fn what_is_used_is_told_once_it_is_known() {
        let read = |text: &str| serde_json::from_str::<Summary>(text).unwrap_or_default();
        let summary = read(r#"{"node": {"nodeName": "n", "cpu": {"time": "t", "usageNanoCores": 5}}, "more": 1}"#);
        assert_eq!(summary.node.used(), Some(("t", json!({"cpu": "5n", "memory": "0"}))));
        assert_eq!(read(r#"{"node": {"cpu": {"time": "t"}}}"#).node.used(), None);
        assert_eq!(read("nonsense").node.used(), None);
    }

    #[test]
    fn paths_are_read() {
        let read = |path: &str| {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            match Usage::route(&Method::GET, &parts) {
                Ok(Route::Usage(usage)) => format!("{} {:?}", usage.verb(), usage.attributes()),
                Ok(_) => "discovery".to_owned(),
                Err(_) => "nothing".to_owned(),
            }
        };
        for path in ["", "v1beta1"] {
            assert_eq!(read(path), "discovery");
        }
        for path in ["v1", "v1beta1/secrets", "v1beta1/namespaces/n/nodes", "v1beta1/nodes/n/proxy"] {
            assert_eq!(read(path), "nothing", "{path}");
        }
        assert!(read("v1beta1/nodes").starts_with("list "));
        let one = read("v1beta1/namespaces/a/pods/b");
        assert!(one.starts_with("get ") && one.contains("\"a\"") && one.contains("\"b\""), "{one}");
        assert!(Usage::route(&Method::POST, &["v1beta1", "nodes"]).is_err());
    }
}
