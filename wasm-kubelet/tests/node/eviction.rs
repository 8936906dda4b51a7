//! Nodes that run short: who goes, in which order, who is refused meanwhile, and that all is well again afterwards.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coracle_client::testing::FakeServer;
use coracle_kubelet::eviction::{Eviction, Level, Limit, Observations, Observe, Signal, thresholds};
use coracle_kubelet::runtime::Exit;
use coracle_kubelet::runtime::fake::Outcome;
use coracle_kubelet::{Config, FakeRuntime};
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};

use super::{Node, is_ready, phase};

const MIB: u64 = 1 << 20;

fn plenty() -> Level {
    Level { available: 1 << 40, capacity: 1 << 40 }
}

/// A machine with so much memory, of which containers hold a part.
fn machine(runtime: &FakeRuntime, capacity: u64) -> Arc<dyn Observe> {
    let runtime = runtime.clone();
    Arc::new(move || {
        let memory = Level { available: capacity.saturating_sub(runtime.memory_bytes()), capacity };
        Observations { memory, disk: plenty(), inodes: plenty() }
    })
}

async fn node(runtime: &FakeRuntime, eviction: Eviction, observer: Arc<dyn Observe>) -> Node {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    node_in(dir, runtime, eviction, observer).await
}

async fn node_in(
    dir: Arc<tempfile::TempDir>,
    runtime: &FakeRuntime,
    eviction: Eviction,
    observer: Arc<dyn Observe>,
) -> Node {
    let config = Config { proxy: None, eviction, ..Config::new("node", dir.path()) };
    Node::start_observed(FakeServer::new(), dir, Arc::new(runtime.clone()), config, observer).await
}

fn spec(image: &str, priority: i32, requests: &str) -> String {
    format!(
        r#"{{"priority":{priority},"containers":[{{"name":"main","image":"{image}","resources":{{"requests":{{{requests}}}}}}}]}}"#
    )
}

/// Waits until a condition of the node has this status, however long conditions stay.
async fn until_condition(node: &Node, kind: &str, status: &str) {
    let is_so = |server: &FakeServer| {
        let conditions = server.all::<NodeObject>().into_iter().filter_map(|node| node.status?.conditions).flatten();
        conditions.into_iter().any(|it| it.type_ == kind && it.status == status)
    };
    let waited = tokio::time::timeout(Duration::from_secs(600), node.server.until(is_so)).await;
    assert!(waited.is_ok(), "{kind} does not become {status}");
}

fn why(pod: &Pod) -> (&str, &str) {
    let status = pod.status.as_ref().unwrap();
    (status.reason.as_deref().unwrap_or_default(), status.message.as_deref().unwrap_or_default())
}

/// `reason: message` of a pod's `DisruptionTarget`.
fn disruption(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|it| it.type_ == "DisruptionTarget" && it.status == "True")?;
    Some(format!("{}: {}", condition.reason.as_deref()?, condition.message.as_deref()?))
}

#[tokio::test(start_paused = true)]
async fn pods_go_one_by_one_until_there_is_memory_enough() {
    let runtime = FakeRuntime::new();
    for (image, mib) in [("critical", 300), ("asked", 300), ("low", 50), ("greedy", 100)] {
        runtime.hold(&format!("{image}:latest"), mib * MIB);
    }
    let node = node(&runtime, Eviction::default(), machine(&runtime, 1000 * MIB)).await;
    node.run("critical", &spec("critical", 2_000_000_000, ""));
    node.run("asked", &spec("asked", -10, r#""memory":"300Mi""#));
    node.run("low", &spec("low", -1, ""));
    node.run("greedy", &spec("greedy", 0, r#""memory":"10Mi""#));
    for name in ["critical", "asked", "low", "greedy"] {
        node.until(name, is_ready).await;
    }
    until_condition(&node, "MemoryPressure", "False").await;

    // 950 MiB of 1000 are in use. The pod that matters least has to go, since it asked for nothing; then there are 100 MiB
    // again, and nobody else goes.
    runtime.hold("greedy:latest", 300 * MIB);
    let low = node.until_phase("low", "Failed").await;
    let message = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
                   Container main was using 50Mi, request is 0, has larger consumption of memory. ";
    assert_eq!(why(&low), ("Evicted", message));
    assert_eq!(disruption(&low), Some(format!("TerminationByKubelet: {message}")));
    node.until_told(&format!("Evicted: {message}")).await;
    node.until_told("EvictionThresholdMet: Attempting to reclaim memory").await;
    until_condition(&node, "MemoryPressure", "True").await;

    // Meanwhile who asks for nothing is not taken.
    node.run("late", &spec("hello", 0, ""));
    node.run("late-but-asking", &spec("hello", 0, r#""memory":"1Mi""#));
    let refused = "Pod was rejected: The node had condition: [MemoryPressure]. ";
    assert_eq!(why(&node.until_phase("late", "Failed").await), ("Evicted", refused));
    node.until("late-but-asking", is_ready).await;

    runtime.hold("greedy:latest", 310 * MIB);
    let greedy = node.until_phase("greedy", "Failed").await;
    assert!(why(&greedy).1.contains("Container main was using 310Mi, request is 10Mi, "), "{:?}", why(&greedy));

    until_condition(&node, "MemoryPressure", "False").await;
    assert_eq!(node.server.all::<Pod>().iter().filter(|pod| is_ready(pod)).count(), 3);
    node.run("next", &spec("hello", 0, ""));
    node.until("next", is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn who_matters_to_the_cluster_stays_whatever_it_takes() {
    let runtime = FakeRuntime::new();
    runtime.hold("big:latest", 2000 * MIB);
    runtime.hold("small:latest", MIB);
    let node = node(&runtime, Eviction::default(), machine(&runtime, 1000 * MIB)).await;
    node.run("critical", &spec("big", 2_000_000_000, ""));
    node.until("critical", is_ready).await;
    until_condition(&node, "MemoryPressure", "True").await;
    node.run("small", &spec("small", 0, r#""memory":"1Mi""#));
    node.until_phase("small", "Failed").await;
    node.run("second", &spec("small", 2_000_000_001, ""));
    node.until("second", is_ready).await;
    assert!(is_ready(&node.pod("critical").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_soft_threshold_waits_and_then_leaves_pods_no_more_than_it_says() {
    // It would not end within the 30 s that its pod gives it.
    let runtime = FakeRuntime::new().with("deaf:latest", Outcome::Ignores);
    runtime.hold("deaf:latest", 500 * MIB);
    let period = Duration::from_secs(30);
    let soft: Vec<Limit> = vec!["memory.available<60%".parse().unwrap()];
    let settings = Eviction {
        thresholds: thresholds(&[], &soft, &[(Signal::MemoryAvailable, period)], &[]).unwrap(),
        pod_grace_max: Duration::ZERO,
        ..Eviction::default()
    };
    let node = node(&runtime, settings, machine(&runtime, 1000 * MIB)).await;
    let start = tokio::time::Instant::now();
    node.run("deaf", &spec("deaf", 0, ""));
    node.until("deaf", is_ready).await;
    until_condition(&node, "MemoryPressure", "True").await;
    assert!(start.elapsed() < period, "the condition does not wait");
    let evicted = node.until_phase("deaf", "Failed").await;
    assert!(start.elapsed() >= period, "{:?}", start.elapsed());
    let low = "The node was low on resource: memory. Threshold quantity: 600Mi, available: 500Mi. ";
    assert!(why(&evicted).1.starts_with(low), "{:?}", why(&evicted));
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let each = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    each.sum()
}

fn write(path: PathBuf, mib: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, vec![1; usize::try_from(mib * MIB).unwrap()]).unwrap();
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_freed_of_what_nobody_needs_and_then_of_pods() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let exits = Outcome::Exits { after: Duration::ZERO, exit: Exit::Code(0) };
    let runtime = FakeRuntime::new().with("done:latest", exits);
    let capacity = 40 * MIB;
    let root = dir.path().to_owned();
    let observer = Arc::new(move || {
        let disk = Level { available: capacity.saturating_sub(bytes(&root)), capacity };
        Observations { memory: plenty(), disk, inodes: plenty() }
    });
    let node = node_in(dir, &runtime, Eviction::default(), observer).await;
    let on_disk = |image: &str, request: &str, more: &str| {
        format!(
            r#"{{"restartPolicy":"Never",{more}"containers":[{{"name":"main","image":"{image}","resources":{{"requests":{{{request}}}}}}}],
            "volumes":[{{"name":"tmp","emptyDir":{{}}}}]}}"#
        )
    };
    node.run("asked", &on_disk("hello", r#""ephemeral-storage":"30Mi""#, ""));
    node.run("greedy", &on_disk("hello", "", ""));
    node.run("done", &on_disk("done", "", ""));
    let asked = node.until("asked", is_ready).await;
    let greedy = node.until("greedy", is_ready).await;
    let done = node.until_phase("done", "Succeeded").await;
    let volume = |pod: &Pod| node.dir.path().join("pods").join(uid(pod)).join("volumes/tmp/file");
    let log = |pod: &Pod, name: &str| node.dir.path().join(format!("logs/default_{name}_{}/main/0.log", uid(pod)));
    write(volume(&asked), 18);
    write(log(&asked, "asked"), 1);
    write(volume(&greedy), 10);

    // 4 MiB have to be left. The logs of who has ended go first, and that is enough.
    write(log(&done, "done"), 9);
    until_condition(&node, "DiskPressure", "True").await;
    node.until_told("EvictionThresholdMet: Attempting to reclaim ephemeral-storage").await;
    until_condition(&node, "DiskPressure", "False").await;
    assert!(!log(&done, "done").exists() && log(&asked, "asked").exists());
    assert!(["asked", "greedy"].iter().all(|name| is_ready(&node.pod(name).unwrap())));

    // Now a pod has to go: the one that has more than it asked for.
    write(volume(&greedy), 19);
    let evicted = node.until_phase("greedy", "Failed").await;
    let (reason, message) = why(&evicted);
    assert_eq!(reason, "Evicted");
    assert!(
        message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: 4Mi, available: ")
    );
    assert!(disruption(&evicted).is_some());
    until_condition(&node, "DiskPressure", "True").await;
    node.run("late", &on_disk("hello", r#""memory":"1Mi""#, ""));
    node.run("late-but-critical", &on_disk("hello", "", r#""priority":2000000000,"#));
    let late = node.until_phase("late", "Failed").await;
    assert_eq!(why(&late), ("Evicted", "Pod was rejected: The node had condition: [DiskPressure]. "));
    node.until("late-but-critical", is_ready).await;
    until_condition(&node, "DiskPressure", "False").await;
    assert!(is_ready(&node.pod("asked").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn who_has_the_most_files_goes_where_inodes_are_short() {
    let runtime = FakeRuntime::new();
    let free = Arc::new(AtomicU64::new(50_000));
    let seen = free.clone();
    let observer = Arc::new(move || {
        let inodes = Level { available: seen.load(Ordering::Relaxed), capacity: 1_000_000 };
        Observations { memory: plenty(), disk: plenty(), inodes }
    });
    let node = node(&runtime, Eviction::default(), observer).await;
    let spec = r#"{"containers":[{"name":"main","image":"hello"}],"volumes":[{"name":"tmp","emptyDir":{}}]}"#;
    node.run("few", spec);
    node.run("many", spec);
    for name in ["few", "many"] {
        let pod = node.until(name, is_ready).await;
        let folder = node.dir.path().join("pods").join(uid(&pod)).join("volumes/tmp");
        let files = if name == "many" { 20 } else { 2 };
        (0..files).for_each(|n| fs::write(folder.join(n.to_string()), "").unwrap());
    }
    free.store(49_999, Ordering::Relaxed);
    node.until_told("Evicted: The node was low on resource: inodes. ").await;
    free.store(50_000, Ordering::Relaxed);
    let many = node.until_phase("many", "Failed").await;
    assert!(why(&many).1.contains("available: 49999. "), "{}", why(&many).1);
    until_condition(&node, "DiskPressure", "False").await;
    assert_eq!(phase(&node.pod("few").unwrap()), "Running");
}

#[tokio::test(start_paused = true)]
async fn a_container_or_a_pod_that_passes_its_own_limit_goes_whatever_is_left() {
    let node = Node::start(FakeRuntime::new()).await;
    let limited = |one: &str, other: &str| {
        format!(
            r#"{{"containers":[{{"name":"main","image":"hello","resources":{{"limits":{{"ephemeral-storage":"{one}"}}}}}},
            {{"name":"side","image":"hello","resources":{{"limits":{{"ephemeral-storage":"{other}"}}}}}}],
            "volumes":[{{"name":"tmp","emptyDir":{{}}}}]}}"#
        )
    };
    for name in ["chatty", "full", "modest"] {
        node.run(name, &limited("1Mi", "4Mi"));
    }
    let pods = [node.until("chatty", is_ready).await, node.until("full", is_ready).await];
    let [chatty, full] = &pods;
    write(node.dir.path().join(format!("logs/default_chatty_{}/main/0.log", uid(chatty))), 2);
    write(node.dir.path().join("pods").join(uid(full)).join("volumes/tmp/file"), 6);
    let table = [
        ("chatty", "Container main exceeded its local ephemeral storage limit \"1Mi\". "),
        ("full", "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "),
    ];
    for (name, message) in table {
        let evicted = node.until_phase(name, "Failed").await;
        assert_eq!(why(&evicted), ("Evicted", message));
        assert_eq!(disruption(&evicted), None, "it is its own fault");
        node.until_told(&format!("Evicted: {message}")).await;
    }
    assert!(is_ready(&node.pod("modest").unwrap()));
}
