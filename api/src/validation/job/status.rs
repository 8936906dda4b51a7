//! The status of jobs: whoever writes it must tell a story that can be true, and not untell what was told.
//!
//! What was wrong already may stay so: most rules are for what a write changes.

use std::collections::HashSet;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};

use super::{INDEXED, indexes};
use crate::field::{Errors, Path};
use crate::validation::rules::{not_negative, text};

const STATUS: Path<'static> = Path::new("status");

/// Whether a condition of a job holds.
pub(super) fn is_true(job: &Job, type_: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|c| c.type_ == type_ && c.status == "True")
}

/// The ends that a job comes to, by way of the decision for each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    complete: bool,
    failed: bool,
    success_decided: bool,
    failure_decided: bool,
}

impl Ends {
    fn of(job: &Job) -> Self {
        Self {
            complete: is_true(job, "Complete"),
            failed: is_true(job, "Failed"),
            success_decided: is_true(job, "SuccessCriteriaMet"),
            failure_decided: is_true(job, "FailureTarget"),
        }
    }

    fn finished(self) -> bool {
        self.complete || self.failed
    }
}

pub(super) fn check(job: &Job, before: &Job, errors: &mut Errors) {
    let (no_spec, no_status) = (JobSpec::default(), JobStatus::default());
    let spec = job.spec.as_ref().unwrap_or(&no_spec);
    let (new, old) = (job.status.as_ref().unwrap_or(&no_status), before.status.as_ref().unwrap_or(&no_status));
    counts(new, errors);
    conditions(Ends::of(job), Ends::of(before), spec, errors);
    finished(new, old, Ends::of(job).finished(), Ends::of(before).finished(), spec, errors);
    times(new, old, Ends::of(job).complete, Ends::of(before).complete, spec, errors);
    index_sets(new, old, spec, errors);
    let indexed = text(spec.completion_mode.as_ref()) == INDEXED;
    let completions_stay = spec.completions == before.spec.as_ref().and_then(|spec| spec.completions);
    if new.failed.unwrap_or(0) < old.failed.unwrap_or(0) {
        errors.invalid(&STATUS.child("failed"), &new.failed, "cannot decrease the failed counter");
    }
    if (!indexed || completions_stay) && new.succeeded.unwrap_or(0) < old.succeeded.unwrap_or(0) {
        errors.invalid(&STATUS.child("succeeded"), &new.succeeded, "cannot decrease the succeeded counter");
    }
}

fn counts(status: &JobStatus, errors: &mut Errors) {
    for (field, count) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        not_negative(count, &STATUS.child(field), errors);
    }
    let Some(pods) = &status.uncounted_terminated_pods else { return };
    let path = STATUS.child("uncountedTerminatedPods");
    let mut seen = HashSet::new();
    for (field, uids) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
        let list = path.child(field);
        for (i, uid) in uids.iter().flatten().enumerate() {
            if uid.is_empty() {
                errors.invalid(&list.index(i), uid, "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&list.index(i), uid);
            }
        }
    }
}

/// A job comes to one end, once it was decided which, and stays there.
fn conditions(new: Ends, old: Ends, spec: &JobSpec, errors: &mut Errors) {
    let path = STATUS.child("conditions");
    let changed_complete = new.complete != old.complete;
    let changed_failed = new.failed != old.failed;
    for (wrong, rule) in [
        (
            (changed_complete || changed_failed) && new.complete && new.failed,
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            (changed_complete || new.failure_decided != old.failure_decided) && new.complete && new.failure_decided,
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            changed_failed && new.failed && !new.failure_decided,
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            changed_complete && new.complete && !new.success_decided,
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (new.success_decided && new.failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (
            new.success_decided && new.failure_decided,
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
        (
            spec.success_policy.is_some() && new.complete && !new.success_decided,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
        (old.failed && !new.failed, "cannot disable the terminal Failed=True condition"),
        (old.complete && !new.complete, "cannot disable the terminal Complete=True condition"),
        (old.failure_decided && !new.failure_decided, "cannot disable the terminal FailureTarget=True condition"),
        (old.success_decided && !new.success_decided, "cannot disable the SuccessCriteriaMet=True condition"),
        (
            old.complete && !old.success_decided && new.success_decided,
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        ),
    ] {
        if wrong {
            errors.invalid(&path, "", rule);
        }
    }
}

/// A job that is finished has started, and nothing of it runs any more.
fn finished(new: &JobStatus, old: &JobStatus, is: bool, was: bool, spec: &JobSpec, errors: &mut Errors) {
    let changed = is != was;
    let nothing_to_do = spec.suspend == Some(true) && spec.completions == Some(0);
    if is && (changed || new.active != old.active) && new.active.unwrap_or(0) > 0 {
        errors.invalid(&STATUS.child("active"), &new.active, "active>0 is invalid for finished job");
    }
    if is && (changed || new.start_time != old.start_time) && new.start_time.is_none() && !nothing_to_do {
        errors.required(&STATUS.child("startTime"), "startTime is required for finished job");
    }
    let uncounted = new.uncounted_terminated_pods.as_ref();
    let some = |uids: &Option<Vec<String>>| uids.as_ref().is_some_and(|uids| !uids.is_empty());
    if is
        && (changed || new.uncounted_terminated_pods != old.uncounted_terminated_pods)
        && uncounted.is_some_and(|pods| some(&pods.failed) || some(&pods.succeeded))
    {
        let rule = "uncountedTerminatedPods needs to be empty for finished job";
        errors.invalid(&STATUS.child("uncountedTerminatedPods"), &uncounted, rule);
    }
    if is && (changed || new.terminating != old.terminating) && new.terminating.unwrap_or(0) > 0 {
        errors.invalid(&STATUS.child("terminating"), &new.terminating, "terminating>0 is invalid for finished job");
    }
    if (new.ready != old.ready || new.active != old.active) && new.ready.is_some_and(|r| r > new.active.unwrap_or(0)) {
        errors.invalid(&STATUS.child("ready"), &new.ready, "cannot set more ready pods than active");
    }
}

/// A job is complete at a time, which is after it started and stays.
fn times(new: &JobStatus, old: &JobStatus, is: bool, was: bool, spec: &JobSpec, errors: &mut Errors) {
    let path = STATUS.child("completionTime");
    let time = &new.completion_time;
    if is != was || new.completion_time != old.completion_time {
        if time.is_some() && !is {
            let rule = "cannot set completionTime when there is no Complete=True condition";
            errors.invalid(&path, time, rule);
        }
        if time.is_none() && is {
            errors.required(&path, "completionTime is required for Complete jobs");
        }
    }
    let before_start = matches!((&new.start_time, time), (Some(start), Some(end)) if end.0 < start.0);
    if before_start && (new.start_time != old.start_time || new.completion_time != old.completion_time) {
        errors.invalid(&path, time, "completionTime cannot be set before startTime");
    }
    if time.is_some() && old.completion_time.is_some() && *time != old.completion_time {
        errors.invalid(&path, time, "completionTime cannot be mutated");
    }
    if old.start_time.is_some() && old.start_time != new.start_time && spec.suspend != Some(true) {
        errors.required(&STATUS.child("startTime"), "startTime cannot be removed for unsuspended job");
    }
}

/// Which indexes are complete and which have failed: none is both.
fn index_sets(new: &JobStatus, old: &JobStatus, spec: &JobSpec, errors: &mut Errors) {
    let (complete, failed) = (STATUS.child("completedIndexes"), STATUS.child("failedIndexes"));
    let completed = text(new.completed_indexes.as_ref());
    let (changed_completed, changed_failed) =
        (completed != text(old.completed_indexes.as_ref()), new.failed_indexes != old.failed_indexes);
    let parse = |set: &str| indexes::parse(set, spec.completions.unwrap_or(0));
    if changed_completed {
        if let Some(why) = parse(completed).err().filter(|_| spec.completions.is_some()) {
            errors.invalid(&complete, completed, &format!("error parsing completedIndexes: {why}"));
        }
        if !completed.is_empty() && text(spec.completion_mode.as_ref()) != INDEXED {
            let rule = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&complete, completed, rule);
        }
    }
    let Some(failures) = &new.failed_indexes else { return };
    if changed_failed {
        if spec.backoff_limit_per_index.is_none() {
            let rule = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid(&failed, failures, rule);
        } else if let Some(why) = parse(failures).err().filter(|_| spec.completions.is_some()) {
            errors.invalid(&failed, failures, &format!("error parsing failedIndexes: {why}"));
        }
    }
    if (changed_completed || changed_failed)
        && let (Ok(completed), Ok(failures_set)) = (parse(completed), parse(failures))
        && let Some(index) = indexes::common(&completed, &failures_set)
    {
        let rule = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.invalid(&failed, failures, &rule);
    }
}
