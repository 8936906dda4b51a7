//! The node's own object, and the node's API.

use coracle_kubelet::FakeRuntime;
use http::StatusCode;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node as Object;

use super::{Node, is_ready};

fn conditions(node: &Object) -> Vec<(String, String)> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    conditions.into_iter().map(|condition| (condition.type_, condition.status)).collect()
}

#[tokio::test]
async fn a_node_registers_with_what_it_has() {
    let node = Node::start(FakeRuntime::new()).await;
    node.server.until(|server| !server.all::<Lease>().is_empty()).await;
    let object = node.server.one::<Object>("", "node").unwrap();
    let labels = object.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["kubernetes.io/hostname"], "node");
    assert_eq!(labels["kubernetes.io/os"], "linux");
    let status = object.status.as_ref().unwrap();
    let allocatable = status.allocatable.as_ref().unwrap();
    assert_eq!(allocatable["pods"].0, "10k");
    assert!(["cpu", "memory", "ephemeral-storage"].iter().all(|name| allocatable.contains_key(*name)));
    assert!(status.node_info.as_ref().unwrap().kubelet_version.starts_with("v1.36"));
    assert!(conditions(&object).contains(&("Ready".into(), "True".into())));
    let lease = &node.server.all::<Lease>()[0];
    let spec = lease.spec.as_ref().unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some("node"), Some(40)));
    assert_eq!(lease.metadata.owner_references.as_ref().unwrap()[0].uid, object.metadata.uid.unwrap());
}

#[tokio::test]
async fn a_node_is_never_seen_without_room() {
    // The node was registered first and told its capacity then: in between, the scheduler said that no pod fits.
    let node = Node::start(FakeRuntime::new()).await;
    node.server.until(|server| !server.all::<Lease>().is_empty()).await;
    let requests = node.server.requests();
    let writes: Vec<&String> = requests.iter().filter(|request| request.contains("/api/v1/nodes")).collect();
    assert_eq!(writes, ["POST /api/v1/nodes"]);
    assert!(conditions(&node.server.one::<Object>("", "node").unwrap()).contains(&("Ready".into(), "True".into())));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_node_comes_back_and_its_lease_is_renewed() {
    let node = Node::start(FakeRuntime::new()).await;
    node.server.until(|server| !server.all::<Lease>().is_empty()).await;
    node.server.remove::<Object>("", "node");
    node.server.until(|server| server.one::<Object>("", "node").is_some_and(|node| node.status.is_some())).await;
    let renewals = || node.server.requests().iter().filter(|request| request.contains("/leases/node")).count();
    let before = renewals();
    tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    assert!((9..=12).contains(&(renewals() - before)), "{}", renewals() - before);
}

#[tokio::test]
async fn the_api_of_the_node_answers() {
    let node = Node::start(FakeRuntime::new()).await;
    node.run("web", r#"{"containers":[{"name":"main","image":"hello"}]}"#);
    node.run("waits", r#"{"hostPID":true,"containers":[{"name":"main","image":"hello"}]}"#);
    node.until("web", is_ready).await;
    node.until("waits", |pod| pod.status.is_some()).await;
    assert_eq!(node.get("/healthz").await, (StatusCode::OK, "ok".into()));
    let (status, list) = node.get("/pods").await;
    assert!(status == StatusCode::OK && list.contains("\"PodList\"") && list.contains("\"web\""), "{list}");
    assert!(node.get("/metrics").await.1.contains("kubelet_running_containers{container_state=\"running\"} 1"));
    assert!(node.get("/stats/summary").await.1.contains("\"nodeName\":\"node\""));
    assert_eq!(node.get("/containerLogs/default/web/main?tailLines=5").await, (StatusCode::OK, String::new()));
    let table = [
        ("/containerLogs/default/no/main", StatusCode::NOT_FOUND, "pod \"no\" in namespace \"default\" does not exist"),
        ("/containerLogs/default/web/no", StatusCode::NOT_FOUND, "container \"no\" not found in pod \"web\""),
        ("/containerLogs/default/web/main?previous=true", StatusCode::BAD_REQUEST, "previous terminated container"),
        ("/containerLogs/default/waits/main", StatusCode::BAD_REQUEST, "waiting to start: CreateContainerConfigError"),
        ("/containerLogs/default/web/main?tailLines=x", StatusCode::UNPROCESSABLE_ENTITY, "tailLines"),
    ];
    for (path, code, text) in table {
        let (status, body) = node.get(path).await;
        assert!(status == code && body.contains(text), "{path}: {status} {body}");
    }
}

#[tokio::test]
async fn what_pods_left_that_are_gone_is_removed() {
    let node = Node::start(FakeRuntime::new()).await;
    let spec = r#"{"volumes":[{"name":"v","emptyDir":{}}],"containers":[{"name":"main","image":"hello",
        "volumeMounts":[{"name":"v","mountPath":"/v"}]}]}"#;
    for name in ["stays", "goes"] {
        node.run(name, spec);
        node.until(name, is_ready).await;
    }
    let (server, dir) = node.stop().await;
    let left = |dir: &tempfile::TempDir| std::fs::read_dir(dir.path().join("pods")).unwrap().count();
    assert_eq!(left(&dir), 2, "a kubelet that stops keeps them");
    server.remove::<k8s_openapi::api::core::v1::Pod>("default", "goes");
    let node = Node::start_on(server, dir, std::sync::Arc::new(FakeRuntime::new())).await;
    let removed = async {
        while left(&node.dir) != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::DEADLINE, removed).await.unwrap();
    node.until("stays", is_ready).await;
}
