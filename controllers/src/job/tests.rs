//! Looks at jobs, in tables: what there is, and what is made, deleted, said and let go.

use std::collections::HashSet;
use std::sync::Arc;

use coracle_api::Object;
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use super::account::{Observed, TRACKING, account};
use super::backoff::Backoff;
use super::replacement::FAILURES;
use super::scale::{Plan, Scale, plan};
use super::target::{COMPLETION_INDEX, Target};
use super::track::{Tracking, UNCOUNTED_MAX, track};
use crate::pod::build::*;
use crate::pod_control::{name, uid};

/// When the looks are.
const NOW: i64 = 1000;

fn job(spec: &str, status: &str) -> Job {
    let json = format!(
        r#"{{"metadata":{{"name":"j","namespace":"default","uid":"uid-j"}},"status":{{{status}}},
            "spec":{{"backoffLimit":6,"template":{{"spec":{{"restartPolicy":"Never","containers":[]}}}}{spec}}}}}"#
    );
    Job::decode(json.as_bytes()).expect("a job")
}

/// Pods are written `name`, `name:phase` or `name:phase:index`; a name that begins with `-` is on its way out, one with
/// `*` is not tracked.
fn pods(list: &[&str]) -> Vec<Arc<Pod>> {
    list.iter().map(|text| Arc::new(a_pod(text))).collect()
}

fn a_pod(text: &str) -> Pod {
    let mut parts = text.split(':');
    let (written, phase, index) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let mut made = pod(written.trim_start_matches(['-', '*']));
    if !written.contains('*') {
        made.metadata.finalizers = Some(vec![TRACKING.to_owned()]);
    }
    if let Some(index) = index {
        made.metadata.annotations = Some([(COMPLETION_INDEX.to_owned(), index.to_owned())].into());
    }
    let made = if written.contains('-') { deleting(made) } else { made };
    match phase {
        Some("Ready") => ready(made, 0),
        Some(phase) => in_phase(made, phase),
        None => made,
    }
}

struct Look {
    plan: Plan,
    tracking: Tracking,
}

fn look(job: &Job, pods: Vec<Arc<Pod>>) -> Look {
    let observed = Observed {
        target: Target::of(job).expect("a target"),
        pods,
        is_settled: true,
        untracked: HashSet::new(),
        backoff: Backoff::default(),
        now: at(NOW),
    };
    let account = account(&observed);
    let plan = plan(&observed, &account);
    let tracking = track(&observed, &account, &plan.scale, true);
    Look { plan, tracking }
}

impl Look {
    /// `+n` or `+indexes` for what is made, `-names` for what is removed, `!names` for what is ended.
    fn scale(&self) -> String {
        let names = |pods: &[Arc<Pod>]| {
            let mut names: Vec<_> = pods.iter().map(|pod| name(pod)).collect();
            names.sort_unstable();
            names.join(",")
        };
        match &self.plan.scale {
            Scale::Keep => String::new(),
            Scale::Create(indexes) if indexes.iter().all(Option::is_none) => format!("+{}", indexes.len()),
            Scale::Create(indexes) => {
                let indexes: Vec<_> = indexes.iter().flatten().map(ToString::to_string).collect();
                format!("+{}", indexes.join(","))
            }
            Scale::Remove(pods) => format!("-{}", names(pods)),
            Scale::End(pods) => format!("!{}", names(pods)),
        }
    }

    fn untracked(&self) -> Vec<&str> {
        self.tracking.untrack.iter().map(|pod| name(pod)).collect()
    }

    fn uncounted(&self) -> (usize, usize) {
        let uncounted = self.tracking.status.uncounted_terminated_pods.clone().unwrap_or_default();
        (uncounted.succeeded.unwrap_or_default().len(), uncounted.failed.unwrap_or_default().len())
    }

    /// The status once all that may lose their finalizers have, if the job is over then.
    fn finished(&self) -> Option<JobStatus> {
        let untracked = self.tracking.untrack.iter().map(|pod| uid(pod).to_owned()).collect();
        self.tracking.finish(&untracked, at(NOW))
    }
}

fn conditions(status: &JobStatus) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let all = status.conditions.iter().flatten();
    all.map(|it| format!("{}={} {}", it.type_, it.status, text(&it.reason))).collect::<Vec<_>>().join("; ")
}

#[test]
fn as_many_pods_run_as_are_wanted() {
    let indexed = r#","completions":5,"completionMode":"Indexed","parallelism":3"#;
    for (spec, status, has, scale) in [
        (r#","completions":5,"parallelism":3"#, "", &[][..], "+3"),
        (r#","completions":5,"parallelism":3"#, r#""succeeded":4"#, &[], "+1"),
        (r#","completions":5,"parallelism":3"#, r#""succeeded":2"#, &["a:Succeeded", "b"], "+1"),
        (r#","completions":5,"parallelism":3"#, "", &["a", "-b", "c"], "+1"),
        (r#","completions":2000,"parallelism":2000"#, "", &[], "+500"),
        (r#","completions":5,"parallelism":1"#, "", &["a", "b:Ready"], "-a"),
        (r#","completions":5,"parallelism":0"#, "", &["a", "b"], "-a,b"),
        (r#","completions":5,"parallelism":3,"suspend":true"#, "", &["a", "-b"], "-a"),
        // A work queue: the first success ends the making of pods, and nothing else.
        (r#","parallelism":3"#, "", &["a"], "+2"),
        (r#","parallelism":3"#, "", &["a:Succeeded", "b"], ""),
        // A pod that is going is replaced at once, or when it is gone.
        (r#","completions":2,"parallelism":2,"podReplacementPolicy":"Failed""#, "", &["a", "-b"], ""),
        (indexed, "", &[], "+0,1,2"),
        (indexed, r#""completedIndexes":"0,2""#, &["a::1"], "+3,4"),
        (indexed, "", &["a:Succeeded:0", "b::1"], "+2,3"),
        // Each index once, and none that there is not.
        (indexed, "", &["a::1", "b:Ready:1", "c::7", "d"], "-a,c,d"),
        (indexed, "", &["-a::0", "b::1"], "+0,2"),
    ] {
        assert_eq!(look(&job(spec, status), pods(has)).scale(), scale, "{spec} {has:?}");
    }
}

#[test]
fn a_job_comes_to_an_end_for_the_first_reason_there_is() {
    let running = r#""startTime":"2023-11-14T22:13:20Z""#;
    let policy =
        r#","podFailurePolicy":{"rules":[{"action":"FailJob","onPodConditions":[{"type":"Bad","status":"True"}]}]}"#;
    let per_index = r#","completions":3,"completionMode":"Indexed","backoffLimitPerIndex":0"#;
    for (spec, status, has, expected) in [
        (r#","completions":2"#, r#""succeeded":1"#, &["a:Succeeded"][..], "SuccessCriteriaMet=True CompletionsReached"),
        (r#","completions":2"#, r#""succeeded":1"#, &["a"], ""),
        (r#","completions":2"#, r#""succeeded":2"#, &["a"], "SuccessCriteriaMet=True CompletionsReached"),
        (r#","completions":0"#, "", &[], "SuccessCriteriaMet=True CompletionsReached"),
        (r#","backoffLimit":1"#, r#""failed":1"#, &["a:Failed"], "FailureTarget=True BackoffLimitExceeded"),
        (r#","backoffLimit":1"#, "", &["a:Failed"], ""),
        (
            r#","backoffLimit":1"#,
            r#""uncountedTerminatedPods":{"failed":["uid-a","uid-b"]}"#,
            &["a:Failed"],
            "FailureTarget=True BackoffLimitExceeded",
        ),
        (r#","activeDeadlineSeconds":1000"#, running, &["a"], "FailureTarget=True DeadlineExceeded"),
        (r#","activeDeadlineSeconds":1001"#, running, &["a"], ""),
        (per_index, r#""completedIndexes":"0,2""#, &["a:Failed:1"], "FailureTarget=True FailedIndexes"),
        (per_index, r#""completedIndexes":"0""#, &["a:Failed:1", "b::2"], ""),
        (policy, "", &["a:Failed"], ""),
    ] {
        let found = look(&job(spec, status), pods(has));
        assert_eq!(conditions(&found.tracking.status), expected, "{spec} {has:?}");
    }
    let bounded = format!(r#"{per_index},"maxFailedIndexes":0"#);
    let found = look(&job(&bounded, ""), pods(&["a:Failed:1", "b::2"]));
    assert_eq!(conditions(&found.tracking.status), "FailureTarget=True MaxFailedIndexesExceeded");
    assert_eq!((found.scale().as_str(), found.uncounted()), ("!b", (0, 2)), "what runs has failed with it");
}

#[test]
fn restarted_containers_are_failures_where_they_are_restarted() {
    let restarted = |count: i32| {
        vec![Arc::new(with(a_pod("a:Running"), |pod| {
            let statuses = vec![ContainerStatus { restart_count: count, ..ContainerStatus::default() }];
            pod.status.get_or_insert_default().container_statuses = Some(statuses);
        }))]
    };
    for (policy, limit, restarts, fails) in
        [("OnFailure", 2, 1, false), ("OnFailure", 2, 2, true), ("OnFailure", 0, 1, true), ("Never", 0, 5, false)]
    {
        let mut job = job("", "");
        let spec = job.spec.get_or_insert_default();
        spec.backoff_limit = Some(limit);
        spec.template.spec.get_or_insert_default().restart_policy = Some(policy.to_owned());
        let found = look(&job, restarted(restarts));
        assert_eq!(conditions(&found.tracking.status).contains("BackoffLimitExceeded"), fails, "{policy} {limit}");
    }
}

#[test]
fn a_pod_is_counted_in_steps() {
    let spec = r#","completions":9,"parallelism":2"#;
    let first = look(&job(spec, ""), pods(&["a:Succeeded", "b:Failed", "c"]));
    assert_eq!((first.uncounted(), first.untracked()), ((1, 1), vec!["a", "b"]));
    assert_eq!((first.tracking.status.succeeded, first.tracking.status.failed), (None, None));
    let mut after = job(spec, "");
    after.status = Some(first.tracking.status.clone());
    // A cache that is behind changes nothing; one of them has been let go meanwhile.
    let second = look(&after, pods(&["a:Succeeded", "c"]));
    assert_eq!((second.uncounted(), second.untracked()), ((1, 0), vec!["a"]));
    assert_eq!((second.tracking.status.succeeded, second.tracking.status.failed), (None, Some(1)));
    let third = look(&after, pods(&["c"]));
    assert_eq!((third.uncounted(), third.untracked().len()), ((0, 0), 0));
    assert_eq!((third.tracking.status.succeeded, third.tracking.status.failed), (Some(1), Some(1)));
}

#[test]
fn a_status_does_not_grow_without_bound() {
    let names: Vec<String> = (0..2 * UNCOUNTED_MAX).map(|n| format!("p{n:04}:Succeeded")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let job = job(r#","completions":5000,"parallelism":2000"#, "");
    let found = look(&job, pods(&names));
    assert_eq!((found.uncounted(), found.untracked().len()), ((UNCOUNTED_MAX, 0), UNCOUNTED_MAX));
}

#[test]
fn a_job_is_over_once_its_pods_are_counted_and_gone() {
    let limit = r#","completions":3,"parallelism":3,"backoffLimit":0"#;
    let decided = look(&job(limit, ""), pods(&["a:Failed", "b:Ready"]));
    assert_eq!((decided.scale().as_str(), decided.untracked()), ("!b", vec!["a", "b"]));
    assert_eq!((decided.tracking.status.terminating, decided.tracking.status.ready), (Some(1), Some(0)));
    assert_eq!(decided.finished(), None, "one is still going");
    let mut after = job(limit, "");
    after.status = Some(decided.tracking.status.clone());
    assert_eq!(look(&after, pods(&["*-b:Running"])).finished(), None);
    let over = look(&after, pods(&[])).finished().expect("nothing is left");
    let told = "FailureTarget=True BackoffLimitExceeded; Failed=True BackoffLimitExceeded";
    assert_eq!((conditions(&over).as_str(), over.failed, over.completion_time), (told, Some(2), None));
    let complete = look(&job(r#","completions":1"#, ""), pods(&["a:Succeeded"])).finished().expect("it is over");
    assert_eq!((complete.succeeded, complete.completion_time.map(|time| time.0)), (Some(1), Some(at(NOW))));
}

#[test]
fn ignored_failures_do_not_count_and_a_deleted_job_holds_no_pod() {
    let policy = r#","completions":1,"podFailurePolicy":{"rules":[
        {"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget","status":"True"}]}]}"#;
    let disrupted = with(a_pod("a:Failed"), |pod| {
        let condition = k8s_openapi::api::core::v1::PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            ..Default::default()
        };
        pod.status.get_or_insert_default().conditions = Some(vec![condition]);
    });
    let found = look(&job(policy, ""), vec![Arc::new(disrupted)]);
    assert_eq!((found.uncounted(), found.untracked()), ((0, 0), vec!["a"]));
    let mut gone = job(r#","completions":2,"parallelism":2"#, "");
    gone.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let found = look(&gone, pods(&["a", "b:Failed"]));
    assert_eq!((found.scale().as_str(), found.untracked()), ("", vec!["a", "b"]));
}

#[test]
fn suspending_and_going_on_is_said_once_and_restarts_the_deadline() {
    let suspend = r#","completions":2,"suspend":true,"activeDeadlineSeconds":5"#;
    let found = look(&job(suspend, r#""startTime":"2023-11-14T22:13:20Z""#), pods(&[]));
    assert_eq!(conditions(&found.tracking.status), "Suspended=True JobSuspended");
    assert_eq!(found.tracking.turn, Some(("Suspended", "Job suspended")));
    let mut after = job(suspend, "");
    after.status = Some(found.tracking.status);
    assert_eq!(look(&after, pods(&[])).tracking.turn, None);
    after.spec.get_or_insert_default().suspend = Some(false);
    let resumed = look(&after, pods(&[]));
    assert_eq!(conditions(&resumed.tracking.status), "Suspended=False JobResumed");
    assert_eq!(resumed.tracking.status.start_time.map(|time| time.0), Some(at(NOW)));
    assert_eq!(
        (resumed.plan.recheck, resumed.tracking.turn),
        (Some(SignedDuration::from_secs(5)), Some(("Resumed", "Job resumed")))
    );
    assert_eq!(look(&job(r#","completions":2"#, ""), pods(&[])).tracking.turn, None, "it was never suspended");
}

/// A failed pod that ended so long before now.
fn failed_before(text: &str, seconds: i64, failures: &str) -> Arc<Pod> {
    Arc::new(with(a_pod(text), |pod| {
        let finished_at = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(NOW - seconds)));
        let terminated = ContainerStateTerminated { finished_at, exit_code: 1, ..Default::default() };
        let state = Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() });
        let statuses = vec![ContainerStatus { state, ..ContainerStatus::default() }];
        pod.status.get_or_insert_default().container_statuses = Some(statuses);
        if let Some(annotations) = &mut pod.metadata.annotations {
            annotations.insert(FAILURES.to_owned(), failures.to_owned());
        }
    }))
}

#[test]
fn failures_are_waited_after() {
    let job_of = job(r#","completions":5,"parallelism":2"#, "");
    let fresh = look(&job_of, vec![failed_before("a:Failed", 4, "")]);
    assert_eq!((fresh.scale().as_str(), fresh.plan.recheck), ("", Some(SignedDuration::from_secs(6))));
    let old = look(&job_of, vec![failed_before("a:Failed", 11, "")]);
    assert_eq!((old.scale().as_str(), old.plan.recheck), ("+2", None));

    // Each index waits by itself, and its last pod until it is replaced.
    let per_index = job(r#","completions":3,"parallelism":3,"completionMode":"Indexed","backoffLimitPerIndex":5"#, "");
    let found = look(&per_index, vec![failed_before("a:Failed:0", 4, "0"), failed_before("b:Failed:1", 25, "1")]);
    assert_eq!((found.scale().as_str(), found.plan.recheck), ("+1,2", Some(SignedDuration::from_secs(6))));
    assert_eq!((found.untracked().len(), found.uncounted()), (0, (0, 0)));
    let replaced = look(&per_index, [vec![failed_before("a:Failed:0", 4, "0")], pods(&["c::0"])].concat());
    assert_eq!((replaced.untracked(), replaced.uncounted()), (vec!["a"], (0, 1)));
    let for_good = look(&per_index, vec![failed_before("a:Failed:0", 4, "5")]);
    assert_eq!(for_good.tracking.status.failed_indexes.as_deref(), Some("0"));
    assert_eq!((for_good.scale().as_str(), for_good.untracked()), ("+1,2", vec!["a"]));
}

#[test]
fn an_unsettled_cache_makes_and_ends_nothing() {
    for (spec, has) in
        [(r#","completions":3,"parallelism":3"#, &["a:Succeeded"][..]), (r#","backoffLimit":0"#, &["a:Failed", "b"])]
    {
        let job = job(spec, "");
        let observed = Observed {
            target: Target::of(&job).expect("a target"),
            pods: pods(has),
            is_settled: false,
            untracked: HashSet::new(),
            backoff: Backoff::default(),
            now: at(NOW),
        };
        let account = account(&observed);
        let plan = plan(&observed, &account);
        let tracking = track(&observed, &account, &plan.scale, true);
        assert_eq!((plan.scale, conditions(&tracking.status)), (Scale::Keep, String::new()));
        assert_eq!(tracking.untrack.len(), 1, "what has ended is counted all the same");
    }
}
