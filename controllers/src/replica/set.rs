//! What replica sets and replication controllers have in common, as one exact value.

use std::collections::BTreeMap;

use coracle_api::Object;
use coracle_api::selector::LabelSelector;
use coracle_client::Key;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A kind that keeps a number of pods of one template: implemented by `ReplicaSet` and by `ReplicationController`.
pub trait Replicated: Object {
    /// Who the events are from.
    const COMPONENT: &'static str;

    /// Reads the object; `None` when it says nothing that could be acted on (no selector, or one that is invalid),
    /// which the API server does not let through.
    fn set(&self) -> Option<Set<'_>>;

    /// The object with `status` in place of its own.
    #[must_use]
    fn with_status(&self, status: &Status) -> Self;
}

/// One set: what it wants, and what it last said.
#[derive(Debug)]
pub struct Set<'a> {
    pub meta: &'a ObjectMeta,
    pub replicas: usize,
    pub min_ready: SignedDuration,
    pub selector: LabelSelector,
    pub template: Option<&'a PodTemplateSpec>,
    /// Whether this kind says how many of its pods are going.
    pub reports_terminating: bool,
    pub status: Status,
}

/// Counts of pods, and what went wrong in making them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub replicas: i32,
    pub fully_labeled: i32,
    pub ready: i32,
    pub available: i32,
    /// Only replica sets report it.
    pub terminating: Option<i32>,
    pub observed_generation: i64,
    pub conditions: Vec<Condition>,
}

/// A condition of a set, of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub since: Option<Timestamp>,
}

impl Set<'_> {
    pub fn key(&self) -> Key {
        Key::of_meta(self.meta)
    }

    pub fn is_deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// Whether a pod with these labels is one of its pods.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.selector.matches(Some(labels))
    }
}

/// Replicas default to one.
pub(super) fn replicas(replicas: Option<i32>) -> usize {
    usize::try_from(replicas.unwrap_or(1)).unwrap_or(0)
}

pub(super) fn min_ready(seconds: Option<i32>) -> SignedDuration {
    SignedDuration::from_secs(i64::from(seconds.unwrap_or(0).max(0)))
}
