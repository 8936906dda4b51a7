//! Custom kinds own and are owned as built-in ones are, and go with their namespace.

use std::time::Duration;

use coracle_testing::Cluster;
use coracle_testing::k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use coracle_testing::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
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

/// What used to go wrong: objects of a kind that is served no more stood in the graph as owners for ever.
#[tokio::test]
async fn kinds_come_and_go_while_owners_are_watched() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::builder().controllers().start().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("y.io", "v1", "Gadget"), "gadgets");
    let gadgets: Api<DynamicObject> = Api::default_namespaced_with(cluster.client(), &kind);
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let new = PostParams::default();
    let gadget = |name: &str| -> DynamicObject {
        object(json!({"apiVersion": "y.io/v1", "kind": "Gadget", "metadata": {"name": name}}))
    };
    // The kind comes, goes, and comes again: each time what its objects own goes with them.
    for round in 0..2 {
        let definition: CustomResourceDefinition = object(json!({
            "metadata": {"name": "gadgets.y.io"},
            "spec": {
                "group": "y.io", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }],
            },
        }));
        let defined = definitions.create(&new, &definition).await?;
        let established = await_condition(definitions.clone(), "gadgets.y.io", conditions::is_crd_established());
        tokio::time::timeout(DEADLINE, established).await??;
        let mut owned = Vec::new();
        for name in ["deleted", "with-its-kind"] {
            let made = gadgets.create(&new, &gadget(name)).await?;
            let reference = owner("y.io/v1", "Gadget", name, made.metadata.uid.as_ref());
            owned.push(maps.create(&new, &map(&format!("{name}-{round}"), reference)).await?);
        }
        gadgets.delete("deleted", &DeleteParams::background()).await?;
        let gone = |map: &ConfigMap| {
            let name = map.metadata.name.clone().unwrap_or_default();
            let uid = uid_of(&map.metadata);
            let maps = maps.clone();
            async move {
                let condition = await_condition(maps, &name, conditions::is_deleted(&uid));
                tokio::time::timeout(DEADLINE, condition).await
            }
        };
        gone(&owned[0]).await??;
        definitions.delete("gadgets.y.io", &DeleteParams::default()).await?;
        gone(&owned[1]).await??;
        let uid = uid_of(&defined.metadata);
        let removed = await_condition(definitions.clone(), "gadgets.y.io", conditions::is_deleted(&uid));
        tokio::time::timeout(DEADLINE, removed).await??;
    }
    cluster.stop().await?;
    Ok(())
}
