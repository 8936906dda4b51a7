//! What a cluster gives: each part that is asked for, and nothing that is not.

use std::time::Duration;

use coracle_testing::k8s_openapi::api::apps::v1::Deployment;
use coracle_testing::k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use coracle_testing::kube::api::{
    Api, DeleteParams, ListParams, LogParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use coracle_testing::kube::runtime::wait::{await_condition, conditions};
use coracle_testing::kube::{self, Client, Config, ResourceExt, config};
use coracle_testing::{Cluster, Error, Identity, Outcome};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Test = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take on a slow machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn object<K: DeserializeOwned>(json: Value) -> K {
    serde_json::from_value(json).expect("an object of this kind")
}

fn pod(name: &str) -> Pod {
    object(json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "app:v1"}]}}))
}

fn deployment(replicas: i32) -> Deployment {
    let template = json!({
        "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "app:v1"}]},
    });
    let selector = json!({"matchLabels": {"app": "web"}});
    object(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// What can be waited for.
trait Object: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static {}

impl<K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static> Object for K {}

async fn until<K: Object>(api: Api<K>, name: &str, holds: impl Fn(&K) -> bool + Send + Sync) -> K {
    let condition = |found: Option<&K>| found.is_some_and(&holds);
    let found = tokio::time::timeout(DEADLINE, await_condition(api, name, condition)).await;
    found.expect("it is so in time").expect("the server answers").expect("it is there")
}

async fn until_gone<K: Object>(api: Api<K>, object: &K) {
    let (name, uid) = (object.name_any(), object.uid().expect("a served object has a uid"));
    let gone = await_condition(api, &name, conditions::is_deleted(&uid));
    tokio::time::timeout(DEADLINE, gone).await.expect("it goes in time").expect("the server answers");
}

#[tokio::test]
async fn the_api_alone_leaves_everything_as_it_is() -> Test {
    let (cluster, other) = tokio::try_join!(Cluster::start(), Cluster::start())?;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    pods.create(&PostParams::default(), &pod("waits")).await?;
    let created = pods.get("waits").await?;
    assert_eq!(phase(&created), "Pending");
    assert_eq!(created.spec.and_then(|spec| spec.node_name), None);
    let elsewhere: Api<Pod> = Api::all(other.client());
    assert!(elsewhere.list(&ListParams::default()).await?.items.is_empty(), "each has a store of its own");
    assert!(matches!(cluster.kubeconfig(&Identity::admin()), Err(Error::NoSocket)));
    cluster.stop().await?;
    Ok(other.stop().await?)
}

#[tokio::test]
async fn a_whole_cluster_brings_up_what_it_is_told() -> Test {
    let cluster = Cluster::builder().controllers().scheduler().nodes(3).start().await?;
    let nodes: Api<Node> = Api::all(cluster.client());
    assert_eq!(nodes.list(&ListParams::default()).await?.items.len(), 3, "they are there at once");
    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client());
    deployments.create(&PostParams::default(), &deployment(6)).await?;
    let ready = |count: i32| {
        move |it: &Deployment| {
            let status = it.status.clone().unwrap_or_default();
            (status.ready_replicas.unwrap_or(0), status.replicas.unwrap_or(0)) == (count, count)
        }
    };
    until(deployments.clone(), "web", ready(6)).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let all = pods.list(&ListParams::default()).await?.items;
    let addresses: std::collections::BTreeSet<_> =
        all.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.clone()).collect();
    assert_eq!(addresses.len(), 6, "each has an address of its own");

    let fewer = Patch::Merge(json!({"spec": {"replicas": 2}}));
    deployments.patch("web", &PatchParams::default(), &fewer).await?;
    until(deployments.clone(), "web", ready(2)).await;

    // What is owned goes with its owner.
    let one = pods.list(&ListParams::default().fields("status.phase=Running")).await?.items.remove(0);
    deployments.delete("web", &DeleteParams::background()).await?;
    until_gone(pods, &one).await;
    Ok(cluster.stop().await?)
}

#[tokio::test]
async fn pods_become_what_the_test_wants() -> Test {
    let outcome = |pod: &Pod| match pod.name_any().as_str() {
        "crashes" => Outcome::Fails,
        "unready" => Outcome::Unready,
        "mine" => Outcome::Untouched,
        _ => Outcome::Runs,
    };
    let cluster = Cluster::builder().scheduler().nodes(1).pods(outcome).start().await?;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    for name in ["runs", "crashes", "unready", "mine"] {
        pods.create(&PostParams::default(), &pod(name)).await?;
    }
    until(pods.clone(), "runs", |pod| phase(pod) == "Running" && ready(pod)).await;
    let crashed = until(pods.clone(), "crashes", |pod| phase(pod) == "Running").await;
    let statuses = crashed.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let waiting = statuses[0].state.as_ref().and_then(|state| state.waiting.as_ref());
    assert_eq!(waiting.and_then(|waiting| waiting.reason.as_deref()), Some("CrashLoopBackOff"));
    assert!(!ready(&until(pods.clone(), "unready", |pod| phase(pod) == "Running").await));

    // A pod that is left alone is the test's to write of, and goes when it is deleted.
    let bound = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    assert_eq!(phase(&until(pods.clone(), "mine", bound).await), "Pending");
    let failed = Patch::Merge(json!({"status": {"phase": "Failed", "reason": "Evicted"}}));
    let mine = pods.patch_status("mine", &PatchParams::default(), &failed).await?;
    assert_eq!(phase(&mine), "Failed");
    pods.delete("mine", &DeleteParams::default()).await?;
    until_gone(pods.clone(), &mine).await;

    // And they say what they are told to.
    assert_eq!(pods.logs("runs", &LogParams::default()).await?, "");
    cluster.set_log("default", "runs", "main", "hello\n");
    assert_eq!(pods.logs("runs", &LogParams::default()).await?, "hello\n");
    Ok(cluster.stop().await?)
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[tokio::test]
async fn a_namespace_empties_itself_and_goes() -> Test {
    let cluster = Cluster::builder().controllers().start().await?;
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    let team = Namespace { metadata: named("team"), ..Namespace::default() };
    let team = namespaces.create(&PostParams::default(), &team).await?;
    // Its service account is waited for.
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "team");
    pods.create(&PostParams::default(), &pod("early")).await?;
    namespaces.delete("team", &DeleteParams::default()).await?;
    until_gone(namespaces, &team).await;
    Ok(cluster.stop().await?)
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

#[tokio::test]
async fn a_socket_is_for_others() -> Test {
    let cluster = Cluster::builder().socket().start().await?;
    let kubeconfig = config::Kubeconfig::from_yaml(&cluster.kubeconfig(&Identity::admin())?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &config::KubeConfigOptions::default()).await?;
    let outside: Api<ConfigMap> = Api::default_namespaced(Client::try_from(config)?);
    let map = ConfigMap { metadata: named("shared"), ..ConfigMap::default() };
    let written = outside.create(&PostParams::default(), &map).await?;
    let inside: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    assert_eq!(inside.get("shared").await?, written, "both ways lead to one server");
    Ok(cluster.stop().await?)
}

#[tokio::test]
async fn what_is_dropped_has_ended() -> Test {
    let cluster = Cluster::builder().controllers().scheduler().nodes(1).socket().start().await?;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let kubeconfig = config::Kubeconfig::from_yaml(&cluster.kubeconfig(&Identity::admin())?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &config::KubeConfigOptions::default()).await?;
    let address = config.cluster_url.clone();
    drop(cluster);
    let map = ConfigMap { metadata: named("late"), ..ConfigMap::default() };
    let late = tokio::time::timeout(DEADLINE, maps.create(&PostParams::default(), &map)).await?;
    assert!(late.is_err(), "a client that outlives its cluster is told so");
    let port = address.port_u16().unwrap_or_default();
    while std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_hour_takes_no_time_when_the_test_stops_the_clock() -> Test {
    let cluster = Cluster::builder().controllers().scheduler().nodes(2).start().await?;
    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client());
    deployments.create(&PostParams::default(), &deployment(2)).await?;
    let is_ready = |it: &Deployment| it.status.as_ref().and_then(|status| status.ready_replicas) == Some(2);
    until(deployments.clone(), "web", is_ready).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let uids = async || -> Result<Vec<Option<String>>, kube::Error> {
        Ok(pods.list(&ListParams::default()).await?.iter().map(ResourceExt::uid).collect())
    };
    let before = uids().await?;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // The nodes have given their signs of life meanwhile: nothing was evicted.
    assert_eq!(uids().await?, before);
    Ok(cluster.stop().await?)
}
