//! A cluster whose parts are processes of their own: what a node asks of the API server, and what becomes of its pods
//! when it is killed over and over.

use anyhow::{Context, ensure};
use coracle_tests::{Asked, Guests, NODE, Parts, Relay, World, is_ready};
use regex::Regex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test]
async fn the_parts_run_alone() -> anyhow::Result<()> {
    let mut parts = Parts::start(PROGRAM).await?;
    parts.start_kubelet(&[])?;
    let world = World::at(parts.kubeconfig()).await?;
    world.deployment("web", &world.guests.talks("hello", 1), 2).await?;
    let pods = world.ready_pods("web", 2).await?;
    ensure!(pods.iter().all(|pod| pod["spec"]["nodeName"] == NODE), "{pods:?}");
    let pod = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
    let log = world.server.get(&format!("/api/v1/namespaces/default/pods/{pod}/log")).await?;
    ensure!(log == "hello 0\n", "the API server reads logs over TLS: {log}");
    Ok(())
}

/// What upstream's API server lets a node do, as far as a node needs it here: the role `system:node`, narrowed by the node
/// authorizer to what is about the node itself or its pods. Source: `bootstrappolicy.NodeRules` and `NodeAuthorizer`.
const GRANTED: [&str; 18] = [
    "GET /api/v1/nodes/alone",
    "GET /api/v1/nodes\\?.*fieldSelector=metadata.name%3Dalone.*",
    "POST /api/v1/nodes",
    "(PATCH|PUT) /api/v1/nodes/alone(/status)?",
    "(GET|PUT|PATCH) /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/alone",
    "POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
    "GET /api/v1/pods\\?.*fieldSelector=spec.nodeName%3Dalone.*",
    "GET /api/v1/namespaces/[^/]+/pods/[^/]+",
    "(PATCH|PUT) /api/v1/namespaces/[^/]+/pods/[^/]+/status",
    "DELETE /api/v1/namespaces/[^/]+/pods/[^/]+",
    "POST /api/v1/namespaces/[^/]+/pods",
    "GET /api/v1/services(\\?.*)?",
    "GET /api/v1/namespaces/[^/]+/(secrets|configmaps)/[^/]+",
    "GET /api/v1/namespaces/[^/]+/(secrets|configmaps)\\?.*fieldSelector=metadata.name%3D.*",
    "POST /api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token",
    "(POST|PATCH) /(api/v1|apis/events.k8s.io/v1)/namespaces/[^/]+/events(/[^/]+)?",
    "GET /apis/node.k8s.io/v1/runtimeclasses(/.*|\\?.*)?",
    "POST /apis/(authentication.k8s.io/v1/tokenreviews|authorization.k8s.io/v1/subjectaccessreviews)",
];

#[tokio::test]
async fn a_node_asks_only_for_what_upstream_grants_a_node() -> anyhow::Result<()> {
    let mut parts = Parts::start(PROGRAM).await?;
    let relay = Relay::before(&parts.node_folder().join("kubeconfig")).await?;
    let kubeconfig = parts.node_folder().join("relayed.kubeconfig");
    std::fs::write(&kubeconfig, relay.kubeconfig())?;
    parts.start_kubelet_by(&kubeconfig, &[])?;
    let world = World::at(parts.kubeconfig()).await?;
    lives(&world).await?;

    let asked: Vec<String> = relay.asked().iter().map(line).collect();
    let granted = GRANTED.map(|pattern| Regex::new(&format!("^{pattern}(\\?|$)")).expect("a pattern"));
    for line in &asked {
        ensure!(granted.iter().any(|pattern| pattern.is_match(line)), "upstream grants no node this: {line}");
    }
    for needed in ["POST /api/v1/nodes", "/leases/alone", "fieldSelector=spec.nodeName", "/pods/web/status", "/token"] {
        ensure!(asked.iter().any(|line| line.contains(needed)), "{needed} was not asked: {asked:#?}");
    }
    ensure!(asked.iter().any(|line| line.starts_with("DELETE ") && line.contains("/pods/web")), "{asked:#?}");
    Ok(())
}

fn line((method, path): &Asked) -> String {
    format!("{method} {path}")
}

/// A pod with all that a node must ask for runs, serves, and is deleted.
async fn lives(world: &World) -> anyhow::Result<()> {
    let object = |kind: &str, data: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "settings"}, data: {"KEY": "value"}});
    world.apply(object("ConfigMap", "data")).await?;
    world.apply(object("Secret", "stringData")).await?;
    let container = json!({
        "name": "main", "image": Guests::sample_image("web")?, "ports": [{"containerPort": 8080}],
        "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "KEY"}}}],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "volumeMounts": [{"name": "settings", "mountPath": "/settings"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    });
    let volumes = json!([{"name": "settings", "projected": {"sources": [
        {"secret": {"name": "settings"}}, {"configMap": {"name": "settings", "items": [{"key": "KEY", "path": "other"}]}},
        {"serviceAccountToken": {"path": "token", "audience": "somebody"}},
    ]}}]);
    let more = json!({"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1});
    world.pod("web", "", more).await?;
    let pod = world.pod_until("web", "ready", is_ready).await?;
    let answer = ask(pod["status"]["podIP"].as_str().context("an address")?, 8080).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    world.server.delete("/api/v1/namespaces/default/pods/web", &json!({})).await?;
    world.until("/api/v1/pods", "the pod gone", |pods| pods.is_empty()).await?;
    Ok(())
}

async fn ask(host: &str, port: u16) -> anyhow::Result<String> {
    let mut stream = tokio::net::TcpStream::connect((host, port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    let read = async { Ok(stream.read_to_string(&mut answer).await?) };
    coracle_tests::until_within(coracle_tests::DEADLINE, "an answer", read).await?;
    Ok(answer)
}
