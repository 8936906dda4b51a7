//! What to do about a deployment. Pure.

use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{DeploymentStatus, ReplicaSet};

use super::draft::Update;
use super::revision::{self, REVISION};
use super::rollout::{Observed, Rollout};
use super::target::Strategy;
use super::{recreate, rolling, scale, status};

/// What to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub create: Option<ReplicaSet>,
    pub update: Vec<Update>,
    /// Old replica sets beyond the history limit.
    pub delete: Vec<Arc<ReplicaSet>>,
    /// The revision that the deployment is at, to be noted on it.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// When to look again.
    pub recheck: Option<SignedDuration>,
}

/// Decides.
pub fn plan(observed: &Observed<'_>) -> Plan {
    let mut rollout = Rollout::new(observed);
    if observed.target.deleting {
        let status = status::counts(&rollout);
        return finish(&rollout, status);
    }
    status::note_pause(&mut rollout);
    if observed.target.paused || scale::is_due(&rollout) {
        rollout.sync_new();
        scale::step(&mut rollout);
        let status = status::counts(&rollout);
        let delete =
            if observed.target.paused { revision::surplus(&observed.target, &rollout.old) } else { Vec::new() };
        return Plan { delete, ..finish(&rollout, status) };
    }
    match observed.target.strategy {
        Strategy::Rolling { .. } => rolling::step(&mut rollout),
        Strategy::Recreate => recreate::step(&mut rollout),
    }
    let status = status::progress(&rollout);
    let complete = status::is_complete(&observed.target, &status);
    let delete = if complete { revision::surplus(&observed.target, &rollout.old) } else { Vec::new() };
    Plan { delete, recheck: status::recheck(&rollout, &status), ..finish(&rollout, status) }
}

fn finish(rollout: &Rollout<'_>, status: DeploymentStatus) -> Plan {
    let new = rollout.new.as_ref();
    let noted = rollout.target.annotations.get(REVISION);
    Plan {
        create: new.filter(|new| new.stored.is_none()).map(|new| revision::object(new, rollout.target)),
        update: rollout.new.iter().chain(&rollout.old).filter_map(|draft| draft.update()).collect(),
        delete: Vec::new(),
        revision: new.and_then(|new| new.annotations.get(REVISION)).filter(|new| noted != Some(*new)).cloned(),
        status,
        recheck: None,
    }
}
