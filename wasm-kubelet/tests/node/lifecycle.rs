//! Pods from their binding to their end, with containers that only pretend.

use std::sync::Arc;
use std::time::Duration;

use coracle_kubelet::FakeRuntime;
use coracle_kubelet::runtime::Exit;
use coracle_kubelet::runtime::fake::Outcome;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Node, is_ready, phase, pod, waiting};

const HELLO: &str = r#"{"containers":[{"name":"main","image":"hello"}]}"#;

fn status_writes(node: &Node, name: &str) -> usize {
    let path = format!("PATCH /api/v1/namespaces/default/pods/{name}/status");
    node.server.requests().iter().filter(|request| request.starts_with(&path)).count()
}

/// Marks a pod as the API server does that is asked to delete it.
fn delete(node: &Node, name: &str, grace_seconds: i64) {
    let mut pod = node.pod(name).unwrap();
    pod.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    pod.metadata.deletion_grace_period_seconds = Some(grace_seconds);
    node.server.put(&pod);
}

async fn until_gone(node: &Node, name: &str) {
    let gone = node.server.until(|server| server.one::<Pod>("default", name).is_none());
    tokio::time::timeout(crate::DEADLINE, gone).await.unwrap();
}

#[tokio::test]
async fn a_bound_pod_runs_with_one_write_and_goes_when_deleted() {
    let runtime = FakeRuntime::new();
    let node = Node::start(runtime.clone()).await;
    node.run("web", HELLO);
    let pod = node.until("web", is_ready).await;
    let status = pod.status.unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("127.64.0.1"));
    assert_eq!(status.observed_generation, Some(1));
    let container = &status.container_statuses.unwrap()[0];
    assert!(
        container.ready
            && container.started == Some(true)
            && container.container_id.as_ref().unwrap().starts_with("fake://")
    );
    assert_eq!(status_writes(&node, "web"), 1);

    delete(&node, "web", 30);
    until_gone(&node, "web").await;
    assert_eq!(status_writes(&node, "web"), 2, "its end is one more write");
    node.until_told("Killing: Stopping container main").await;
    node.run("next", HELLO);
    let next = node.until("next", is_ready).await;
    assert_eq!(next.status.unwrap().pod_ip.as_deref(), Some("127.64.0.2"), "an address rests before it is used again");
    assert_eq!(runtime.running(), 1);
}

#[tokio::test]
async fn a_pod_that_somebody_else_calls_unready_is_ready_again() {
    // The pods of a node that had not been heard of for a while stayed unready, and out of their services, for good.
    let node = Node::start(FakeRuntime::new()).await;
    node.run("web", HELLO);
    let mut pod = node.until("web", is_ready).await;
    let conditions = pod.status.as_mut().unwrap().conditions.as_mut().unwrap();
    conditions.iter_mut().find(|it| it.type_ == "Ready").unwrap().status = "False".into();
    node.server.put(&pod);
    node.until("web", is_ready).await;
    assert_eq!(status_writes(&node, "web"), 2);
}

#[tokio::test]
async fn a_pod_that_is_removed_at_once_leaves_nothing() {
    let runtime = FakeRuntime::new().with("deaf:latest", Outcome::Ignores);
    let node = Node::start(runtime.clone()).await;
    node.run("web", r#"{"containers":[{"name":"main","image":"deaf"}]}"#);
    node.until("web", is_ready).await;
    node.server.remove::<Pod>("default", "web");
    while runtime.running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_pod_of_the_same_name_is_another_pod() {
    let node = Node::start(FakeRuntime::new()).await;
    node.run("web", HELLO);
    let first = node.until("web", is_ready).await;
    node.server.remove::<Pod>("default", "web");
    node.run("web", HELLO);
    let second = node.until("web", is_ready).await;
    assert_ne!(first.metadata.uid, second.metadata.uid);
    assert_eq!(second.status.unwrap().container_statuses.unwrap()[0].restart_count, 0);
}

#[tokio::test]
async fn ends_are_told_with_code_and_reason() {
    let runtime = FakeRuntime::new()
        .with("done:latest", Outcome::Exits { after: Duration::ZERO, exit: Exit::Code(0) })
        .with("memory:latest", Outcome::Exits { after: Duration::ZERO, exit: Exit::OutOfMemory });
    let node = Node::start(runtime).await;
    let once =
        |image: &str| format!(r#"{{"restartPolicy":"Never","containers":[{{"name":"main","image":"{image}"}}]}}"#);
    node.run("done", &once("done"));
    node.run("memory", &once("memory"));
    node.until_phase("done", "Succeeded").await;
    let failed = node.until_phase("memory", "Failed").await;
    let state = failed.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((state.exit_code, state.reason.as_deref()), (137, Some("OOMKilled")));
}

#[tokio::test]
async fn a_refused_pod_says_why_and_waits() {
    let runtime = FakeRuntime::new().with("bad:latest", Outcome::RefusesImage("it imports env.launch".into()));
    let node = Node::start(runtime).await;
    node.run("root", r#"{"containers":[{"name":"main","image":"x","securityContext":{"privileged":true}}]}"#);
    node.run("bad", r#"{"containers":[{"name":"main","image":"bad"}]}"#);
    let root = node.until("root", |pod| !waiting(pod).is_empty()).await;
    assert_eq!(
        waiting(&root),
        "CreateContainerConfigError: spec.containers[0].securityContext.privileged: a WebAssembly guest cannot be privileged"
    );
    node.until_told("Failed: Error: spec.containers[0].securityContext.privileged").await;
    let bad = node.until("bad", |pod| waiting(pod).starts_with("CreateContainerError")).await;
    assert!(waiting(&bad).contains("it imports env.launch"));
    assert_eq!((phase(&root), phase(&bad)), ("Pending", "Pending"));
    node.until_told("it imports env.launch").await;
}

#[tokio::test]
async fn what_does_not_fit_fails() {
    let node = Node::start(FakeRuntime::new()).await;
    node.run("big", r#"{"containers":[{"name":"main","image":"x","resources":{"requests":{"cpu":"10000"}}}]}"#);
    let big = node.until_phase("big", "Failed").await;
    assert_eq!(big.status.unwrap().reason.as_deref(), Some("OutOfcpu"));
}

#[tokio::test]
async fn a_restarted_kubelet_goes_on_and_counts() {
    let node = Node::start(FakeRuntime::new()).await;
    node.run("web", HELLO);
    node.run("once", r#"{"restartPolicy":"Never","containers":[{"name":"main","image":"hello"}]}"#);
    let before = node.until("web", is_ready).await;
    node.until("once", is_ready).await;
    let (server, dir) = node.stop().await;
    let writes = server.requests().len();
    assert!(
        is_ready(&server.one::<Pod>("default", "web").unwrap()),
        "a kubelet that stops leaves the status: {writes}"
    );

    let node = Node::start_on(server, dir, Arc::new(FakeRuntime::new())).await;
    let restarts = |pod: &Pod| pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count;
    let after = node.until("web", |pod| restarts(pod) == 1 && is_ready(pod)).await;
    let (before, after) = (before.status.unwrap(), after.status.unwrap());
    assert_eq!(before.pod_ip, after.pod_ip);
    assert_eq!(before.start_time, after.start_time);
    let once = node.until_phase("once", "Failed").await;
    assert_eq!(restarts(&once), 0);
}

#[tokio::test]
async fn faults_of_the_server_lose_nothing() {
    let server = coracle_client::testing::FakeServer::seeded(7);
    server.set_faults(coracle_client::testing::Faults { lost: 0.2, broken: 0.1, ..Default::default() });
    let node = Node::start_on(server, Arc::new(tempfile::tempdir().unwrap()), Arc::new(FakeRuntime::new())).await;
    for n in 0..10 {
        node.server.put(&pod(&format!("p{n}"), HELLO));
    }
    for n in 0..10 {
        node.until(&format!("p{n}"), is_ready).await;
        delete(&node, &format!("p{n}"), 30);
    }
    for n in 0..10 {
        until_gone(&node, &format!("p{n}")).await;
    }
}
