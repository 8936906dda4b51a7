//! What a set says about its pods. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::set::{Condition, Set, Status};
use crate::pod::{self, Availability};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// A status, and when it will change by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    pub status: Status,
    /// A ready pod becomes available after this.
    pub recheck: Option<SignedDuration>,
}

/// Counts `active` and `terminating` pods; `failure` is why the last attempt to change their number failed.
pub fn next(set: &Set<'_>, active: &[Arc<Pod>], terminating: usize, failure: Option<&str>, now: Timestamp) -> Next {
    let mut status = Status {
        replicas: count(active.len()),
        terminating: set.reports_terminating.then(|| count(terminating)),
        observed_generation: set.meta.generation.unwrap_or_default(),
        conditions: conditions(set, active.len(), failure, now),
        ..Status::default()
    };
    let mut recheck: Option<SignedDuration> = None;
    for pod in active {
        status.fully_labeled += i32::from(is_fully_labeled(set, pod));
        match pod::availability(pod, set.min_ready, now) {
            Availability::NotReady => status.ready += i32::from(pod::is_ready(pod)),
            Availability::Available => {
                status.ready += 1;
                status.available += 1;
            }
            Availability::In(left) => {
                status.ready += 1;
                recheck = Some(recheck.map_or(left, |soonest| soonest.min(left)));
            }
        }
    }
    Next { status, recheck }
}

/// Pods are counted in `usize` here and in `i32` in the API, whose replicas are `i32`.
fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}

fn is_fully_labeled(set: &Set<'_>, pod: &Pod) -> bool {
    let template = set.template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let labels = pod.metadata.labels.as_ref();
    template.into_iter().flatten().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// A failure is reported from its first occurrence on, and taken back by the first success.
fn conditions(set: &Set<'_>, have: usize, failure: Option<&str>, now: Timestamp) -> Vec<Condition> {
    let mut conditions = set.status.conditions.clone();
    let Some(message) = failure else {
        conditions.retain(|condition| condition.kind != REPLICA_FAILURE);
        return conditions;
    };
    if !conditions.iter().any(|condition| condition.kind == REPLICA_FAILURE) {
        conditions.push(Condition {
            kind: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: if have < set.replicas { "FailedCreate" } else { "FailedDelete" }.to_owned(),
            message: message.to_owned(),
            since: Some(now),
        });
    }
    conditions
}
