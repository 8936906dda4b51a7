//! What has come of a job's pods so far, and what that means for the job. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::backoff::Backoff;
use super::conditions;
use super::failure_policy::{Ruling, ruling};
use super::indexes::Indexes;
use super::target::{Target, count};
use super::{replacement, success_policy};
use crate::pod::{self, Phase};
use crate::pod_control::uid;

/// The finalizer of a pod that its job has not counted yet. No pod goes, nor is forgotten, before it has been counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// What is known when a job is looked at.
#[derive(Debug)]
pub struct Observed<'a> {
    pub target: Target<'a>,
    /// The pods that the job controls, but for those that have ended and been counted.
    pub pods: Vec<Arc<Pod>>,
    /// Every pod that was made or deleted before has been seen since: the cache can be believed.
    pub is_settled: bool,
    /// The uids of pods whose finalizer has been removed, though the cache may show it.
    pub untracked: HashSet<String>,
    /// The failures before this look.
    pub backoff: Backoff,
    pub now: Timestamp,
}

/// What a job comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub end: End,
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Success,
    Failure,
}

impl End {
    /// The condition that says so while pods are still to be ended and counted.
    pub fn decided(self) -> &'static str {
        match self {
            Self::Success => "SuccessCriteriaMet",
            Self::Failure => "FailureTarget",
        }
    }

    /// The condition of the job that is over.
    pub fn finished(self) -> &'static str {
        match self {
            Self::Success => "Complete",
            Self::Failure => "Failed",
        }
    }
}

/// The pods by what they mean.
#[derive(Debug)]
pub struct Account {
    pub active: Vec<Arc<Pod>>,
    /// How many are going and have not ended.
    pub terminating: usize,
    pub succeeded: usize,
    pub failed: usize,
    /// In an indexed job.
    pub completed_indexes: Indexes,
    /// Where each index has its own limit.
    pub failed_indexes: Option<Indexes>,
    /// By index: the failed pods that wait for their replacements, which are told of the failures.
    pub replaced: replacement::Replaced,
    /// The failures, with those of this look.
    pub backoff: Backoff,
    /// `None` while it goes on; whether it is complete also depends on what is done in this look.
    pub verdict: Option<Verdict>,
    /// When the deadline is.
    pub deadline_in: Option<SignedDuration>,
}

/// Counts. Every pod counts once: as one that has its finalizer and is not among the uncounted, as one of the
/// uncounted, or in the status.
pub fn account(observed: &Observed<'_>) -> Account {
    let (target, status) = (&observed.target, observed.target.status());
    let uncounted = Uncounted::of(&status);
    let ended = |is_new: &dyn Fn(&Pod) -> bool| -> Vec<Arc<Pod>> {
        observed
            .pods
            .iter()
            .filter(|pod| observed.is_tracked(pod) && target.counts(pod) && is_new(pod))
            .cloned()
            .collect()
    };
    let succeeded = ended(&|pod| is_succeeded(pod) && !uncounted.succeeded.contains(uid(pod)));
    let failed = ended(&|pod| target.is_failed(pod) && !uncounted.failed.contains(uid(pod)));
    let counting = failed.iter().filter(|pod| ruling(target.failure_policy, pod) != Ruling::Ignore).count();
    let mut account = Account {
        active: observed.pods.iter().filter(|pod| pod::is_active(pod)).cloned().collect(),
        terminating: observed.pods.iter().filter(|pod| pod::is_deleting(pod) && !pod::is_finished(pod)).count(),
        succeeded: count(status.succeeded) + succeeded.len() + uncounted.succeeded.len(),
        failed: count(status.failed) + counting + uncounted.failed.len(),
        completed_indexes: Indexes::default(),
        failed_indexes: None,
        replaced: replacement::Replaced::default(),
        backoff: observed.backoff.after(&succeeded, &failed),
        verdict: None,
        deadline_in: observed.deadline_in(&status),
    };
    if let Some(completions) = target.indexes {
        account.index(observed, &status, completions);
    }
    account.verdict = account.judge(observed, &status);
    account
}

impl Observed<'_> {
    /// Whether a pod has the finalizer, and has not lost it since the cache was written.
    pub fn is_tracked(&self, pod: &Pod) -> bool {
        has_finalizer(pod) && !self.untracked.contains(uid(pod))
    }

    /// The time that a job was suspended for does not count: it starts anew.
    fn deadline_in(&self, status: &JobStatus) -> Option<SignedDuration> {
        let deadline = self.target.active_deadline.filter(|_| !self.target.is_suspended)?;
        let suspended = conditions::find(status.conditions.as_deref().unwrap_or_default(), "Suspended");
        let was_suspended = suspended.is_some_and(|condition| condition.status == "True");
        let started = status.start_time.as_ref().filter(|_| !was_suspended).map_or(self.now, |time| time.0);
        Some(deadline - self.now.duration_since(started))
    }
}

impl Account {
    fn index(&mut self, observed: &Observed<'_>, status: &JobStatus, completions: usize) {
        let target = &observed.target;
        let tracked = || observed.pods.iter().filter(|pod| observed.is_tracked(pod));
        let parse = |text: Option<&String>| Indexes::parse(text.map_or("", String::as_str), completions);
        let new = tracked().filter(|pod| is_succeeded(pod)).filter_map(|pod| target.index_of(pod)).collect();
        self.completed_indexes = parse(status.completed_indexes.as_ref()).union(&new);
        self.succeeded = self.completed_indexes.count();
        let Some(limits) = target.index_limits else { return };
        let failed_for_good = |pod: &Pod| {
            target.is_failed(pod)
                && match ruling(target.failure_policy, pod) {
                    Ruling::FailIndex => true,
                    Ruling::Ignore => false,
                    Ruling::Count | Ruling::FailJob { .. } => replacement::failures(pod) >= limits.backoff_limit,
                }
        };
        let new = tracked().filter(|pod| failed_for_good(pod)).filter_map(|pod| target.index_of(pod)).collect();
        let failed = parse(status.failed_indexes.as_ref()).union(&new);
        let active: HashSet<usize> = self.active.iter().filter_map(|pod| target.index_of(pod)).collect();
        let is_done =
            |index: usize| self.completed_indexes.contains(index) || failed.contains(index) || active.contains(&index);
        self.replaced = replacement::replaced(tracked().filter(|pod| target.is_failed(pod)), |pod| {
            target.index_of(pod).filter(|index| !is_done(*index))
        });
        self.failed_indexes = Some(failed);
    }

    /// What was decided stays decided; otherwise the first reason to end counts.
    fn judge(&self, observed: &Observed<'_>, status: &JobStatus) -> Option<Verdict> {
        let target = &observed.target;
        let fails = |reason: &str, message: &str| {
            Some(Verdict { end: End::Failure, reason: reason.to_owned(), message: message.to_owned() })
        };
        if let Some(decided) = decided(status.conditions.as_deref().unwrap_or_default()) {
            return Some(decided);
        }
        if let Some(message) = fail_job_message(observed) {
            return fails("PodFailurePolicy", &message);
        }
        if self.failed > target.backoff_limit || restarted_too_often(target, &observed.pods) {
            return fails("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        if self.deadline_in.is_some_and(|left| left <= SignedDuration::ZERO) {
            return fails("DeadlineExceeded", "Job was active longer than specified deadline");
        }
        let completions = target.indexes?;
        if let (Some(limits), Some(failed)) = (target.index_limits, &self.failed_indexes) {
            if limits.failed_max.is_some_and(|max| failed.count() > max) {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                return fails("MaxFailedIndexesExceeded", message);
            }
            if !failed.is_empty() && failed.count() + self.completed_indexes.count() >= completions {
                return fails("FailedIndexes", "Job has failed indexes");
            }
        }
        let rule = success_policy::met(target.success_policy, completions, &self.completed_indexes)?;
        let message = format!("Matched rules at index {rule}");
        Some(Verdict { end: End::Success, reason: "SuccessPolicy".to_owned(), message })
    }
}

/// The uids in the status of pods that ended and are in no counter yet.
struct Uncounted<'a> {
    succeeded: HashSet<&'a str>,
    failed: HashSet<&'a str>,
}

impl<'a> Uncounted<'a> {
    fn of(status: &'a JobStatus) -> Self {
        let set = |uids: Option<&'a Vec<String>>| uids.into_iter().flatten().map(String::as_str).collect();
        let uncounted = status.uncounted_terminated_pods.as_ref();
        Self {
            succeeded: set(uncounted.and_then(|uncounted| uncounted.succeeded.as_ref())),
            failed: set(uncounted.and_then(|uncounted| uncounted.failed.as_ref())),
        }
    }
}

/// Whether the object shows the finalizer.
pub fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

pub fn is_succeeded(pod: &Pod) -> bool {
    pod::phase(pod) == Phase::Succeeded
}

/// The end that the job has been on its way to since an earlier look.
fn decided(conditions: &[JobCondition]) -> Option<Verdict> {
    [End::Success, End::Failure].into_iter().find_map(|end| {
        let condition = conditions::find(conditions, end.decided()).filter(|condition| condition.status == "True")?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Some(Verdict { end, reason: text(&condition.reason), message: text(&condition.message) })
    })
}

fn fail_job_message(observed: &Observed<'_>) -> Option<String> {
    let policy = observed.target.failure_policy?;
    let mut failed = observed.pods.iter().filter(|pod| observed.target.is_failed(pod));
    failed.find_map(|pod| match ruling(Some(policy), pod) {
        Ruling::FailJob { message } => Some(message),
        _ => None,
    })
}

/// Whether the containers of a job that restarts them have been, too often. Each restart is a failure.
///
/// Source: `pastBackoffLimitOnFailure`.
fn restarted_too_often(target: &Target<'_>, pods: &[Arc<Pod>]) -> bool {
    if !target.restarts_containers {
        return false;
    }
    let of = |statuses: &Option<Vec<ContainerStatus>>| -> usize {
        statuses.iter().flatten().map(|status| count(Some(status.restart_count))).sum()
    };
    let alive = pods.iter().filter(|pod| matches!(pod::phase(pod), Phase::Running | Phase::Pending));
    let statuses = alive.filter_map(|pod| pod.status.as_ref());
    let restarts: usize =
        statuses.map(|status| of(&status.init_container_statuses) + of(&status.container_statuses)).sum();
    restarts >= target.backoff_limit.max(1)
}
