//! What the server and its controllers keep together: quotas, and claims that are let go.

use std::time::Duration;

use coracle_testing::Cluster;
use coracle_testing::k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, ResourceQuota, Secret};
use coracle_testing::kube::Error;
use coracle_testing::kube::api::{Api, DeleteParams, PostParams};
use coracle_testing::kube::runtime::wait::await_condition;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Test = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take on a slow machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn object<K: DeserializeOwned>(json: Value) -> K {
    serde_json::from_value(json).expect("an object of this kind")
}

fn secret(name: &str) -> Secret {
    object(json!({"metadata": {"name": name}}))
}

async fn until_used(quotas: &Api<ResourceQuota>, wanted: &str) {
    let is_used = |quota: Option<&ResourceQuota>| {
        let used = quota.and_then(|quota| quota.status.as_ref()?.used.as_ref()?.get("count/secrets").cloned());
        used.is_some_and(|used| used.0 == wanted)
    };
    let counted = tokio::time::timeout(DEADLINE, await_condition(quotas.clone(), "q", is_used)).await;
    counted.expect("it is counted in time").expect("the server answers");
}

#[tokio::test]
async fn what_is_deleted_may_be_made_again() -> Test {
    let cluster = Cluster::builder().controllers().start().await?;
    let client = cluster.client();
    let namespace = object::<Namespace>(json!({"metadata": {"name": "n"}}));
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), "n");
    let quota = object(json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/secrets": "1"}}}));
    quotas.create(&PostParams::default(), &quota).await?;
    until_used(&quotas, "0").await;
    let secrets: Api<Secret> = Api::namespaced(client, "n");
    secrets.create(&PostParams::default(), &secret("one")).await?;
    until_used(&quotas, "1").await;
    match secrets.create(&PostParams::default(), &secret("two")).await {
        Err(Error::Api(refused)) => assert_eq!(refused.code, 403, "{refused}"),
        other => panic!("there is room for one alone: {other:?}"),
    }
    secrets.delete("one", &DeleteParams::default()).await?;
    until_used(&quotas, "0").await;
    secrets.create(&PostParams::default(), &secret("two")).await?;
    Ok(cluster.stop().await?)
}

#[tokio::test]
async fn claims_that_nobody_uses_go() -> Test {
    let cluster = Cluster::builder().controllers().start().await?;
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(cluster.client());
    let claim = object(json!({
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }));
    let made = claims.create(&PostParams::default(), &claim).await?;
    assert_eq!(made.metadata.finalizers, Some(vec!["kubernetes.io/pvc-protection".to_owned()]));
    claims.delete("c", &DeleteParams::default()).await?;
    let gone = await_condition(claims, "c", |claim: Option<&PersistentVolumeClaim>| claim.is_none());
    tokio::time::timeout(DEADLINE, gone).await.expect("it goes in time").expect("the server answers");
    Ok(cluster.stop().await?)
}
