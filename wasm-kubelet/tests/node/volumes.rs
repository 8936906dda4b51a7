//! Volumes as guests see them, and as they are kept while pods run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::Object;
use coracle_client::testing::FakeServer;
use coracle_kubelet::images::{ImageStore, Reference};
use coracle_kubelet::{Config, FakeRuntime, Runtime, WasmRuntime};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount};

use super::{Node, is_ready, waiting};

/// Prints the file `path` of its first folder again and again, or the number of the error that it gets.
fn reader(path: &str) -> String {
    let length = path.len();
    format!(
        r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 2)
        (data (i32.const 512) "{path}")
        (func $print (param $from i32) (param $bytes i32)
            (i32.store (i32.const 16) (local.get $from))
            (i32.store (i32.const 20) (local.get $bytes))
            (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32))))
        (func $sleep
            (memory.fill (i32.const 64) (i32.const 0) (i32.const 48))
            (i32.store (i32.const 80) (i32.const 1))
            (i64.store (i32.const 88) (i64.const 20000000))
            (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 160))))
        (func (export "_start") (local $error i32)
            (loop $again
                (local.set $error (call $open (i32.const 3) (i32.const 1) (i32.const 512) (i32.const {length})
                    (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))
                (if (local.get $error)
                    (then
                        (i32.store8 (i32.const 200) (i32.const 33))
                        (i32.store8 (i32.const 201) (i32.add (i32.const 48) (i32.div_u (local.get $error) (i32.const 10))))
                        (i32.store8 (i32.const 202) (i32.add (i32.const 48) (i32.rem_u (local.get $error) (i32.const 10))))
                        (call $print (i32.const 200) (i32.const 3)))
                    (else
                        (i32.store (i32.const 16) (i32.const 1024))
                        (i32.store (i32.const 20) (i32.const 4096))
                        (drop (call $read (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))
                        (drop (call $close (i32.load (i32.const 8))))
                        (call $print (i32.const 1024) (i32.load (i32.const 24)))))
                (i32.store8 (i32.const 200) (i32.const 10))
                (call $print (i32.const 200) (i32.const 1))
                (call $sleep)
                (br $again))))"#
    )
}

fn wasm() -> Arc<dyn Runtime> {
    Arc::new(WasmRuntime::new(coracle_runtime::Runtime::new(coracle_runtime::Config::default()).unwrap()))
}

/// A node whose images are readers of these files, by name.
async fn readers(images: &[(&str, &str)]) -> Node {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let store = ImageStore::open(dir.path().join("images")).unwrap();
    for (name, path) in images {
        let module = wat::parse_str(reader(path)).unwrap();
        store.load(&Reference::parse(name).unwrap(), &module[..]).unwrap();
    }
    Node::start_on(FakeServer::new(), dir, wasm()).await
}

fn map(name: &str, data: &str) -> ConfigMap {
    let json = format!(r#"{{"metadata":{{"name":"{name}","namespace":"default"}},"data":{data}}}"#);
    ConfigMap::decode(json.as_bytes()).unwrap()
}

/// Waits until a pod has printed `text` as a line.
async fn until_printed(node: &Node, pod: &str, text: &str) {
    let path = format!("/containerLogs/default/{pod}/main");
    let printed = async {
        while !node.get(&path).await.1.lines().any(|line| line == text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), printed).await.is_err() {
        panic!("{pod} does not print {text:?}:\n{}\n{}", node.get(&path).await.1, node.events().join("\n"));
    }
}

/// Waits until a file of the host holds `text`.
async fn until_holds(path: PathBuf, text: &str) {
    let holds = async {
        while std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), holds).await;
    assert!(in_time.is_ok(), "{path:?} holds {:?}, not {text:?}", std::fs::read_to_string(&path));
}

fn volume_dir(node: &Node, pod: &Pod, volume: &str) -> PathBuf {
    node.dir.path().join("pods").join(pod.metadata.uid.as_ref().unwrap()).join("volumes").join(volume)
}

const MAPPED: &str =
    r#""volumeMounts":[{"name":"m","mountPath":"/m"}]}],"volumes":[{"name":"m","configMap":{"name":"m"}}]}"#;

#[tokio::test]
async fn a_guest_reads_a_config_map_and_sees_it_change() {
    let node = readers(&[("read", "deep"), ("leave", "../../../../images/format")]).await;
    node.server.put(&map("m", r#"{"deep":"first"}"#));
    node.run("read", &format!(r#"{{"containers":[{{"name":"main","image":"read","imagePullPolicy":"Never",{MAPPED}"#));
    node.run(
        "leave",
        &format!(r#"{{"containers":[{{"name":"main","image":"leave","imagePullPolicy":"Never",{MAPPED}"#),
    );
    until_printed(&node, "read", "first").await;
    until_printed(&node, "leave", "!63").await; // EPERM: not capable
    node.server.put(&map("m", r#"{"deep":"second"}"#));
    until_printed(&node, "read", "second").await;
    node.server.put(&map("m", r#"{}"#));
    until_printed(&node, "read", "!44").await; // ENOENT
    node.server.put(&map("m", r#"{"deep":"third"}"#));
    until_printed(&node, "read", "third").await;
    let pod = node.pod("read").unwrap();
    assert_eq!(pod.status.unwrap().container_statuses.unwrap()[0].restart_count, 0);
}

#[tokio::test]
async fn a_guest_reads_a_file_that_is_mounted_alone() {
    let node = readers(&[("read", "nginx.conf")]).await;
    node.server.put(&map("m", r#"{"main":"one file","other":"x"}"#));
    node.run(
        "read",
        r#"{"containers":[{"name":"main","image":"read","imagePullPolicy":"Never","volumeMounts":[
        {"name":"m","mountPath":"/etc/nginx/nginx.conf","subPath":"main"}]}],
        "volumes":[{"name":"m","configMap":{"name":"m"}}]}"#,
    );
    until_printed(&node, "read", "one file").await;
}

#[tokio::test]
async fn a_guest_that_opens_files_has_the_token_that_every_pod_has_and_it_is_renewed() {
    let node = readers(&[("token", "token"), ("ca", "ca.crt"), ("namespace", "namespace")]).await;
    let account = r#"{"metadata":{"name":"default","namespace":"default"}}"#;
    node.server.put(&ServiceAccount::decode(account.as_bytes()).unwrap());
    node.server.put(&map("kube-root-ca.crt", r#"{"ca.crt":"the CA"}"#));
    // As the API server's admission makes it, but for the life of the token.
    let spec = |image: &str| {
        format!(
            r#"{{"containers":[{{"name":"main","image":"{image}","imagePullPolicy":"Never","volumeMounts":[
            {{"name":"kube-api-access-x2x4z","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}}]}}],
            "volumes":[{{"name":"kube-api-access-x2x4z","projected":{{"defaultMode":420,"sources":[
              {{"serviceAccountToken":{{"path":"token","expirationSeconds":3}}}},
              {{"configMap":{{"name":"kube-root-ca.crt","items":[{{"key":"ca.crt","path":"ca.crt"}}]}}}},
              {{"downwardAPI":{{"items":[{{"path":"namespace","fieldRef":{{"fieldPath":"metadata.namespace"}}}}]}}}}]}}}}]}}"#
        )
    };
    for image in ["token", "ca", "namespace"] {
        node.run(image, &spec(image));
    }
    until_printed(&node, "ca", "the CA").await;
    until_printed(&node, "namespace", "default").await;
    let path = "/containerLogs/default/token/main";
    let several = async {
        loop {
            let log = node.get(path).await.1;
            let tokens: std::collections::BTreeSet<&str> =
                log.lines().filter(|line| line.starts_with("token-")).collect();
            if tokens.len() >= 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), several).await.expect("the token is renewed while the pod runs");
    let asked = node.server.requests();
    assert!(asked.iter().any(|request| request == "POST /api/v1/namespaces/default/serviceaccounts/default/token"));

    let quiet = Node::start(FakeRuntime::new()).await;
    quiet.run("quiet", &spec("hello"));
    quiet.until("quiet", is_ready).await;
    assert!(!quiet.server.requests().iter().any(|request| request.contains("/token")), "nobody could read it");
}

#[tokio::test]
async fn what_a_volume_misses_is_told_and_waited_for() {
    let node = Node::start(FakeRuntime::new()).await;
    node.server.put(&Secret::decode(br#"{"metadata":{"name":"s","namespace":"default"}}"#).unwrap());
    node.run(
        "waits",
        r#"{"containers":[{"name":"main","image":"hello"}],"volumes":[{"name":"x","configMap":{"name":"y"}},
        {"name":"k","secret":{"secretName":"s","items":[{"key":"no","path":"p"}]}},{"name":"o","secret":{"secretName":"no","optional":true}}]}"#,
    );
    node.until_told("FailedMount: MountVolume.SetUp failed for volume \"x\" : configmap \"y\" not found").await;
    node.until_told("FailedMount: MountVolume.SetUp failed for volume \"k\" : references non-existent secret key: no")
        .await;
    node.server.put(&map("y", r#"{"a":"1"}"#));
    let secret = br#"{"metadata":{"name":"s","namespace":"default"},"data":{"no":"eA=="}}"#;
    node.server.put(&Secret::decode(secret).unwrap());
    let pod = node.until("waits", is_ready).await;
    assert_eq!(std::fs::read_to_string(volume_dir(&node, &pod, "x").join("a")).unwrap(), "1");
    assert_eq!(std::fs::read_to_string(volume_dir(&node, &pod, "k").join("p")).unwrap(), "x");
    let uid = pod.metadata.uid.clone().unwrap();
    let mut going = pod;
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time("2026-01-01T00:00:00Z".parse().unwrap()));
    going.metadata.deletion_grace_period_seconds = Some(0);
    node.server.put(&going);
    node.server.until(|server| server.one::<Pod>("default", "waits").is_none()).await;
    while node.dir.path().join("pods").join(&uid).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_pod_sees_its_own_labels_change() {
    let node = Node::start(FakeRuntime::new()).await;
    node.run(
        "web",
        r#"{"containers":[{"name":"main","image":"hello"}],"volumes":[{"name":"info","downwardAPI":{"items":[
        {"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}}]}"#,
    );
    let mut pod = node.until("web", is_ready).await;
    let file = volume_dir(&node, &pod, "info").join("labels");
    until_holds(file.clone(), "").await;
    pod.metadata.labels = Some([("a".to_owned(), "say \"hi\"".to_owned())].into());
    node.server.put(&pod);
    until_holds(file, "a=\"say \\\"hi\\\"\"").await;
}

#[tokio::test]
async fn a_claim_is_the_folder_that_it_is_bound_to() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let host = dir.path().canonicalize().unwrap().join("host");
    std::fs::create_dir_all(host.join("data")).unwrap();
    let store = ImageStore::open(dir.path().join("images")).unwrap();
    store.load(&Reference::parse("read").unwrap(), &wat::parse_str(reader("file")).unwrap()[..]).unwrap();
    let config = Config { proxy: None, host_paths: vec![host.clone()], ..Config::new("node", dir.path()) };
    let node = Node::start_with(FakeServer::new(), dir, wasm(), config).await;
    std::fs::write(host.join("data/file"), "of the volume").unwrap();
    let claim = |name: &str, phase: &str, owner: &str| {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"default","uid":"{name}-uid"{owner}}},
            "spec":{{"volumeName":"{name}-pv"}},"status":{{"phase":"{phase}"}}}}"#
        );
        PersistentVolumeClaim::decode(json.as_bytes()).unwrap()
    };
    let volume = |name: &str, source: &str| {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}-pv"}},"spec":{{{source},"claimRef":{{"name":"{name}","uid":"{name}-uid"}}}}}}"#
        );
        PersistentVolume::decode(json.as_bytes()).unwrap()
    };
    let run = |name: &str, source: &str| {
        node.run(
            name,
            &format!(
                r#"{{"containers":[{{"name":"main","image":"read","imagePullPolicy":"Never","volumeMounts":[
                {{"name":"v","mountPath":"/data"}}]}}],"volumes":[{{"name":"v",{source}}}]}}"#
            ),
        );
    };
    let claimed = |name: &str| format!(r#""persistentVolumeClaim":{{"claimName":"{name}"}}"#);
    let path = host.join("data").display().to_string();
    node.server.put(&claim("good", "Bound", ""));
    node.server.put(&volume("good", &format!(r#""local":{{"path":"{path}"}}"#)));
    node.server.put(&claim("open", "Pending", ""));
    node.server.put(&claim("net", "Bound", ""));
    node.server.put(&volume("net", r#""nfs":{"server":"s","path":"/"}"#));
    node.server.put(&claim("etc", "Bound", ""));
    node.server.put(&volume("etc", r#""hostPath":{"path":"/etc"}"#));
    for name in ["good", "open", "net", "etc", "none"] {
        run(name, &claimed(name));
    }
    until_printed(&node, "good", "of the volume").await;
    let failed = "FailedMount: MountVolume.SetUp failed for volume \"v\" : error processing PVC default";
    node.until_told(&format!("{failed}/open: PVC is not bound")).await;
    node.until_told(&format!("{failed}/none: failed to fetch PVC from API server: ")).await;
    for (name, want) in [("net", "neither local nor hostPath"), ("etc", "not among the folders that this node grants")]
    {
        let pod = node.until(name, |pod| waiting(pod).starts_with("CreateContainerConfigError")).await;
        assert!(waiting(&pod).contains("spec.volumes[v]") && waiting(&pod).contains(want), "{}", waiting(&pod));
    }
    run("own", r#""ephemeral":{"volumeClaimTemplate":{"spec":{}}}"#);
    let uid = node.until("own", |_| true).await.metadata.uid.unwrap();
    let owner = format!(
        r#","ownerReferences":[{{"apiVersion":"v1","kind":"Pod","name":"own","uid":"{uid}","controller":true}}]"#
    );
    node.server.put(&volume("own-v", &format!(r#""hostPath":{{"path":"{path}"}}"#)));
    node.server.put(&claim("own-v", "Bound", &owner));
    until_printed(&node, "own", "of the volume").await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_more_than_an_empty_dir_may_hold_is_evicted() {
    let node = Node::start(FakeRuntime::new()).await;
    let spec = r#"{"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"hello"}],
        "volumes":[{"name":"tmp","emptyDir":{"sizeLimit":"1Mi"}}]}"#;
    node.run("modest", spec);
    node.run("greedy", spec);
    let modest = node.until("modest", is_ready).await;
    let greedy = node.until("greedy", is_ready).await;
    std::fs::write(volume_dir(&node, &modest, "tmp").join("f"), vec![1; 512 << 10]).unwrap();
    std::fs::write(volume_dir(&node, &greedy, "tmp").join("f"), vec![1; 2 << 20]).unwrap();
    let evicted = node.until_phase("greedy", "Failed").await.status.unwrap();
    assert_eq!(evicted.reason.as_deref(), Some("Evicted"));
    let message = "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". ";
    assert_eq!(evicted.message.as_deref(), Some(message));
    node.until_told(&format!("Evicted: {message}")).await;
    assert!(is_ready(&node.pod("modest").unwrap()));
}
