//! What a deployment says of itself.
//!
//! Source: upstream's `calculateStatus` and the progress part of its rollout status.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use super::conditions;
use super::draft::Draft;
use super::rollout::{self, Rollout};
use super::target::Target;

const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The reason of a rollout that is over.
pub const AVAILABLE_REASON: &str = "NewReplicaSetAvailable";
const TIMED_OUT_REASON: &str = "ProgressDeadlineExceeded";
const PAUSED_REASON: &str = "DeploymentPaused";

/// Notes that the deployment was paused or resumed: while it is paused, no time is counted against its deadline.
pub fn note_pause(rollout: &mut Rollout<'_>) {
    let reason = conditions::find(&rollout.conditions, PROGRESSING).and_then(|current| current.reason.as_deref());
    if rollout.target.progress_deadline.is_none() || reason == Some(TIMED_OUT_REASON) {
        return;
    }
    match (rollout.target.paused, reason == Some(PAUSED_REASON)) {
        (true, false) => rollout.progress("Unknown", PAUSED_REASON, "Deployment is paused".to_owned()),
        (false, true) => rollout.progress("Unknown", "DeploymentResumed", "Deployment is resumed".to_owned()),
        _ => {}
    }
}

/// The counts, and whether enough is available. The other conditions are the rollout's so far.
pub fn counts(rollout: &Rollout<'_>) -> DeploymentStatus {
    let sum = |count: &dyn Fn(&Draft) -> i32| rollout::sum(rollout.all().map(count));
    let available = sum(&|draft| draft.counts.available);
    let mut conditions = rollout.conditions.clone();
    conditions::set(&mut conditions, availability(rollout, available));
    DeploymentStatus {
        observed_generation: Some(rollout.target.generation),
        replicas: counted(sum(&|draft| draft.counts.actual)),
        updated_replicas: counted(rollout.new.as_ref().map_or(0, |new| new.counts.actual)),
        ready_replicas: counted(sum(&|draft| draft.counts.ready)),
        available_replicas: counted(available),
        unavailable_replicas: counted((rollout.replicas() - available).max(0)),
        terminating_replicas: rollout.all().map(|draft| draft.counts.terminating).sum(),
        collision_count: rollout.target.status().collision_count,
        conditions: Some(conditions),
    }
}

/// Zero is not written, as Kubernetes does not.
fn counted(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

fn availability(rollout: &Rollout<'_>, available: i32) -> DeploymentCondition {
    let (status, reason, message) = if available >= rollout.available_min() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    conditions::new("Available", status, reason, message, rollout.now)
}

/// The counts, and how the rollout goes on: complete, progressing, or stuck for longer than its deadline.
pub fn progress(rollout: &Rollout<'_>) -> DeploymentStatus {
    let mut status = counts(rollout);
    let mut list = status.conditions.take().unwrap_or_default();
    match rollout.target.progress_deadline {
        None => conditions::remove(&mut list, PROGRESSING),
        Some(deadline) => note_progress(rollout, &status, deadline, &mut list),
    }
    match failure(rollout) {
        Some(failure) => conditions::set(&mut list, failure),
        None => conditions::remove(&mut list, REPLICA_FAILURE),
    }
    status.conditions = Some(list);
    status
}

fn note_progress(
    rollout: &Rollout<'_>,
    status: &DeploymentStatus,
    deadline: SignedDuration,
    list: &mut Vec<DeploymentCondition>,
) {
    let current = conditions::find(list, PROGRESSING).cloned();
    let was_complete = current.as_ref().is_some_and(|current| current.reason.as_deref() == Some(AVAILABLE_REASON));
    if was_complete && status.replicas == status.updated_replicas {
        return;
    }
    let subject = match &rollout.new {
        Some(new) => format!("ReplicaSet \"{}\"", new.name),
        None => format!("Deployment \"{}\"", rollout.target.name),
    };
    let condition = |status, reason, what: &str| {
        conditions::new(PROGRESSING, status, reason, format!("{subject} {what}"), rollout.now)
    };
    if is_complete(rollout.target, status) {
        conditions::set(list, condition("True", AVAILABLE_REASON, "has successfully progressed."));
    } else if has_progressed(rollout.target, status) {
        // The time of the last progress has to move, even where nothing else of the condition does.
        let mut progress = condition("True", "ReplicaSetUpdated", "is progressing.");
        if let Some(current) = current.filter(|current| current.status == "True") {
            progress.last_transition_time = current.last_transition_time;
        }
        conditions::remove(list, PROGRESSING);
        list.push(progress);
    } else if current.is_some_and(|current| is_timed_out(&current, deadline, rollout.now)) {
        conditions::set(list, condition("False", TIMED_OUT_REASON, "has timed out progressing."));
    }
}

/// Whether all pods are of the new template, and available.
pub fn is_complete(target: &Target<'_>, status: &DeploymentStatus) -> bool {
    let wanted = counted(target.replicas);
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation.unwrap_or(0) >= target.generation
}

fn has_progressed(target: &Target<'_>, new: &DeploymentStatus) -> bool {
    let old = target.status();
    let count = |count: Option<i32>| count.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(&old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

fn is_timed_out(current: &DeploymentCondition, deadline: SignedDuration, now: Timestamp) -> bool {
    match current.reason.as_deref() {
        Some(AVAILABLE_REASON) => false,
        Some(TIMED_OUT_REASON) => true,
        _ => time_left(current, deadline, now).is_some_and(|left| left < SignedDuration::ZERO),
    }
}

fn time_left(current: &DeploymentCondition, deadline: SignedDuration, now: Timestamp) -> Option<SignedDuration> {
    let last = current.last_update_time.as_ref()?;
    Some(deadline - now.duration_since(last.0))
}

/// When to look again because nothing else might wake us: just after the deadline of an unfinished rollout.
pub fn recheck(rollout: &Rollout<'_>, status: &DeploymentStatus) -> Option<SignedDuration> {
    let deadline = rollout.target.progress_deadline?;
    let current = conditions::find(status.conditions.as_deref().unwrap_or_default(), PROGRESSING)?;
    let over = matches!(current.reason.as_deref(), Some(TIMED_OUT_REASON | PAUSED_REASON));
    if over || is_complete(rollout.target, status) {
        return None;
    }
    let left = time_left(current, deadline, rollout.now)?;
    // Conditions tell whole seconds, so the deadline has passed for sure only a second later.
    Some(left.max(SignedDuration::ZERO) + SignedDuration::from_secs(1))
}

/// Why pods cannot be made: the new set's failure, or else an old one's.
fn failure(rollout: &Rollout<'_>) -> Option<DeploymentCondition> {
    let newest = rollout.new.iter().chain(&rollout.old).find_map(|draft| draft.failure.as_ref())?;
    Some(DeploymentCondition {
        type_: REPLICA_FAILURE.to_owned(),
        status: newest.status.clone(),
        reason: newest.reason.clone(),
        message: newest.message.clone(),
        last_transition_time: newest.last_transition_time.clone(),
        last_update_time: newest.last_transition_time.clone(),
    })
}
