//! Pods that are files of a folder, and what the API shows of them.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::testing::{FakeServer, Faults};
use coracle_kubelet::runtime::Exit;
use coracle_kubelet::runtime::fake::Outcome;
use coracle_kubelet::{Config, FakeRuntime, NodeShutdown, Runtime};
use k8s_openapi::api::core::v1::{Node as Object, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{DEADLINE, Node, is_ready, phase};

type Dir = Arc<tempfile::TempDir>;

/// A node's folder, with one of static pods in it.
fn dir() -> Dir {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    fs::create_dir(dir.path().join("manifests")).unwrap();
    dir
}

async fn start(server: FakeServer, dir: Dir, runtime: impl Runtime) -> Node {
    start_with(server, dir, runtime, NodeShutdown::default()).await
}

async fn start_with(server: FakeServer, dir: Dir, runtime: impl Runtime, node_shutdown: NodeShutdown) -> Node {
    let static_pods = Some(dir.path().join("manifests"));
    let config = Config { proxy: None, static_pods, node_shutdown, ..Config::new("node", dir.path()) };
    Node::start_with(server, dir, Arc::new(runtime), config).await
}

/// Writes a file as one should: whole, or not at all.
fn write(dir: &Dir, name: &str, text: &str) {
    let part = dir.path().join(format!(".{name}"));
    fs::write(&part, text).unwrap();
    fs::rename(part, dir.path().join("manifests").join(name)).unwrap();
}

fn manifest(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
         containers:\n  - name: main\n    image: {image}\n"
    )
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap()
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> &'a str {
    &pod.metadata.annotations.as_ref().unwrap()[&format!("kubernetes.io/config.{name}")]
}

fn restarts(pod: &Pod) -> i32 {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    status.map_or(-1, |status| status.restart_count)
}

async fn until_gone(node: &Node, name: &str) {
    let gone = node.server.until(|server| server.one::<Pod>("default", name).is_none());
    tokio::time::timeout(DEADLINE, gone).await.unwrap();
}

async fn until_running(runtime: &FakeRuntime, containers: usize) {
    let running = async {
        while runtime.running() != containers {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, running).await.unwrap();
}

#[tokio::test]
async fn a_file_runs_and_the_api_shows_it() {
    let (dir, runtime) = (dir(), FakeRuntime::new());
    write(&dir, "web.yaml", &manifest("web", "hello"));
    let node = start(FakeServer::new(), dir.clone(), runtime.clone()).await;
    let mirror = node.until("web-node", is_ready).await;
    let owner = &mirror.metadata.owner_references.as_ref().unwrap()[0];
    let object = node.server.one::<Object>("", "node").unwrap();
    assert_eq!((&*owner.kind, Some(&owner.uid)), ("Node", object.metadata.uid.as_ref()));
    assert_eq!(annotation(&mirror, "source"), "file");
    assert_eq!(annotation(&mirror, "mirror"), annotation(&mirror, "hash"));
    assert_ne!(uid(&mirror), annotation(&mirror, "hash"), "the API gives it a uid of its own");
    let status = mirror.status.as_ref().unwrap();
    assert_eq!((status.pod_ip.as_deref(), status.observed_generation), (Some("127.64.0.1"), Some(1)));

    write(
        &dir,
        "more.json",
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"more"},
        "spec":{"containers":[{"name":"main","image":"hello"}]}}"#,
    );
    node.until("more-node", is_ready).await;
    assert_eq!(runtime.running(), 2);
    let (_, pods) = node.get("/pods").await;
    assert!(pods.contains(annotation(&mirror, "hash")) && !pods.contains("config.mirror"), "{pods}");
    let (code, _) = node.get("/containerLogs/default/web-node/main").await;
    assert_eq!(code, http::StatusCode::OK);
    let stranger = node.get(&format!("/exec/default/web-node/{}/main?command=x", "another")).await;
    assert_eq!(stranger.0, http::StatusCode::NOT_FOUND);
    let known = node.get(&format!("/exec/default/web-node/{}/main?command=x", uid(&mirror))).await;
    assert_eq!(known.0, http::StatusCode::BAD_REQUEST, "it is there, and this is no upgrade: {}", known.1);
}

#[tokio::test]
async fn other_words_are_another_pod_and_none_are_none() {
    let (dir, runtime) = (dir(), FakeRuntime::new());
    write(&dir, "web.yaml", &manifest("web", "hello"));
    let node = start(FakeServer::new(), dir.clone(), runtime.clone()).await;
    let first = node.until("web-node", is_ready).await;
    write(&dir, "web.yaml", &manifest("web", "other"));
    let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
    let second = node.until("web-node", |pod| image(pod) == "other" && is_ready(pod)).await;
    assert_ne!((uid(&first), annotation(&first, "hash")), (uid(&second), annotation(&second, "hash")));
    assert_eq!(runtime.running(), 1, "one after the other");
    fs::remove_file(dir.path().join("manifests/web.yaml")).unwrap();
    until_gone(&node, "web-node").await;
    until_running(&runtime, 0).await;
    let forgotten = async {
        while fs::read_dir(dir.path().join("static-pods")).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, forgotten).await.expect("nothing is kept of it");
}

#[tokio::test]
async fn a_mirror_comes_back_and_its_pod_does_not_care() {
    let (dir, runtime) = (dir(), FakeRuntime::new());
    write(&dir, "web.yaml", &manifest("web", "hello"));
    let node = start(FakeServer::new(), dir, runtime.clone()).await;
    let first = node.until("web-node", is_ready).await;
    node.server.remove::<Pod>("default", "web-node");
    let second = node.until("web-node", |pod| is_ready(pod) && uid(pod) != uid(&first)).await;

    let mut going = second.clone();
    going.metadata.deletion_timestamp = Some(Time("2026-01-01T00:00:00Z".parse().unwrap()));
    node.server.put(&going);
    let third = node.until("web-node", |pod| is_ready(pod) && uid(pod) != uid(&second)).await;

    let mut wrong = third.clone();
    wrong.metadata.annotations.as_mut().unwrap().insert("kubernetes.io/config.mirror".into(), "wrong".into());
    node.server.put(&wrong);
    let fourth = node.until("web-node", |pod| is_ready(pod) && uid(pod) != uid(&third)).await;
    assert_eq!((runtime.running(), restarts(&fourth)), (1, 0));

    let mut orphan = fourth;
    orphan.metadata.name = Some("orphan-node".into());
    orphan.metadata.uid = None;
    node.server.put(&orphan);
    until_gone(&node, "orphan-node").await;
}

#[tokio::test]
async fn what_others_write_of_a_mirror_is_written_over() {
    let dir = dir();
    write(&dir, "web.yaml", &manifest("web", "hello"));
    let node = start(FakeServer::new(), dir, FakeRuntime::new()).await;
    let mut mirror = node.until("web-node", is_ready).await;
    let conditions = mirror.status.as_mut().unwrap().conditions.as_mut().unwrap();
    conditions.iter_mut().find(|it| it.type_ == "Ready").unwrap().status = "False".into();
    node.server.put(&mirror);
    node.until("web-node", is_ready).await;
}

#[tokio::test]
async fn a_pod_of_a_file_needs_no_api_server() {
    let (dir, runtime, server) = (dir(), FakeRuntime::new(), FakeServer::new());
    server.set_faults(Faults { lost: 1.0, ..Faults::default() });
    write(&dir, "web.yaml", &manifest("web", "hello"));
    let node = start(server.clone(), dir.clone(), runtime.clone()).await;
    until_running(&runtime, 1).await;
    write(&dir, "web.yaml", &manifest("web", "other"));
    write(&dir, "more.yaml", &manifest("more", "hello"));
    until_running(&runtime, 2).await;
    let (_, _) = node.stop().await;

    let node = start(server.clone(), dir, runtime).await;
    server.set_faults(Faults::default());
    let mirror = node.until("more-node", is_ready).await;
    assert_eq!(restarts(&mirror), 1, "what it did without the API is known");
}

#[tokio::test]
async fn a_restarted_kubelet_goes_on_with_its_files() {
    let dir = dir();
    let done = |runtime: FakeRuntime| {
        runtime.with("done:latest", Outcome::Exits { after: Duration::ZERO, exit: Exit::Code(0) })
    };
    write(&dir, "web.yaml", &manifest("web", "hello"));
    write(&dir, "gone.yaml", &manifest("gone", "hello"));
    write(&dir, "once.yaml", &manifest("once", "done").replace("spec:", "spec:\n  restartPolicy: Never"));
    let node = start(FakeServer::new(), dir, done(FakeRuntime::new())).await;
    let before = node.until("web-node", is_ready).await;
    node.until("gone-node", is_ready).await;
    let once = node.until_phase("once-node", "Succeeded").await;
    let (server, dir) = node.stop().await;
    assert!(is_ready(&server.one::<Pod>("default", "web-node").unwrap()), "a kubelet that stops leaves the status");
    fs::remove_file(dir.path().join("manifests/gone.yaml")).unwrap();

    let runtime = done(FakeRuntime::new());
    let node = start(server, dir, runtime.clone()).await;
    let after = node.until("web-node", |pod| restarts(pod) == 1 && is_ready(pod)).await;
    assert_eq!(uid(&before), uid(&after), "the mirror stays");
    assert_eq!(before.status.unwrap().pod_ip, after.status.unwrap().pod_ip);
    until_gone(&node, "gone-node").await;
    let again = node.until_phase("once-node", "Succeeded").await;
    assert_eq!((uid(&once), restarts(&again)), (uid(&again), 0));
    until_running(&runtime, 1).await;
}

#[tokio::test]
async fn files_that_are_no_pods_are_told_and_disturb_nothing() {
    let (dir, runtime) = (dir(), FakeRuntime::new());
    write(&dir, "a.yaml", &manifest("a", "hello"));
    write(&dir, "b.yaml", "kind: [");
    write(&dir, "c.yaml", &manifest("a", "other"));
    write(&dir, "d.yaml", &manifest("d", "hello").replace("spec:", "spec:\n  serviceAccountName: admin"));
    write(&dir, "e.yaml", &manifest("e", "hello").replace("kind: Pod", "kind: ConfigMap"));
    write(&dir, ".hidden", "kind: [");
    fs::create_dir(dir.path().join("manifests/folder")).unwrap();
    let node = start(FakeServer::new(), dir.clone(), runtime.clone()).await;
    node.until("a-node", is_ready).await;
    for words in [
        "b.yaml is no static pod: ",
        "c.yaml is no static pod: another file is the pod default/a-node already",
        "d.yaml is no static pod: static pods may not reference serviceaccounts",
        r#"e.yaml is no static pod: no pod: it is of the kind "ConfigMap""#,
        "folder is no static pod: it is not a file",
    ] {
        node.until_told(words).await;
    }
    assert!(!node.events().iter().any(|event| event.contains("hidden")), "{:?}", node.events());
    write(&dir, "b.yaml", &manifest("b", "hello"));
    node.until("b-node", is_ready).await;
    assert_eq!((runtime.running(), node.server.all::<Pod>().len()), (2, 2));
}

#[tokio::test]
async fn a_file_that_is_being_written_ends_nothing() {
    let (dir, runtime) = (dir(), FakeRuntime::new());
    let path = dir.path().join("manifests/web.yaml");
    let whole = manifest("web", "hello");
    write(&dir, "web.yaml", &whole);
    let node = start(FakeServer::new(), dir.clone(), runtime.clone()).await;
    let before = node.until("web-node", is_ready).await;
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    // Another file tells when the folder has been looked at.
    write(&dir, "other.yaml", &manifest("other", "hello"));
    node.until("other-node", is_ready).await;
    assert_eq!(runtime.running(), 2, "half a file");
    fs::write(&path, whole).unwrap();
    write(&dir, "third.yaml", &manifest("third", "hello"));
    node.until("third-node", is_ready).await;
    let after = node.pod("web-node").unwrap();
    assert_eq!((uid(&before), restarts(&after)), (uid(&after), 0));
}

#[tokio::test]
async fn a_file_that_is_no_pod_any_more_ends_its_pod() {
    let (dir, runtime) = (dir(), FakeRuntime::new());
    write(&dir, "web.yaml", &manifest("web", "hello"));
    let node = start(FakeServer::new(), dir.clone(), runtime.clone()).await;
    node.until("web-node", is_ready).await;
    write(&dir, "web.yaml", "kind: [");
    node.until_told("web.yaml is no static pod").await;
    until_gone(&node, "web-node").await;
    until_running(&runtime, 0).await;
}

#[tokio::test]
async fn a_node_that_shut_down_runs_its_files_again() {
    let dir = dir();
    write(&dir, "web.yaml", &manifest("web", "hello"));
    let node_shutdown = NodeShutdown { grace: Duration::from_secs(30), critical_pods: Duration::ZERO };
    let node = start_with(FakeServer::new(), dir, FakeRuntime::new(), node_shutdown).await;
    let before = node.until("web-node", is_ready).await;
    let (server, dir) = node.stop().await;
    let ended = server.one::<Pod>("default", "web-node").unwrap();
    assert_eq!((phase(&ended), ended.status.as_ref().unwrap().reason.as_deref()), ("Failed", Some("Terminated")));
    let node = start(server, dir, FakeRuntime::new()).await;
    let after = node.until("web-node", is_ready).await;
    assert_ne!(uid(&before), uid(&after), "a pod that has failed does not run again: its mirror is another");
    assert_eq!(restarts(&after), 1);
}
