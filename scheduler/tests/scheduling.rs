//! The whole scheduler beside an API server in memory: what it binds, what it says of what it cannot bind, and that it
//! never gives away more than there is, whatever happens to its requests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_api::{pods, quantity};
use coracle_client::Informers;
use coracle_client::testing::{FakeServer, Faults, Random};
use coracle_scheduler::{Config, run};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn node(name: &str, cpu: &str, taint: Option<&str>) -> Node {
    let taints: Vec<Value> =
        taint.iter().map(|key| json!({ "key": key, "value": "x", "effect": "NoSchedule" })).collect();
    decode(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name },
        "spec": { "taints": taints },
        "status": { "allocatable": { "cpu": cpu, "memory": "8Gi", "pods": "110" } },
    }))
}

fn pod(name: &str, cpu: &str) -> Pod {
    decode(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "containers": [{ "name": "main", "resources": { "requests": { "cpu": cpu } } }] },
    }))
}

fn decode<K: coracle_api::Object>(value: Value) -> K {
    K::decode(value.to_string().as_bytes()).unwrap()
}

fn nodes_of(server: &FakeServer) -> BTreeMap<String, Option<String>> {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap();
    server.all::<Pod>().iter().map(|pod| (name(pod), pods::node_name(pod).map(str::to_owned))).collect()
}

fn all_bound(server: &FakeServer) -> bool {
    nodes_of(server).values().all(Option::is_some)
}

/// A scheduler that runs while `story` does.
async fn beside<T>(server: &FakeServer, seed: u64, story: impl Future<Output = T>) -> T {
    let shutdown = CancellationToken::new();
    let informers = Informers::new(server.client(), shutdown.clone());
    let config = Config { seed, ..Config::default() };
    let scheduler = tokio::spawn(run(config, server.client(), informers.clone(), shutdown.clone()));
    let told = tokio::time::timeout(Duration::from_secs(3600), story).await;
    shutdown.cancel();
    scheduler.await.unwrap().unwrap();
    informers.stopped().await;
    told.unwrap_or_else(|_| panic!("seed {seed}: an hour has passed\n{:#?}", server.all::<Pod>()))
}

#[tokio::test(start_paused = true)]
async fn pods_are_bound_and_told_of() {
    let server = FakeServer::new();
    ["a", "b", "c"].into_iter().for_each(|name| server.put(&node(name, "4", None)));
    (0..9).for_each(|n| server.put(&pod(&format!("web-{n}"), "1")));
    beside(&server, 1, async {
        server.until(all_bound).await;
        server.until(|server| server.all::<Event>().len() == 9).await;
    })
    .await;
    let mut counts = BTreeMap::<_, usize>::new();
    nodes_of(&server).into_values().for_each(|node| *counts.entry(node).or_default() += 1);
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    let event = &server.all::<Event>()[0];
    assert_eq!(event.reason.as_deref(), Some("Scheduled"));
    assert!(event.message.as_deref().unwrap().starts_with("Successfully assigned default/web-"), "{event:?}");
    assert_eq!(event.source.as_ref().unwrap().component.as_deref(), Some("default-scheduler"));
}

#[tokio::test(start_paused = true)]
async fn what_fits_nowhere_says_why_and_goes_when_there_is_room() {
    let server = FakeServer::new();
    server.put(&node("small", "1", None));
    server.put(&node("tainted-1", "8", Some("role")));
    server.put(&node("tainted-2", "8", Some("role")));
    server.put(&pod("web", "2"));
    let message = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {role: x}.";
    beside(&server, 1, async {
        server.until(|server| !server.all::<Event>().is_empty()).await;
        assert_eq!(server.all::<Event>()[0].message.as_deref(), Some(message));
        server.until(|server| pods::condition(&server.all::<Pod>()[0], "PodScheduled").is_some()).await;
        let pod = server.one::<Pod>("default", "web").unwrap();
        let condition = pods::condition(&pod, "PodScheduled").unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("Unschedulable")));
        assert_eq!(condition.message.as_deref(), Some(message));
        // Its own condition is no reason to try again, nor is a node that does not help.
        let before = server.requests().len();
        server.put(&node("another", "1", None));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(server.requests()[before..], [""; 0]);
        server.put(&node("large", "4", None));
        server.until(all_bound).await;
    })
    .await;
    assert_eq!(nodes_of(&server)["web"].as_deref(), Some("large"));
}

#[tokio::test(start_paused = true)]
async fn pods_of_others_and_gated_pods_are_left_alone() {
    let server = FakeServer::new();
    server.put(&node("a", "4", None));
    let mut other = pod("other", "1");
    other.spec.as_mut().unwrap().scheduler_name = Some("custom".into());
    server.put(&other);
    let gated = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "gated", "namespace": "default" },
        "spec": { "schedulingGates": [{ "name": "wait" }], "containers": [{ "name": "main" }] },
    });
    server.put(&decode::<Pod>(gated));
    server.put(&pod("ours", "1"));
    beside(&server, 1, async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(nodes_of(&server).into_values().collect::<Vec<_>>(), [None, None, Some("a".into())]);
        server.put(&pod("gated", "1"));
        server.until(|server| nodes_of(server)["gated"].is_some()).await;
    })
    .await;
}

#[test]
fn never_more_than_there_is_whatever_happens_to_requests() {
    for seed in 0..12 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(churn(seed));
    }
}

/// Pods come and go while the server loses, delays and breaks; in the end all that are left have room.
async fn churn(seed: u64) {
    let (server, mut random) = (FakeServer::seeded(seed), Random::new(seed));
    ["a", "b", "c"].into_iter().for_each(|name| server.put(&node(name, "4", None)));
    let faults = Faults {
        lost: 0.1,
        broken: 0.1,
        gone: 0.05,
        delay_max: Duration::from_millis(300),
        events_per_watch: Some(20),
        ..Faults::default()
    };
    beside(&server, seed, async {
        server.set_faults(faults);
        for n in 0..80 {
            server.put(&pod(&format!("pod-{n}"), "900m"));
            if random.chance(0.9) {
                server.remove::<Pod>("default", &format!("pod-{}", random.below(n + 1)));
            }
            check(&server, seed);
            tokio::time::sleep(Duration::from_millis(random.below(500))).await;
        }
        server.set_faults(Faults::default());
        while server.all::<Pod>().len() > 12 {
            let first = server.all::<Pod>()[0].metadata.name.clone().unwrap();
            server.remove::<Pod>("default", &first);
        }
        server
            .until(|server| {
                check(server, seed);
                all_bound(server)
            })
            .await;
    })
    .await;
}

fn check(server: &FakeServer, seed: u64) {
    let mut used_milli = BTreeMap::<String, i64>::new();
    for pod in server.all::<Pod>() {
        let Some(node) = pods::node_name(&pod) else { continue };
        let cpu = pods::requests(pod.spec.as_ref().unwrap()).get("cpu").map_or(0, quantity::Quantity::milli);
        *used_milli.entry(node.into()).or_default() += cpu;
    }
    assert!(used_milli.values().all(|used| *used <= 4000), "seed {seed}: {used_milli:?}");
}
