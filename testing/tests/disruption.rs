//! Evictions under a budget, as a node's draining makes them: refused while too few would be left, let through again once
//! what was evicted has been replaced.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_testing::k8s_openapi::api::apps::v1::Deployment;
use coracle_testing::k8s_openapi::api::batch::v1::Job;
use coracle_testing::k8s_openapi::api::core::v1::Pod;
use coracle_testing::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use coracle_testing::kube::api::{Api, EvictParams, ListParams, Patch, PatchParams, PostParams};
use coracle_testing::kube::runtime::wait::await_condition;
use coracle_testing::kube::runtime::{WatchStreamExt, watcher};
use coracle_testing::kube::{Error, ResourceExt};
use coracle_testing::{Cluster, Outcome};
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Test = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take on a slow machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn object<K: DeserializeOwned>(json: Value) -> K {
    serde_json::from_value(json).expect("an object of this kind")
}

fn deployment(replicas: i32) -> Deployment {
    object(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "app:v1"}]},
            },
        },
    }))
}

fn budget(rule: Value) -> PodDisruptionBudget {
    let mut spec = json!({"selector": {"matchLabels": {"app": "web"}}});
    spec.as_object_mut().expect("an object").extend(rule.as_object().expect("an object").clone());
    object(json!({"metadata": {"name": "web"}, "spec": spec}))
}

/// Waits until the budget says `healthy/desired of expected: allowed reason`.
async fn until_told(budgets: &Api<PodDisruptionBudget>, wanted: &str) {
    let says = |budget: Option<&PodDisruptionBudget>| {
        budget.and_then(|budget| {
            let status = budget.status.as_ref()?;
            let reason = &status.conditions.as_ref()?.first()?.reason;
            let number = |number: Option<i32>| number.unwrap_or_default();
            let is_seen = status.observed_generation == budget.metadata.generation;
            is_seen.then(|| {
                format!(
                    "{}/{} of {}: {} {reason}",
                    number(status.current_healthy),
                    number(status.desired_healthy),
                    number(status.expected_pods),
                    number(status.disruptions_allowed)
                )
            })
        })
    };
    let is_told = |budget: Option<&PodDisruptionBudget>| says(budget).as_deref() == Some(wanted);
    if tokio::time::timeout(DEADLINE, await_condition(budgets.clone(), "web", is_told)).await.is_err() {
        let last = budgets.get_opt("web").await.expect("the server answers");
        panic!("wanted {wanted}, the last is {last:?}");
    }
}

fn refused(result: Result<impl std::fmt::Debug, Error>) -> (u16, String) {
    match result {
        Err(Error::Api(status)) => (status.code, status.message.clone()),
        other => panic!("it is let through: {other:?}"),
    }
}

#[tokio::test]
async fn a_budget_lets_one_pod_go_at_a_time() -> Test {
    // What replaces an evicted pod is not ready until the test says so.
    let taken = AtomicUsize::new(0);
    let outcome =
        move |_: &Pod| if taken.fetch_add(1, Ordering::SeqCst) < 2 { Outcome::Runs } else { Outcome::Unready };
    let cluster = Cluster::builder().controllers().scheduler().nodes(2).pods(outcome).start().await?;
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let budgets: Api<PodDisruptionBudget> = Api::default_namespaced(cluster.client());
    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client());
    deployments.create(&PostParams::default(), &deployment(2)).await?;
    budgets.create(&PostParams::default(), &budget(json!({"maxUnavailable": "30%"}))).await?;
    until_told(&budgets, "2/1 of 2: 1 SufficientPods").await;

    let first: Vec<String> = pods.list(&ListParams::default()).await?.items.iter().map(Pod::name_any).collect();
    pods.evict(&first[0], &EvictParams::default()).await?;
    let (code, message) = refused(pods.evict(&first[1], &EvictParams::default()).await);
    assert_eq!((code, message.contains("disruption budget")), (429, true), "{message}");
    until_told(&budgets, "1/1 of 2: 0 InsufficientPods").await;
    assert_eq!(refused(pods.evict(&first[1], &EvictParams::default()).await).0, 429);

    let replacement = running_beside(&pods, &first).await;
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status(&replacement, &PatchParams::default(), &Patch::Strategic(ready)).await?;
    until_told(&budgets, "2/1 of 2: 1 SufficientPods").await;
    pods.evict(&first[1], &EvictParams::default()).await?;
    Ok(cluster.stop().await?)
}

/// Waits for a running pod that is none of `known`.
async fn running_beside(pods: &Api<Pod>, known: &[String]) -> String {
    let found = watcher(pods.clone(), watcher::Config::default()).applied_objects().try_filter(|pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        std::future::ready(phase == Some("Running") && !known.contains(&pod.name_any()))
    });
    let found = tokio::time::timeout(DEADLINE, std::pin::pin!(found).try_next()).await;
    found.expect("it runs in time").expect("the server answers").expect("the watch does not end").name_any()
}

#[tokio::test]
async fn a_share_of_what_nobody_scales_allows_nothing() -> Test {
    let cluster = Cluster::builder().controllers().start().await?;
    // Its pod is made for it.
    let job: Job = object(json!({"metadata": {"name": "j"}, "spec": {"template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "app:v1"}]},
    }}}));
    Api::<Job>::default_namespaced(cluster.client()).create(&PostParams::default(), &job).await?;
    let budgets: Api<PodDisruptionBudget> = Api::default_namespaced(cluster.client());
    budgets.create(&PostParams::default(), &budget(json!({"minAvailable": "50%"}))).await?;
    let told = |budget: Option<&PodDisruptionBudget>| {
        let condition = budget.and_then(|budget| budget.status.as_ref()?.conditions.as_ref()?.first());
        condition.is_some_and(|own| {
            own.reason == "SyncFailed" && own.message.contains("jobs.batch does not implement the scale subresource")
        })
    };
    let failed = tokio::time::timeout(DEADLINE, await_condition(budgets, "web", told)).await;
    failed.expect("it is said in time").expect("the server answers");
    Ok(cluster.stop().await?)
}
