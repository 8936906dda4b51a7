//! Custom kinds own and are owned as built-in ones are, and go with their namespace.

use std::time::Duration;

use coracle_testing::Cluster;
use coracle_testing::k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use coracle_testing::kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ObjectMeta, PostParams,
};
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

fn uid_of(meta: &ObjectMeta) -> String {
    meta.uid.clone().unwrap_or_default()
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
        tokio::time::timeout(
            DEADLINE,
            await_condition(widgets.clone(), "third", conditions::is_deleted(&uid_of(&third.metadata))),
        )
        .await??;
        tokio::time::timeout(
            DEADLINE,
            await_condition(maps.clone(), "second", conditions::is_deleted(&uid_of(&second.metadata))),
        )
        .await??;
        tokio::time::timeout(
            DEADLINE,
            await_condition(widgets.clone(), "first", conditions::is_deleted(&uid_of(&first.metadata))),
        )
        .await??;
    }
    let namespace = namespaces.create(&new, &object(json!({"metadata": {"name": "short"}}))).await?;
    let widgets: Api<DynamicObject> = Api::namespaced_with(cluster.client(), "short", &kind);
    let last = widgets.create(&new, &widget("last", json!([]))).await?;
    namespaces.delete("short", &DeleteParams::default()).await?;
    let uid = uid_of(&namespace.metadata);
    tokio::time::timeout(DEADLINE, await_condition(namespaces, "short", conditions::is_deleted(&uid))).await??;
    assert!(last.metadata.uid.is_some() && widgets.get_opt("last").await?.is_none());
    cluster.stop().await?;
    Ok(())
}
