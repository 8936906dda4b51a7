//! Pods with real guests.

use std::sync::Arc;

use coracle_kubelet::images::{ImageStore, Reference};
use coracle_kubelet::{WasmRuntime, runtime::Runtime};
use http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{Node, is_ready, waiting};

fn runtime() -> Arc<dyn Runtime> {
    Arc::new(WasmRuntime::new(coracle_runtime::Runtime::new(coracle_runtime::Config::default()).unwrap()))
}

/// A node whose store has these modules, written as text.
async fn node(modules: &[(&str, &str)]) -> Node {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let store = ImageStore::open(dir.path().join("images")).unwrap();
    for (name, text) in modules {
        store.load(&Reference::parse(name).unwrap(), &wat::parse_str(text).unwrap()[..]).unwrap();
    }
    Node::start_on(coracle_client::testing::FakeServer::new(), dir, runtime()).await
}

/// Prints its first argument's and variable's bytes, whole, and exits with `code`.
fn printer(code: i32) -> String {
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2)
        (data (i32.const 60) "\0a")
        (func $print (param $from i32) (param $bytes i32)
            (i32.store (i32.const 16) (local.get $from))
            (i32.store (i32.const 20) (local.get $bytes))
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))
            (i32.store (i32.const 16) (i32.const 60))
            (i32.store (i32.const 20) (i32.const 1))
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32))))
        (func (export "_start")
            (drop (call $sizes (i32.const 0) (i32.const 4)))
            (drop (call $args (i32.const 1024) (i32.const 4096)))
            (call $print (i32.const 4096) (i32.load (i32.const 4)))
            (drop (call $env_sizes (i32.const 0) (i32.const 4)))
            (drop (call $env (i32.const 1024) (i32.const 65536)))
            (call $print (i32.const 65536) (i32.load (i32.const 4)))
            (call $exit (i32.const {code}))))"#
    )
}

const SPINNER: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;

#[tokio::test]
async fn a_module_sees_its_arguments_and_environment_and_is_logged() {
    let node = node(&[("print", &printer(0))]).await;
    let map = ConfigMap {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some("m".into()),
            namespace: Some("default".into()),
            ..Default::default()
        },
        data: Some([("key".to_owned(), "from-map".to_owned())].into()),
        ..ConfigMap::default()
    };
    node.server.put(&map);
    node.run(
        "print",
        r#"{"restartPolicy":"Never","containers":[{"name":"main","image":"print","imagePullPolicy":"IfNotPresent",
        "args":["one","$(MINE)"],"env":[{"name":"MINE","value":"two"},
        {"name":"MAP","valueFrom":{"configMapKeyRef":{"name":"m","key":"key"}}},
        {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]}]}"#,
    );
    let pod = node.until_phase("print", "Succeeded").await;
    let status = &pod.status.unwrap().container_statuses.unwrap()[0];
    assert!(status.image_id.starts_with("sha256:") && status.container_id.as_ref().unwrap().starts_with("wasm://"));
    let (code, log) = node.get("/containerLogs/default/print/main").await;
    assert_eq!(code, StatusCode::OK);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "main\0one\0two\0");
    for want in ["MINE=two\0", "MAP=from-map\0", "IP=127.64.0.1\0"] {
        assert!(lines[1].contains(want), "{log:?}");
    }
    assert!(!lines[1].contains("PATH="), "nothing of the host's environment: {log:?}");
    let (_, stamped) = node.get("/containerLogs/default/print/main?timestamps=true&tailLines=1").await;
    assert!(stamped.contains("Z MINE=two"), "{stamped:?}");
    for event in ["Pulled: Container image \"print\" already present", "Created: ", "Started: "] {
        node.until_told(event).await;
    }
}

#[tokio::test]
async fn what_cannot_run_says_what_it_wants() {
    let node = node(&[("wants", r#"(module (import "env" "launch" (func)) (func (export "_start")))"#)]).await;
    let text = node.dir.path().join("text.wasm");
    std::fs::write(&text, "hello, I am not wasm").unwrap();
    let cut = node.dir.path().join("cut.wasm");
    let whole = wat::parse_str(printer(0)).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let table = [
        ("wants", "wants".to_owned(), "CreateContainerError", "env.launch"),
        ("text", format!("file://{}", text.display()), "CreateContainerError", "not a WebAssembly binary"),
        ("cut", format!("file://{}", cut.display()), "CreateContainerError", "truncated"),
        ("gone", "file:///nowhere/x.wasm".into(), "ErrImagePull", "No such file"),
        ("missing", "missing".into(), "ErrImagePull", "coracle image load"),
        ("plain", "http://x/y.wasm".into(), "InvalidImageName", "use https"),
    ];
    for (name, image, ..) in &table {
        node.run(name, &format!(r#"{{"containers":[{{"name":"main","image":"{image}"}}]}}"#));
    }
    for (name, _, reason, text) in table {
        let pod =
            node.until(name, |pod| !waiting(pod).is_empty() && !waiting(pod).starts_with("ContainerCreating")).await;
        let why = waiting(&pod);
        assert!(why.contains(reason) && why.contains(text), "{name}: {why}");
        node.until_told(text).await;
    }
}

#[tokio::test]
async fn a_spinning_guest_stops_when_its_pod_goes() {
    let node = node(&[("spin", SPINNER), ("fail", &printer(3))]).await;
    node.run("spin", r#"{"containers":[{"name":"main","image":"spin"}]}"#);
    node.until("spin", is_ready).await;
    node.run("fail", r#"{"restartPolicy":"Never","containers":[{"name":"main","image":"fail"}]}"#);
    let failed = node.until_phase("fail", "Failed").await;
    let state = failed.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((state.exit_code, state.reason.as_deref()), (3, Some("Error")));
    node.stop().await;
}

#[tokio::test]
async fn a_crashing_guest_backs_off_and_keeps_its_last_log() {
    let node = node(&[("fail", &printer(1))]).await;
    node.run("fail", r#"{"containers":[{"name":"main","image":"fail","args":["x"]}]}"#);
    let pod = node.until("fail", |pod| waiting(pod).starts_with("CrashLoopBackOff")).await;
    let status = &pod.status.unwrap().container_statuses.unwrap()[0];
    assert_eq!(status.restart_count, 1, "the first restart is immediate");
    assert_eq!(status.last_state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 1);
    let (code, log) = node.get("/containerLogs/default/fail/main?previous=true").await;
    assert!(code == StatusCode::OK && log.starts_with("main\0x\0"), "{log:?}");
}

/// Writes `words` to the file `name` of its first folder, prints `printed`, and exits with 3.
fn last_words(name: &str, words: &str, printed: &str) -> String {
    let printed_bytes = printed.replace("\\n", "\n").len();
    let (name_bytes, words_bytes) = (name.len(), words.len());
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2)
        (data (i32.const 1000) "{name}")
        (data (i32.const 2000) "{words}")
        (data (i32.const 70000) "{printed}")
        (func $print (param $to i32) (param $from i32) (param $bytes i32)
            (i32.store (i32.const 16) (local.get $from))
            (i32.store (i32.const 20) (local.get $bytes))
            (drop (call $write (local.get $to) (i32.const 16) (i32.const 1) (i32.const 32))))
        (func (export "_start")
            (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 1000) (i32.const {name_bytes})
                    (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 40)))
                (then (call $print (i32.load (i32.const 40)) (i32.const 2000) (i32.const {words_bytes}))))
            (call $print (i32.const 1) (i32.const 70000) (i32.const {printed_bytes}))
            (call $exit (i32.const 3))))"#
    )
}

#[tokio::test]
async fn last_words_are_the_file_or_the_end_of_the_log() {
    let lines: String = (0..100).map(|n| format!("line {n}\\n")).collect();
    let node = node(&[
        ("words", &last_words("termination-log", "goodbye", "printed\\n")),
        ("named", &last_words("last", "farewell", "printed\\n")),
        ("prints", &last_words("nowhere/x", "", &lines)),
    ])
    .await;
    let volume = r#""volumes":[{"name":"v","emptyDir":{}}],"#;
    let mounted = r#","terminationMessagePath":"/out/last","volumeMounts":[{"name":"v","mountPath":"/out"}]"#;
    let logs = r#","terminationMessagePolicy":"FallbackToLogsOnError""#;
    let printed = (20..100).map(|n| format!("line {n}\n")).collect::<String>();
    let table = [
        ("default", "words", "", "", "goodbye"),
        ("volume", "named", volume, mounted, "farewell"),
        ("file-first", "words", "", logs, "goodbye"),
        ("logs", "prints", "", logs, &*printed),
        ("nothing", "prints", "", "", ""),
    ];
    for (pod, image, volume, more, want) in table {
        let spec = format!(
            r#"{{"restartPolicy":"Never",{volume}"containers":[{{"name":"main","image":"{image}",
            "imagePullPolicy":"IfNotPresent"{more}}}]}}"#
        );
        node.run(pod, &spec);
        let pod = node.until_phase(pod, "Failed").await;
        let ended = pod.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
        assert_eq!((ended.exit_code, ended.message.as_deref().unwrap_or_default()), (3, want), "{image}{more}");
    }
    let left = std::fs::read_dir(node.dir.path().join("farewells")).unwrap();
    assert_eq!(left.count(), 0, "an instance's folder goes with it");
}
