//! One look at a deployment, while it is being planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSet};

use super::draft::Draft;
use super::target::Target;
use super::{conditions, revision};

/// What is known when a deployment is looked at.
#[derive(Debug)]
pub struct Observed<'a> {
    pub target: Target<'a>,
    /// All replica sets that it controls.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// The pods that have not finished, those that are going included, by the uid of their replica set. Only asked
    /// for when recreating.
    pub pods: BTreeMap<String, usize>,
    pub now: Timestamp,
}

/// The plan in the making: the drafts of all replica sets, and the conditions as they will be.
#[derive(Debug)]
pub struct Rollout<'a> {
    pub target: &'a Target<'a>,
    pub pods: &'a BTreeMap<String, usize>,
    pub now: Timestamp,
    pub new: Option<Draft>,
    /// Oldest first.
    pub old: Vec<Draft>,
    pub conditions: Vec<DeploymentCondition>,
}

impl<'a> Rollout<'a> {
    pub fn new(observed: &'a Observed<'a>) -> Self {
        let target = &observed.target;
        let (new, old) = revision::split(target, &observed.sets);
        let conditions = target.status().conditions.unwrap_or_default();
        Self { target, pods: &observed.pods, now: observed.now, new, old, conditions }
    }

    pub fn all(&self) -> impl Iterator<Item = &Draft> {
        self.old.iter().chain(&self.new)
    }

    pub fn replicas(&self) -> i32 {
        sum(self.all().map(|draft| draft.replicas))
    }

    pub fn old_replicas(&self) -> i32 {
        sum(self.old.iter().map(|draft| draft.replicas))
    }

    pub fn available(&self) -> i32 {
        sum(self.old.iter().map(Draft::available).chain(self.new.iter().map(Draft::available_for_sure)))
    }

    /// The least number of pods that have to be available.
    pub fn available_min(&self) -> i32 {
        self.target.replicas - self.target.unavailable()
    }

    /// Brings the new set's annotations and readiness time up to date, where there is one.
    pub fn sync_new(&mut self) {
        let revision = revision::next(&self.old);
        if let Some(new) = &mut self.new {
            revision::annotate(new, self.target, revision);
            new.min_ready_seconds = self.target.min_ready_seconds;
            let message = format!("Found new replica set \"{}\"", new.name);
            if self.target.progress_deadline.is_some() && conditions::find(&self.conditions, "Progressing").is_none() {
                self.progress("True", "FoundNewReplicaSet", message);
            }
        }
    }

    /// As [`Rollout::sync_new`]; and where there is no new set, plans one with as many pods as there is room for.
    pub fn sync_or_create_new(&mut self) {
        self.sync_new();
        if self.new.is_some() {
            return;
        }
        let draft = revision::draft(self.target, revision::next(&self.old));
        let message = format!("Created new replica set \"{}\"", draft.name);
        self.new = Some(draft);
        self.grow_new();
        if self.target.progress_deadline.is_some() {
            self.progress("True", "NewReplicaSetCreated", message);
        }
    }

    /// Gives the new set as many pods as the deployment wants and the surge has room for.
    pub fn grow_new(&mut self) {
        let (target, total) = (self.target, self.replicas());
        let Some(new) = &mut self.new else { return };
        let room = match target.strategy {
            super::target::Strategy::Rolling { .. } => (target.replicas_max() - total).max(0),
            super::target::Strategy::Recreate => target.replicas,
        };
        let missing = target.replicas - new.replicas;
        if missing != 0 {
            new.scale(new.replicas + missing.min(room), target);
        }
    }

    pub fn progress(&mut self, status: &str, reason: &str, message: String) {
        conditions::set(&mut self.conditions, conditions::new("Progressing", status, reason, message, self.now));
    }
}

/// Of counts that people choose, and so may be huge.
pub fn sum(counts: impl Iterator<Item = i32>) -> i32 {
    counts.fold(0, i32::saturating_add)
}
