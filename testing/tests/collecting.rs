//! Custom kinds own and are owned as built-in ones are, and go with their namespace.

use std::time::Duration;

use coracle_testing::Cluster;
use coracle_testing::k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use coracle_testing::kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use coracle_testing::kube::runtime::wait::{await_condition, conditions};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);

fn object<K: DeserializeOwned>(json: Value) -> K {
    serde_json::from_value(json).expect("an object of this kind")
}

fn widget(name: &str, owners: Value) -> DynamicObject {
    object(json!({
        "apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": name, "ownerReferences": owners},
    }))
}

fn map(name: &str, owners: Value) -> ConfigMap {
    object(json!({"metadata": {"name": name, "ownerReferences": owners}}))
}

fn owner(api_version: &str, kind: &str, name: &str, uid: Option<&String>) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "blockOwnerDeletion": true}])
}

#[tokio::test]
async fn custom_kinds_own_and_are_owned() -> Result<(), Box<dyn std::error::Error>> {
    let definition = object(json!({
        "metadata": {"name": "widgets.x.io"},
        "spec": {
            "group": "x.io", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    }));
    let cluster = Cluster::builder().controllers().crds([definition]).start().await?;
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("x.io", "v1", "Widget"), "widgets");
    let new = PostParams::default();
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    for propagation in [DeleteParams::background(), DeleteParams::foreground()] {
        let widgets: Api<DynamicObject> = Api::default_namespaced_with(cluster.client(), &kind);
        let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
        // A widget owns a config map, which owns another widget.
        let first = widgets.create(&new, &widget("first", json!([]))).await?;
        let uid = first.metadata.uid.as_ref();
        let second = maps.create(&new, &map("second", owner("x.io/v1", "Widget", "first", uid))).await?;
        let uid = second.metadata.uid.as_ref();
        let third = widgets.create(&new, &widget("third", owner("v1", "ConfigMap", "second", uid))).await?;
        widgets.delete("first", &propagation).await?;
        let gone = |meta: &coracle_testing::kube::api::ObjectMeta| {
            conditions::is_deleted(meta.uid.as_deref().unwrap_or_default())
        };
        let third = await_condition(widgets.clone(), "third", gone(&third.metadata));
        tokio::time::timeout(DEADLINE, third).await??;
        let second = await_condition(maps.clone(), "second", gone(&second.metadata));
        tokio::time::timeout(DEADLINE, second).await??;
        let first = await_condition(widgets.clone(), "first", gone(&first.metadata));
        tokio::time::timeout(DEADLINE, first).await??;
    }
    let namespace = namespaces.create(&new, &object(json!({"metadata": {"name": "short"}}))).await?;
    let widgets: Api<DynamicObject> = Api::namespaced_with(cluster.client(), "short", &kind);
    let last = widgets.create(&new, &widget("last", json!([]))).await?;
    namespaces.delete("short", &DeleteParams::default()).await?;
    let uid = namespace.metadata.uid.unwrap_or_default();
    let gone = await_condition(namespaces, "short", conditions::is_deleted(&uid));
    tokio::time::timeout(DEADLINE, gone).await??;
    assert!(last.metadata.uid.is_some() && widgets.get_opt("last").await?.is_none());
    cluster.stop().await?;
    Ok(())
}
