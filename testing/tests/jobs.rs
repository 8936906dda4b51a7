//! Jobs on nodes that pretend: how they run, and each way in which they end.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_testing::k8s_openapi::api::batch::v1::{Job, JobStatus};
use coracle_testing::k8s_openapi::api::core::v1::{Event, Pod};
use coracle_testing::kube::ResourceExt;
use coracle_testing::kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use coracle_testing::kube::runtime::wait::{await_condition, conditions};
use coracle_testing::{Cluster, Outcome};
use serde_json::{Value, json};

type Test = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take on a slow machine.
const DEADLINE: Duration = Duration::from_secs(30);

const INDEX: &str = "batch.kubernetes.io/job-completion-index";

fn job(name: &str, spec: Value) -> Job {
    let mut job = json!({
        "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "app:v1"}],
        }}},
    });
    job["spec"].as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    serde_json::from_value(job).expect("a job")
}

struct World {
    cluster: Cluster,
    jobs: Api<Job>,
    pods: Api<Pod>,
}

impl World {
    async fn start(outcome: impl Fn(&Pod) -> Outcome + Send + Sync + 'static) -> Result<Self, coracle_testing::Error> {
        let cluster = Cluster::builder().controllers().scheduler().nodes(2).pods(outcome).start().await?;
        let (jobs, pods) = (Api::default_namespaced(cluster.client()), Api::default_namespaced(cluster.client()));
        Ok(Self { cluster, jobs, pods })
    }

    async fn create(&self, name: &str, spec: Value) -> Result<Job, coracle_testing::kube::Error> {
        self.jobs.create(&PostParams::default(), &job(name, spec)).await
    }

    async fn until(&self, name: &str, holds: impl Fn(&JobStatus) -> bool + Send + Sync) -> JobStatus {
        let condition = |job: Option<&Job>| job.and_then(|job| job.status.as_ref()).is_some_and(&holds);
        let found = tokio::time::timeout(DEADLINE, await_condition(self.jobs.clone(), name, condition)).await;
        let Ok(found) = found else { panic!("{name} is {:?}", self.jobs.get(name).await.map(|job| job.status)) };
        found.expect("the server answers").and_then(|job| job.status).expect("it has a status")
    }

    async fn until_gone(&self, job: &Job) -> Test {
        let (name, uid) = (job.name_any(), job.uid().ok_or("a uid")?);
        let gone = await_condition(self.jobs.clone(), &name, conditions::is_deleted(&uid));
        tokio::time::timeout(DEADLINE, gone).await??;
        Ok(())
    }

    async fn pods_of(&self, name: &str) -> Vec<Pod> {
        let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={name}"));
        self.pods.list(&of_job).await.expect("the server answers").items
    }
}

/// `reason` of the condition `kind`, if it holds.
fn holds(status: &JobStatus, kind: &str) -> Option<String> {
    let condition = status.conditions.iter().flatten().find(|it| it.type_ == kind && it.status == "True")?;
    Some(condition.reason.clone().unwrap_or_default())
}

fn is_over(status: &JobStatus) -> bool {
    holds(status, "Complete").or(holds(status, "Failed")).is_some()
}

fn index_of(pod: &Pod) -> Option<String> {
    pod.annotations().get(INDEX).cloned()
}

#[tokio::test]
async fn a_job_runs_as_many_pods_as_are_to_succeed() -> Test {
    let world = World::start(Outcome::of).await?;
    world.create("many", json!({"completions": 150, "parallelism": 30})).await?;
    let status = world.until("many", is_over).await;
    assert_eq!(holds(&status, "SuccessCriteriaMet").as_deref(), Some("CompletionsReached"));
    assert_eq!(holds(&status, "Complete").as_deref(), Some("CompletionsReached"));
    let counts = (status.succeeded, status.failed, status.active, status.ready, status.terminating);
    assert_eq!(counts, (Some(150), None, None, Some(0), Some(0)));
    assert!(status.start_time.is_some() && status.completion_time.is_some());
    let pods = world.pods_of("many").await;
    assert_eq!(pods.len(), 150, "not one too many");
    let phases: BTreeSet<_> = pods.iter().filter_map(|pod| pod.status.as_ref()?.phase.as_deref()).collect();
    assert_eq!(phases, BTreeSet::from(["Succeeded"]));
    assert!(pods.iter().all(|pod| pod.finalizers().is_empty()), "each is counted");
    Ok(world.cluster.stop().await?)
}

#[tokio::test]
async fn each_index_is_a_pod_of_its_own() -> Test {
    let world = World::start(Outcome::of).await?;
    world.create("indexed", json!({"completions": 12, "parallelism": 5, "completionMode": "Indexed"})).await?;
    let status = world.until("indexed", is_over).await;
    assert_eq!((status.succeeded, status.completed_indexes.as_deref()), (Some(12), Some("0-11")));
    let pods = world.pods_of("indexed").await;
    assert_eq!(pods.len(), 12);
    for pod in &pods {
        let index = index_of(pod).ok_or("an index")?;
        assert_eq!(pod.labels().get(INDEX), Some(&index));
        assert!(pod.name_any().starts_with(&format!("indexed-{index}-")), "{}", pod.name_any());
        let hostname = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
        assert_eq!(hostname, Some(format!("indexed-{index}")));
    }
    let events: Api<Event> = Api::default_namespaced(world.cluster.client());
    let completed = ListParams::default().fields("involvedObject.name=indexed,reason=Completed");
    let told = tokio::time::timeout(DEADLINE, async {
        while events.list(&completed).await.expect("the server answers").items.is_empty() {
            tokio::task::yield_now().await;
        }
    });
    told.await?;
    Ok(world.cluster.stop().await?)
}

#[tokio::test]
async fn jobs_fail_for_the_reason_that_they_say() -> Test {
    let outcome = |pod: &Pod| match index_of(pod).as_deref() {
        Some("1") => Outcome::Fails,
        Some(_) => Outcome::Succeeds,
        None if pod.labels().contains_key("runs") => Outcome::Runs,
        None => Outcome::Fails,
    };
    let world = World::start(outcome).await?;
    let indexed = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed", "backoffLimitPerIndex": 0});
    let mut bounded = indexed.clone();
    bounded["maxFailedIndexes"] = json!(0);
    let policy = |action: &str| {
        json!({"backoffLimit": 0, "podFailurePolicy": {"rules": [
            {"action": action, "onExitCodes": {"operator": "In", "values": [1]}},
        ]}})
    };
    let runs = json!({"metadata": {"labels": {"runs": ""}}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "app:v1"}],
    }});
    let restarts = json!({"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main", "image": "app:v1"}]}});
    for (name, spec, reason, failed) in [
        ("limit", json!({"backoffLimit": 0}), "BackoffLimitExceeded", 1),
        ("restarts", json!({"backoffLimit": 1, "template": restarts}), "BackoffLimitExceeded", 1),
        ("deadline", json!({"parallelism": 2, "activeDeadlineSeconds": 1, "template": runs}), "DeadlineExceeded", 2),
        ("policy", policy("FailJob"), "PodFailurePolicy", 1),
        ("counted", policy("Count"), "BackoffLimitExceeded", 1),
        ("indexes", indexed, "FailedIndexes", 1),
        ("bounded", bounded, "MaxFailedIndexesExceeded", 1),
    ] {
        world.create(name, spec).await?;
        let status = world.until(name, is_over).await;
        assert_eq!(holds(&status, "Failed").as_deref(), Some(reason), "{name}");
        assert_eq!(holds(&status, "FailureTarget").as_deref(), Some(reason), "{name}");
        assert_eq!((status.active, status.terminating), (None, Some(0)), "{name}");
        let failed_indexes = ["indexes", "bounded"].contains(&name).then_some("1");
        assert_eq!(status.failed_indexes.as_deref(), failed_indexes, "{name}");
        // An index that still ran when the job was ended has failed with it.
        assert!(
            status.failed.is_some_and(|count| count == failed || name == "bounded" && count > failed),
            "{status:?}"
        );
        assert!(world.pods_of(name).await.iter().all(|pod| pod.finalizers().is_empty()), "{name}");
    }
    Ok(world.cluster.stop().await?)
}

#[tokio::test]
async fn a_success_policy_ends_what_is_not_needed() -> Test {
    let outcome = |pod: &Pod| if index_of(pod).as_deref() == Some("2") { Outcome::Succeeds } else { Outcome::Runs };
    let world = World::start(outcome).await?;
    let spec = json!({
        "completions": 4, "parallelism": 4, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "2"}]},
    });
    world.create("leader", spec).await?;
    let status = world.until("leader", is_over).await;
    assert_eq!(holds(&status, "Complete").as_deref(), Some("SuccessPolicy"));
    assert_eq!((status.succeeded, status.completed_indexes.as_deref()), (Some(1), Some("2")));
    assert_eq!(world.pods_of("leader").await.len(), 1);
    Ok(world.cluster.stop().await?)
}

#[tokio::test]
async fn a_suspended_job_has_no_pods_until_it_goes_on() -> Test {
    let world = World::start(|_: &Pod| Outcome::Runs).await?;
    world.create("pauses", json!({"parallelism": 3, "completions": 3, "suspend": true})).await?;
    let suspended = |status: &JobStatus| holds(status, "Suspended").is_some() && status.active.is_none();
    let status = world.until("pauses", suspended).await;
    assert_eq!(status.start_time, None);
    let set = |suspend: bool| Patch::Merge(json!({"spec": {"suspend": suspend}}));
    world.jobs.patch("pauses", &PatchParams::default(), &set(false)).await?;
    let running = |status: &JobStatus| status.active == Some(3) && status.ready == Some(3);
    let status = world.until("pauses", running).await;
    assert!(holds(&status, "Suspended").is_none() && status.start_time.is_some());
    world.jobs.patch("pauses", &PatchParams::default(), &set(true)).await?;
    let status = world.until("pauses", |status| suspended(status) && status.terminating == Some(0)).await;
    assert_eq!((status.succeeded, status.failed), (None, None), "what is taken away does not count");
    assert!(world.pods_of("pauses").await.is_empty());
    Ok(world.cluster.stop().await?)
}

#[tokio::test]
async fn pods_go_with_their_job_and_jobs_with_their_time() -> Test {
    let world = World::start(|pod: &Pod| match pod.labels().get("batch.kubernetes.io/job-name") {
        Some(name) if name == "runs" => Outcome::Runs,
        _ => Outcome::Succeeds,
    })
    .await?;
    let brief = world.create("brief", json!({"ttlSecondsAfterFinished": 0})).await?;
    world.until_gone(&brief).await?;
    assert!(world.pods_of("brief").await.is_empty(), "it goes last");

    let runs = world.create("runs", json!({"parallelism": 2, "completions": 2})).await?;
    world.until("runs", |status| status.ready == Some(2)).await;
    world.jobs.delete("runs", &DeleteParams::foreground()).await?;
    world.until_gone(&runs).await?;
    assert!(world.pods_of("runs").await.is_empty(), "no finalizer holds them");
    Ok(world.cluster.stop().await?)
}

#[tokio::test]
async fn a_job_takes_the_pods_that_it_selects_and_leaves_other_managers_theirs() -> Test {
    let world = World::start(Outcome::of).await?;
    world.create("theirs", json!({"managedBy": "example.com/other"})).await?;
    let orphan = json!({"metadata": {"name": "orphan", "labels": {"app": "mine"}}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "app:v1"}],
    }});
    let mut orphan: Pod = serde_json::from_value(orphan)?;
    orphan.annotations_mut().insert("testing.coracle.dev/outcome".into(), "succeeds".into());
    world.pods.create(&PostParams::default(), &orphan).await?;
    let spec = json!({
        "manualSelector": true, "selector": {"matchLabels": {"app": "mine"}},
        "template": {"metadata": {"labels": {"app": "mine"}}, "spec": orphan.spec},
    });
    world.create("takes", spec).await?;
    let status = world.until("takes", is_over).await;
    assert_eq!(status.succeeded, Some(1));
    let taken = world.pods.get("orphan").await?;
    assert_eq!((taken.owner_references()[0].name.as_str(), taken.finalizers().len()), ("takes", 0));
    let theirs = world.jobs.get("theirs").await?.status.unwrap_or_default();
    assert_eq!(theirs, JobStatus::default(), "nobody but its manager says anything of it");
    assert!(world.pods_of("theirs").await.is_empty());
    Ok(world.cluster.stop().await?)
}
