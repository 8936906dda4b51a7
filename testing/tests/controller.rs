//! A controller of kube's own runtime on a cluster of ours: it lists, watches, is woken by what it owns, and writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_testing::Cluster;
use coracle_testing::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use coracle_testing::kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use coracle_testing::kube::runtime::controller::{Action, Controller};
use coracle_testing::kube::runtime::wait::{await_condition, conditions};
use coracle_testing::kube::runtime::watcher;
use coracle_testing::kube::{self, Client, Resource, ResourceExt};
use futures::StreamExt;
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(30);

/// Every config map has a secret of its name, with its data.
async fn reconcile(map: Arc<ConfigMap>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced((*client).clone(), &map.namespace().unwrap_or_default());
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(map.name_any()),
            owner_references: map.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        string_data: map.data.clone(),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let data = json!({"stringData": secret.string_data});
            secrets.patch(&map.name_any(), &PatchParams::default(), &Patch::Merge(data)).await?;
        }
        created => drop(created?),
    }
    Ok(Action::await_change())
}

fn run(client: Client) -> impl Future<Output = ()> {
    let which = || watcher::Config::default().labels("copied=yes");
    Controller::new(Api::<ConfigMap>::all(client.clone()), which())
        .owns(Api::<Secret>::all(client.clone()), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(100)), Arc::new(client))
        .for_each(|_| async {})
}

#[tokio::test]
async fn a_controller_of_kubes_runtime_does_its_work() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::builder().controllers().start().await?;
    tokio::spawn(run(cluster.client()));
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let secrets: Api<Secret> = Api::default_namespaced(cluster.client());
    for number in 0..20 {
        let metadata = ObjectMeta {
            name: Some(format!("map-{number}")),
            labels: Some(BTreeMap::from([("copied".to_owned(), "yes".to_owned())])),
            ..ObjectMeta::default()
        };
        let data = Some(BTreeMap::from([("number".to_owned(), number.to_string())]));
        maps.create(&PostParams::default(), &ConfigMap { metadata, data, ..ConfigMap::default() }).await?;
    }
    let holds = |value: &'static str| {
        move |secret: Option<&Secret>| {
            let data = secret.and_then(|secret| secret.data.as_ref()?.get("number"));
            data.is_some_and(|data| data.0 == value.as_bytes())
        }
    };
    let wait = tokio::time::timeout(DEADLINE, await_condition(secrets.clone(), "map-19", holds("19")));
    let first = wait.await??.ok_or("a secret")?;

    // It is woken by its own kind, by what it owns, and the owned goes with its owner.
    maps.patch("map-19", &PatchParams::default(), &Patch::Merge(json!({"data": {"number": "91"}}))).await?;
    tokio::time::timeout(DEADLINE, await_condition(secrets.clone(), "map-19", holds("91"))).await??;
    secrets.delete("map-19", &DeleteParams::default()).await?;
    let again = |secret: Option<&Secret>| holds("91")(secret) && secret.and_then(ResourceExt::uid) != first.uid();
    let again = tokio::time::timeout(DEADLINE, await_condition(secrets.clone(), "map-19", again)).await??;
    let again = again.and_then(|secret| secret.uid()).ok_or("a uid")?;
    maps.delete("map-19", &DeleteParams::default()).await?;
    let gone = await_condition(secrets.clone(), "map-19", conditions::is_deleted(&again));
    tokio::time::timeout(DEADLINE, gone).await??;
    assert_eq!(secrets.list(&ListParams::default()).await?.items.len(), 19);
    Ok(cluster.stop().await?)
}
