//! A node that shuts down: its pods end in order, and what became of them is told.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::testing::FakeServer;
use coracle_kubelet::runtime::fake::Outcome;
use coracle_kubelet::{Config, FakeRuntime, NodeShutdown};
use k8s_openapi::api::core::v1::{Node as Object, Pod};

use super::{DEADLINE, Node, is_ready, phase, pod};

const SERVES: &str = r#"{"containers":[{"name":"main","image":"hello"}]}"#;
const CRITICAL: &str = r#"{"priority":2000000000,"containers":[{"name":"main","image":"hello"}]}"#;
/// It does not end when it is asked to.
const DEAF: &str = r#"{"containers":[{"name":"main","image":"deaf"}]}"#;

async fn start(grace: Duration, critical_pods: Duration) -> Node {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node_shutdown = NodeShutdown { grace, critical_pods };
    let config = Config { proxy: None, node_shutdown, ..Config::new("node", dir.path()) };
    let runtime = FakeRuntime::new().with("deaf:latest", Outcome::Ignores);
    Node::start_with(FakeServer::new(), dir, Arc::new(runtime), config).await
}

fn condition(pod: &Pod, kind: &str) -> Option<(String, String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone()?, found.message.clone()?))
}

fn said(pod: &Pod) -> (&str, &str, &str) {
    let status = pod.status.as_ref().unwrap();
    (phase(pod), status.reason.as_deref().unwrap_or_default(), status.message.as_deref().unwrap_or_default())
}

/// Where in the order of requests a pod's end was first told.
fn told(server: &FakeServer, name: &str) -> usize {
    let path = format!("PATCH /api/v1/namespaces/default/pods/{name}/status");
    server.requests().iter().rposition(|request| request.starts_with(&path)).unwrap()
}

#[tokio::test]
async fn pods_end_in_order_and_have_failed() {
    let node = start(Duration::from_secs(60), Duration::from_secs(30)).await;
    node.run("critical", CRITICAL);
    node.run("web", SERVES);
    node.run("once", r#"{"restartPolicy":"Never","containers":[{"name":"main","image":"hello"}]}"#);
    for name in ["critical", "web", "once"] {
        node.until(name, is_ready).await;
    }
    let (server, _dir) = node.stop().await;
    let words = "Pod was terminated in response to imminent node shutdown.";
    for name in ["critical", "web", "once"] {
        let pod = server.one::<Pod>("default", name).unwrap();
        assert_eq!(said(&pod), ("Failed", "Terminated", words), "{name}");
        let disruption = condition(&pod, "DisruptionTarget");
        assert_eq!(disruption, Some(("True".into(), "TerminationByKubelet".into(), words.into())), "{name}");
    }
    assert!(told(&server, "critical") > told(&server, "web").max(told(&server, "once")), "critical pods end last");
    let object = server.one::<Object>("", "node").unwrap();
    let conditions = object.status.unwrap().conditions.unwrap();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(
        (&*ready.status, ready.reason.as_deref(), ready.message.as_deref()),
        ("False", Some("KubeletNotReady"), Some("node is shutting down"))
    );
}

#[tokio::test]
async fn who_does_not_end_is_ended_and_who_comes_is_refused() {
    let node = start(Duration::from_secs(2), Duration::ZERO).await;
    node.run("deaf", DEAF);
    node.until("deaf", is_ready).await;
    let server = node.server.clone();
    let late = async {
        server.until(is_closed).await;
        server.put(&pod("late", SERVES));
    };
    let (_, (server, _dir)) = tokio::join!(tokio::time::timeout(DEADLINE, late), node.stop());
    assert_eq!(said(&server.one::<Pod>("default", "deaf").unwrap()).1, "Terminated");
    let late = server.one::<Pod>("default", "late").unwrap();
    let words = "Pod was rejected: Pod was rejected as the node is shutting down.";
    assert_eq!(said(&late), ("Failed", "NodeShutdown", words));
}

#[tokio::test]
async fn a_node_that_shut_down_is_ready_again_and_its_pods_stay_ended() {
    let node = start(Duration::from_secs(30), Duration::ZERO).await;
    node.run("web", SERVES);
    node.until("web", is_ready).await;
    let (server, dir) = node.stop().await;
    let node = Node::start_on(server, dir, Arc::new(FakeRuntime::new())).await;
    node.run("next", SERVES);
    node.until("next", is_ready).await;
    assert!(!is_closed(&node.server));
    assert_eq!(said(&node.pod("web").unwrap()).1, "Terminated");
}

fn is_closed(server: &FakeServer) -> bool {
    let object = server.one::<Object>("", "node").unwrap();
    let conditions = object.status.unwrap().conditions.unwrap();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "False")
}
