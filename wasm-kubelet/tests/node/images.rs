//! Pods whose images come from a registry, and what is told of those that do not.

use std::sync::Arc;

use coracle_api::Object;
use coracle_client::testing::FakeServer;
use coracle_kubelet::{WasmRuntime, runtime::Runtime};
use k8s_openapi::api::core::v1::{Node as NodeObject, Secret};
use serde_json::json;

use super::registry::{Door, Fake, layer};
use super::{Node, waiting};

/// The smallest module that runs to its end.
const RUNS: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";

fn runtime() -> Arc<dyn Runtime> {
    Arc::new(WasmRuntime::new(coracle_runtime::Runtime::new(coracle_runtime::Config::default()).unwrap()))
}

async fn node() -> Node {
    Node::start_on(FakeServer::new(), Arc::new(tempfile::tempdir().unwrap()), runtime()).await
}

fn secret(name: &str, registry: &str) -> Secret {
    let config = json!({"auths": {registry: {"username": "me", "password": "secret"}}}).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {},
    });
    let mut secret = Secret::decode(secret.to_string().as_bytes()).unwrap();
    let data = k8s_openapi::ByteString(config.into_bytes());
    secret.data = Some([(".dockerconfigjson".to_owned(), data)].into());
    secret
}

#[tokio::test]
async fn a_pod_runs_what_its_secret_opens() {
    let registry = Fake::start().await;
    registry.set(|state| state.door = Door::Token);
    let manifest = registry.module("v1", RUNS);
    let image = registry.name("app:v1");
    let node = node().await;
    let spec = |secret: &str| {
        format!(
            r#"{{"restartPolicy":"Never","imagePullSecrets":[{{"name":"{secret}"}}],"containers":[{{"name":"a","image":"{image}"}}]}}"#
        )
    };
    node.run("without", &spec("none"));
    let pod = node.until("without", |pod| waiting(pod).contains("ImagePullBackOff")).await;
    let said = waiting(&pod);
    let why =
        format!("image {image}: access denied by {}: it does not exist or requires authorization", registry.address);
    assert!(said.contains(&format!("Back-off pulling image {image:?}: ErrImagePull: {why}")), "{said}");
    node.until_told("FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (none);").await;
    node.until_told("Failed: Error: ErrImagePull").await;

    node.server.put(&secret("ours", &registry.address));
    node.run("with", &spec("ours"));
    let pod = node.until_phase("with", "Succeeded").await;
    let status = &pod.status.unwrap().container_statuses.unwrap()[0];
    assert_eq!((&*status.image, &*status.image_id), (&*image, &*registry.name(&format!("app@{manifest}"))));
    node.until_told(&format!("Pulling: Pulling image {image:?}")).await;
    node.until_told(&format!("Pulled: Successfully pulled image {image:?} in ")).await;
    node.until_told(&format!("including waiting). Image size: {} bytes.", RUNS.len())).await;

    // The next kubelet in this folder has it still, and says so.
    let (server, dir) = node.stop().await;
    let node = Node::start_on(server, dir, runtime()).await;
    let is_named = |server: &FakeServer| {
        let named = server.all::<NodeObject>().into_iter().filter_map(|node| node.status?.images);
        named.flatten().any(|named| named.names.is_some_and(|names| names.contains(&image)))
    };
    let shown = node.server.until(is_named);
    tokio::time::timeout(crate::DEADLINE, shown).await.expect("the node's status names the image");
    node.run("again", &spec("ours").replace("\"image\"", "\"imagePullPolicy\":\"Never\",\"image\""));
    node.until_phase("again", "Succeeded").await;
}

#[tokio::test]
async fn a_linux_image_is_refused_once_and_plainly() {
    let registry = Fake::start().await;
    let config = json!({"os": "linux", "architecture": "amd64", "config": {"Entrypoint": ["/docker-entrypoint.sh"]}});
    registry.files("v1", &config, &[layer(&[("docker-entrypoint.sh", b"#!/bin/sh\n")])]);
    let image = registry.name("nginx:v1");
    let node = node().await;
    node.run("web", &format!(r#"{{"containers":[{{"name":"a","image":"{image}"}}]}}"#));
    let why =
        "it is a linux/amd64 container image that runs \"/docker-entrypoint.sh\", and this node runs WebAssembly only";
    let pod = node.until("web", |pod| waiting(pod).starts_with("ErrImagePull")).await;
    assert_eq!(waiting(&pod), format!("ErrImagePull: image {image}: {why}"));
    node.until_told(&format!("Failed: Failed to pull image {image:?}: image {image}: {why}")).await;
    assert_eq!(registry.asked("manifests/v1").len(), 1);
}
