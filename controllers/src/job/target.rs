//! What a job asks for, as one exact value.

use coracle_api::selector::LabelSelector;
use coracle_client::Key;
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, PodFailurePolicy, SuccessPolicy};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pod::{self, Phase};

/// The value of `managedBy` that means this controller.
const THIS_CONTROLLER: &str = "kubernetes.io/job-controller";

/// An annotation and a label of an indexed job's pod: which of the completions it is for.
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// One job: what it asks for.
#[derive(Debug)]
pub struct Target<'a> {
    pub job: &'a Job,
    pub selector: LabelSelector,
    pub parallelism: usize,
    /// How many pods have to succeed; `None`: one, and the others end by themselves.
    pub completions: Option<usize>,
    /// Where each completion has an index: how many there are.
    pub indexes: Option<usize>,
    /// How many failures are one too few to give up.
    pub backoff_limit: usize,
    /// Where each index has its own limit.
    pub index_limits: Option<IndexLimits>,
    pub active_deadline: Option<SignedDuration>,
    pub is_suspended: bool,
    /// A pod that is going is replaced only once it has ended, and has failed only if it says so.
    pub replaces_failed_only: bool,
    pub failure_policy: Option<&'a PodFailurePolicy>,
    pub success_policy: Option<&'a SuccessPolicy>,
    /// Containers that fail are started again in their pods, and that counts as a failure.
    pub restarts_containers: bool,
}

/// How often each index may fail, and how many may have failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexLimits {
    pub backoff_limit: usize,
    pub failed_max: Option<usize>,
}

impl<'a> Target<'a> {
    /// Reads a job; `None` when it says nothing that could be acted on (an invalid selector, a mode of completion that
    /// is not known), which the API server does not let through.
    pub fn of(job: &'a Job) -> Option<Self> {
        let spec = job.spec.as_ref()?;
        let completions = spec.completions.map(|completions| count(Some(completions)));
        let indexes = match spec.completion_mode.as_deref() {
            None | Some("NonIndexed") => None,
            Some("Indexed") => Some(completions?),
            Some(_) => return None,
        };
        let limits = |limit| IndexLimits {
            backoff_limit: count(Some(limit)),
            failed_max: spec.max_failed_indexes.map(|max| count(Some(max))),
        };
        Some(Self {
            job,
            selector: LabelSelector::of_typed(spec.selector.as_ref()).ok()?,
            parallelism: spec.parallelism.map_or(1, |parallelism| count(Some(parallelism))),
            completions,
            indexes,
            backoff_limit: spec.backoff_limit.map_or(6, |limit| count(Some(limit))),
            index_limits: indexes.and(spec.backoff_limit_per_index).map(limits),
            active_deadline: spec.active_deadline_seconds.map(SignedDuration::from_secs),
            is_suspended: spec.suspend == Some(true),
            replaces_failed_only: spec.pod_replacement_policy.as_deref() == Some("Failed")
                || spec.pod_failure_policy.is_some(),
            failure_policy: spec.pod_failure_policy.as_ref(),
            success_policy: spec.success_policy.as_ref(),
            restarts_containers: restart_policy(spec) == Some("OnFailure"),
        })
    }

    pub fn meta(&self) -> &'a ObjectMeta {
        &self.job.metadata
    }

    pub fn key(&self) -> Key {
        Key::of_meta(self.meta())
    }

    pub fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// What it last said.
    pub fn status(&self) -> JobStatus {
        self.job.status.clone().unwrap_or_default()
    }

    /// The completion index of a pod, if it is one that the job has.
    pub fn index_of(&self, pod: &Pod) -> Option<usize> {
        index_of(pod).filter(|index| self.indexes.is_some_and(|indexes| *index < indexes))
    }

    /// Whether a pod can count: in an indexed job only one with an index of it can.
    pub fn counts(&self, pod: &Pod) -> bool {
        self.indexes.is_none() || self.index_of(pod).is_some()
    }

    /// Whether a pod has failed. One that is going counts as failed, as it may never come to say so, unless the job
    /// waits for that.
    ///
    /// Source: `isPodFailed`.
    pub fn is_failed(&self, pod: &Pod) -> bool {
        match pod::phase(pod) {
            Phase::Failed => true,
            Phase::Succeeded => false,
            _ => !self.replaces_failed_only && pod::is_deleting(pod),
        }
    }
}

fn restart_policy(spec: &JobSpec) -> Option<&str> {
    spec.template.spec.as_ref()?.restart_policy.as_deref()
}

/// Pods are counted in `usize` here and in `i32` in the API.
pub fn count(number: Option<i32>) -> usize {
    usize::try_from(number.unwrap_or_default()).unwrap_or_default()
}

/// The completion index that a pod says it is for.
pub fn index_of(pod: &Pod) -> Option<usize> {
    pod.metadata.annotations.as_ref()?.get(COMPLETION_INDEX)?.parse().ok()
}

/// Whether another controller works on the job.
pub fn is_managed_elsewhere(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_some_and(|manager| manager != THIS_CONTROLLER)
}

/// Whether the job has come to its end, either way.
pub fn is_finished(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_end = |kind: &str| kind == "Complete" || kind == "Failed";
    conditions.into_iter().flatten().any(|condition| is_end(&condition.type_) && condition.status == "True")
}
