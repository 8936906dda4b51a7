//! A replica set while its deployment is being planned: what it is, and what it shall be.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition};

use super::revision::{DESIRED_REPLICAS, MAX_REPLICAS, REVISION};
use super::target::Target;

/// The plan for one replica set. `replicas`, `annotations` and `min_ready_seconds` are planned; the rest is observed.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The replica set as it is; `None` for one that has yet to be created.
    pub stored: Option<Arc<ReplicaSet>>,
    pub name: String,
    pub replicas: i32,
    pub annotations: BTreeMap<String, String>,
    pub min_ready_seconds: i32,
    pub counts: Counts,
    pub failure: Option<ReplicaSetCondition>,
}

/// What a replica set last said of its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub actual: i32,
    pub ready: i32,
    pub available: i32,
    pub terminating: Option<i32>,
}

impl Draft {
    pub fn of(set: Arc<ReplicaSet>) -> Self {
        let (spec, status) = (set.spec.as_ref(), set.status.as_ref());
        let failure = status.iter().flat_map(|status| status.conditions.iter().flatten());
        Self {
            name: set.metadata.name.clone().unwrap_or_default(),
            replicas: stored_replicas(&set),
            annotations: set.metadata.annotations.clone().unwrap_or_default(),
            min_ready_seconds: spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0),
            counts: status.map_or_else(Counts::default, |status| Counts {
                actual: status.replicas,
                ready: status.ready_replicas.unwrap_or(0),
                available: status.available_replicas.unwrap_or(0),
                terminating: status.terminating_replicas,
            }),
            failure: failure.into_iter().find(|condition| condition.type_ == "ReplicaFailure").cloned(),
            stored: Some(set),
        }
    }

    pub fn uid(&self) -> Option<&str> {
        self.stored.as_ref()?.metadata.uid.as_deref()
    }

    /// Older is less; what is yet to be created is the newest. Same-aged ones are told apart by name.
    pub fn age(&self) -> (bool, Option<Timestamp>, &str) {
        let created = self.stored.as_ref().and_then(|set| set.metadata.creation_timestamp.as_ref());
        (self.stored.is_none(), created.map(|time| time.0), &self.name)
    }

    pub fn is_active(&self) -> bool {
        self.replicas > 0
    }

    /// Available pods that the plan keeps: a set that shrinks may still report those it is about to lose.
    pub fn available(&self) -> i32 {
        self.counts.available.min(self.replicas)
    }

    /// As [`Draft::available`], of a set that grows: where its last size has not been seen by it, what it reports may
    /// be from before it shrank, so none are counted.
    pub fn available_for_sure(&self) -> i32 {
        if self.is_observed() { self.available() } else { 0 }
    }

    /// Whether what it reports is about the size that it has.
    pub fn is_observed(&self) -> bool {
        let Some(set) = &self.stored else { return false };
        let observed = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        set.metadata.generation.unwrap_or(0) <= observed
    }

    /// The number in an annotation.
    pub fn number(&self, annotation: &str) -> Option<i64> {
        self.annotations.get(annotation)?.parse().ok()
    }

    pub fn revision(&self) -> i64 {
        self.number(REVISION).unwrap_or(0)
    }

    /// Plans for `replicas` pods, and notes for which size of the deployment that is.
    pub fn scale(&mut self, replicas: i32, target: &Target<'_>) {
        self.replicas = replicas.max(0);
        self.note_size(target);
    }

    pub fn note_size(&mut self, target: &Target<'_>) {
        self.annotations.insert(DESIRED_REPLICAS.to_owned(), target.replicas.to_string());
        self.annotations.insert(MAX_REPLICAS.to_owned(), target.replicas_max().to_string());
    }

    /// Whether the new set has all pods of the deployment, and they are available.
    pub fn is_saturated(&self, target: &Target<'_>) -> bool {
        let noted = self.number(DESIRED_REPLICAS) == Some(i64::from(target.replicas));
        noted && self.replicas == target.replicas && self.counts.available == target.replicas
    }

    /// The replica set with the plan in it, if that is a change.
    pub fn update(&self) -> Option<Update> {
        let stored = self.stored.as_ref()?;
        let unchanged = Self::of(stored.clone());
        let same = unchanged.replicas == self.replicas
            && unchanged.annotations == self.annotations
            && unchanged.min_ready_seconds == self.min_ready_seconds;
        (!same).then(|| Update { from: unchanged.replicas, to: self.replicas, replica_set: self.write(stored) })
    }

    fn write(&self, stored: &ReplicaSet) -> ReplicaSet {
        let mut set = stored.clone();
        set.metadata.annotations = Some(self.annotations.clone());
        let spec = set.spec.get_or_insert_default();
        spec.replicas = Some(self.replicas);
        spec.min_ready_seconds = Some(self.min_ready_seconds);
        set
    }
}

fn stored_replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// A replica set to be written, and the sizes that its event tells of.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub from: i32,
    pub to: i32,
    pub replica_set: ReplicaSet,
}
