//! Every scenario in a cluster of this process, reached by a call; and what only such a cluster can show.

use std::time::{Duration, Instant};

use anyhow::ensure;
use coracle_tests::{Cluster, World, is_ready};
use serde_json::Value;

coracle_tests::all_scenarios!(World::in_process());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_are_there_at_once() -> anyhow::Result<()> {
    // Started twice: the first start also pays for what is made once a process.
    Cluster::builder().nodes(3).start().await?.stop().await?;
    let began = Instant::now();
    let world = World::of(Cluster::builder().nodes(3).start().await?)?;
    let all_ready = |nodes: &[Value]| nodes.len() == 3 && nodes.iter().all(is_ready);
    world.until("/api/v1/nodes", "three ready nodes", all_ready).await?;
    let took = began.elapsed();
    ensure!(took < Duration::from_millis(500), "unoptimised and beside other tests, {took:?} is too slow");
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_silent_node_are_replaced_elsewhere() -> anyhow::Result<()> {
    let graces = (Duration::from_millis(1500), Duration::from_millis(100));
    let mut world = World::of(Cluster::builder().nodes(2).impatient(graces.0, graces.1).start().await?)?;
    world
        .until("/api/v1/nodes", "two ready nodes", |nodes| nodes.iter().filter(|it| is_ready(it)).count() == 2)
        .await?;
    world.apply(impatient_deployment()).await?;
    world.ready_pods("web", 4).await?;
    world.cluster().expect("a cluster of this process").stop_node(1).await;
    let silent = |nodes: &[Value]| nodes.iter().any(|it| it["metadata"]["name"] == "node-1" && !is_ready(it));
    world.until("/api/v1/nodes", "node-1 not ready", silent).await?;
    let moved = |pods: &[Value]| {
        let here = |pod: &&Value| pod["spec"]["nodeName"] == "node-0" && is_ready(pod);
        pods.iter().filter(here).count() == 4
    };
    let pods = "/api/v1/namespaces/default/pods?labelSelector=app%3Dweb";
    world.until(pods, "four ready pods on node-0", moved).await?;
    world.stop().await
}

/// Its pods stay on a node that is gone for no time at all.
fn impatient_deployment() -> Value {
    let tolerate = |taint: &str| {
        serde_json::json!({
            "key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0,
        })
    };
    let spec = serde_json::json!({
        "containers": [{"name": "main", "image": "anything"}], "terminationGracePeriodSeconds": 0,
        "tolerations": [tolerate("not-ready"), tolerate("unreachable")],
    });
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    })
}
