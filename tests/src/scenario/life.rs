//! Pods: their beginning, their end, and what happens in between.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::world::{World, pods_of};
use crate::{Guests, is_ready};

pub async fn a_deployment_becomes_ready(world: &mut World) -> anyhow::Result<()> {
    world.deployment("hello", &Guests::sample_image("hello")?, 2).await?;
    let pods = world.ready_pods("hello", 2).await?;
    for pod in &pods {
        ensure!(pod["spec"]["nodeName"].is_string() && pod["status"]["podIP"].is_string(), "{pod}");
        ensure!(pod["status"]["phase"] == "Running", "{pod}");
    }
    ensure!(pods[0]["status"]["podIP"] != pods[1]["status"]["podIP"], "each pod has an address of its own");
    let done = |all: &[Value]| all.iter().any(|it| it["status"]["availableReplicas"] == 2);
    world.until("/apis/apps/v1/namespaces/default/deployments", "two available replicas", done).await?;
    world.event(pods[0]["metadata"]["name"].as_str().unwrap_or_default(), "Started").await?;
    Ok(())
}

pub async fn a_deployment_is_scaled_to_fifty_and_to_nothing(world: &mut World) -> anyhow::Result<()> {
    world.deployment("many", &world.guests.waits(), 0).await?;
    world.scale("many", 50).await?;
    world.ready_pods("many", 50).await?;
    world.scale("many", 0).await?;
    world.until(&pods_of("many"), "no pods", <[Value]>::is_empty).await?;
    Ok(())
}

pub async fn a_deleted_pod_is_replaced(world: &mut World) -> anyhow::Result<()> {
    world.deployment("web", &world.guests.waits(), 1).await?;
    let old = world.ready_pods("web", 1).await?[0]["metadata"]["name"].clone();
    let path = format!("/api/v1/namespaces/default/pods/{}", old.as_str().unwrap_or_default());
    world.server.delete(&path, &json!({})).await?;
    let is_new = |pods: &[Value]| pods.len() == 1 && pods[0]["metadata"]["name"] != old && is_ready(&pods[0]);
    world.until(&pods_of("web"), "another pod", is_new).await?;
    Ok(())
}

pub async fn a_pod_that_runs_once_succeeds_or_fails(world: &mut World) -> anyhow::Result<()> {
    let once = json!({"restartPolicy": "Never"});
    world.pod("good", &world.guests.exits(0), once.clone()).await?;
    world.pod("bad", &world.guests.exits(42), once).await?;
    let good = world.pod_until("good", "succeeded", |pod| pod["status"]["phase"] == "Succeeded").await?;
    let bad = world.pod_until("bad", "failed", |pod| pod["status"]["phase"] == "Failed").await?;
    let ended = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    ensure!(ended(&good)["exitCode"] == 0 && ended(&good)["reason"] == "Completed", "{good}");
    ensure!(ended(&bad)["exitCode"] == 42 && ended(&bad)["reason"] == "Error", "{bad}");
    Ok(())
}

pub async fn a_pod_that_crashes_backs_off_and_is_counted(world: &mut World) -> anyhow::Result<()> {
    world.pod("crash", &world.guests.exits(1), json!({})).await?;
    let backs_off = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"].as_i64() >= Some(1) && status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    };
    let pod = world.pod_until("crash", "in CrashLoopBackOff", backs_off).await?;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    ensure!(last["exitCode"] == 1, "the last end is remembered: {pod}");
    world.event("crash", "BackOff").await?;
    Ok(())
}

pub async fn a_pod_that_takes_too_much_memory_is_ended(world: &mut World) -> anyhow::Result<()> {
    let container = json!({"name": "main", "image": world.guests.grows(), "resources": {"limits": {"memory": "8Mi"}}});
    world.pod("greedy", "", json!({"restartPolicy": "Never", "containers": [container]})).await?;
    let pod = world.pod_until("greedy", "failed", |pod| pod["status"]["phase"] == "Failed").await?;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    ensure!(ended["reason"] == "OOMKilled" && ended["exitCode"] == 137, "{ended}");
    Ok(())
}

pub async fn a_pod_that_spins_is_ended_and_delays_nobody(world: &mut World) -> anyhow::Result<()> {
    let container = json!({"name": "main", "image": world.guests.spins(), "resources": {"limits": {"cpu": "100m"}}});
    world.pod("spins", "", json!({"terminationGracePeriodSeconds": 0, "containers": [container]})).await?;
    world.pod_until("spins", "running", is_ready).await?;
    world.pod("beside", &world.guests.waits(), json!({})).await?;
    world.pod_until("beside", "running", is_ready).await?;
    world.server.delete("/api/v1/namespaces/default/pods/spins", &json!({})).await?;
    let gone = |pods: &[Value]| crate::named(pods, "spins").is_none();
    world.until("/api/v1/namespaces/default/pods", "the spinning pod gone", gone).await?;
    Ok(())
}

pub async fn images_that_cannot_run_say_why(world: &mut World) -> anyhow::Result<()> {
    let table = [
        ("missing", world.guests.missing(), "missing.wasm"),
        ("nonsense", world.guests.nonsense(), "not a WebAssembly binary"),
        ("too-much", world.guests.asks_too_much(), "acme.teleport"),
    ];
    for (name, image, why) in table {
        world.pod(name, &image, json!({})).await?;
        let says = |pod: &Value| {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            waiting["message"].as_str().is_some_and(|message| message.contains(why))
        };
        world.pod_until(name, &format!("saying {why}"), says).await?;
        let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{name}");
        let warned = |events: &[Value]| {
            let warns = |event: &Value| {
                event["type"] == "Warning" && event["message"].as_str().is_some_and(|message| message.contains(why))
            };
            events.iter().any(warns)
        };
        world.until(&path, &format!("a warning about {name}"), warned).await?;
    }
    Ok(())
}

pub async fn a_namespace_takes_all_with_it(world: &mut World) -> anyhow::Result<()> {
    world.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "short"}})).await?;
    let metadata = json!({"name": "x", "namespace": "short"});
    world.apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}})).await?;
    let spec =
        json!({"containers": [{"name": "main", "image": world.guests.waits()}], "terminationGracePeriodSeconds": 0});
    world.apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})).await?;
    world.until("/api/v1/namespaces/short/pods", "a ready pod", |pods| pods.iter().any(is_ready)).await?;
    world.server.delete("/api/v1/namespaces/short", &json!({})).await?;
    let gone = |all: &[Value]| crate::named(all, "short").is_none();
    world.until("/api/v1/namespaces", "the namespace gone", gone).await?;
    for collection in ["pods", "configmaps", "serviceaccounts"] {
        let list = world.server.get(&format!("/api/v1/namespaces/short/{collection}")).await?;
        ensure!(list["items"].as_array().is_some_and(Vec::is_empty), "{collection} are left: {list}");
    }
    Ok(())
}
