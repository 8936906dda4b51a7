//! A kubelet that is killed at any point, over and over, while pods come and go.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::testing::FakeServer;
use coracle_kubelet::FakeRuntime;
use coracle_kubelet::runtime::Exit;
use coracle_kubelet::runtime::fake::Outcome;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Node, is_ready, phase, pod};

const KILLS: i32 = 12;
const POD: &str = r#"{"containers":[{"name":"main","image":"hello"}]}"#;

/// A kubelet on threads of its own, so that it can be ended between any two of its steps.
struct Process {
    threads: tokio::runtime::Runtime,
    node: Node,
    containers: FakeRuntime,
}

impl Process {
    async fn start(server: &FakeServer, dir: &Arc<tempfile::TempDir>) -> Self {
        let ends = |exit| Outcome::Exits { after: Duration::from_millis(3), exit };
        let containers = FakeRuntime::new()
            .with("once:latest", ends(Exit::Code(0)))
            .with("crash:latest", ends(Exit::Code(1)))
            .with("deaf:latest", Outcome::Ignores);
        let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let node = Node::start_on(server.clone(), dir.clone(), Arc::new(containers.clone()));
        let node = threads.spawn(node).await.unwrap();
        Self { threads, node, containers }
    }

    async fn kill(self) {
        let Self { threads, node, .. } = self;
        tokio::task::spawn_blocking(move || threads.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
        drop(node);
    }
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    status.map_or(0, |status| status.restart_count)
}

fn delete(server: &FakeServer, name: &str) {
    let Some(mut pod) = server.one::<Pod>("default", name) else { return };
    pod.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    pod.metadata.deletion_grace_period_seconds = Some(1);
    server.put(&pod);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubelet_that_is_killed_again_and_again_forgets_nothing() {
    let (server, dir) = (FakeServer::new(), Arc::new(tempfile::tempdir().unwrap()));
    server.put(&pod("steady", POD));
    let mut dice = 7u64;
    for kill in 0..KILLS {
        let process = Process::start(&server, &dir).await;
        process.node.until("steady", |pod| is_ready(pod) && restarts(pod) == kill).await;
        for (kind, spec) in [
            ("run", POD.to_owned()),
            ("once", POD.replace("hello", "once").replacen('{', r#"{"restartPolicy":"Never","#, 1)),
            ("crash", POD.replace("hello", "crash")),
            ("deaf", POD.replace("hello", "deaf")),
        ] {
            server.put(&pod(&format!("{kind}{kill}"), &spec));
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if kind != "once" && dice >> 63 == 0 {
                delete(&server, &format!("{kind}{}", kill - 1));
            }
        }
        // Where it is killed is up to chance.
        tokio::time::sleep(Duration::from_micros(dice >> 50)).await;
        process.kill().await;
    }

    let process = Process::start(&server, &dir).await;
    let is_settled = |server: &FakeServer| {
        server.all::<Pod>().iter().all(|pod| {
            let name = pod.metadata.name.as_deref().unwrap();
            let is_going = pod.metadata.deletion_timestamp.is_some();
            match name {
                _ if is_going => false,
                _ if name.starts_with("once") => matches!(phase(pod), "Succeeded" | "Failed"),
                _ if name.starts_with("crash") => restarts(pod) > 0,
                _ => is_ready(pod),
            }
        })
    };
    let settled = tokio::time::timeout(Duration::from_secs(30), server.until(is_settled)).await;
    assert!(settled.is_ok(), "{:#?}", server.all::<Pod>());
    process.node.until("steady", |pod| restarts(pod) == KILLS).await;
    for kill in 0..KILLS {
        delete(&server, &format!("crash{kill}"));
    }
    let has_crashing = |server: &FakeServer| {
        server.all::<Pod>().iter().any(|pod| pod.metadata.name.as_deref().unwrap().starts_with('c'))
    };
    tokio::time::timeout(Duration::from_secs(30), server.until(|server| !has_crashing(server))).await.unwrap();
    // Nothing runs twice, and nothing that is to run does not.
    let pods = server.all::<Pod>();
    let (once, runs): (Vec<_>, Vec<_>) =
        pods.iter().partition(|pod| pod.metadata.name.as_deref().unwrap().starts_with("once"));
    assert_eq!(process.containers.running(), runs.len());
    assert!(once.len() == usize::try_from(KILLS).unwrap() && once.iter().all(|pod| restarts(pod) == 0));
    process.kill().await;
}
