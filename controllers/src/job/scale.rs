//! Which pods to make, and which to delete. Pure.
//!
//! Source: upstream's `manageJob`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;

use super::account::{Account, Observed};
use super::indexes::Indexes;
use super::replacement;
use super::target::{Target, index_of};
use crate::{pod, rank};

/// The most pods that are made or deleted in one look; the rest follow once these were seen.
///
/// Source: `MaxPodCreateDeletePerSync`.
pub const PODS_MAX: usize = 500;

/// What to do about the number of pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    Keep,
    /// For each pod its completion index, in an indexed job.
    Create(Vec<Option<usize>>),
    /// These are too many, and shall not count.
    Remove(Vec<Arc<Pod>>),
    /// The job is decided: all that still run are to end, and then be counted.
    End(Vec<Arc<Pod>>),
}

/// What to do, and when to look again although nothing may have happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub scale: Scale,
    pub recheck: Option<SignedDuration>,
}

/// Decides. With an unsettled cache nothing is done, so that no pod is made or deleted twice.
pub fn plan(observed: &Observed<'_>, account: &Account) -> Plan {
    let keep = Plan { scale: Scale::Keep, recheck: None };
    if !observed.is_settled {
        return keep;
    }
    if account.verdict.is_some() {
        return Plan { scale: Scale::End(account.active.clone()), ..keep };
    }
    if observed.target.is_deleting() {
        return keep;
    }
    let surplus = surplus(observed, account);
    if !surplus.is_empty() {
        return Plan { scale: Scale::Remove(surplus), recheck: account.deadline_in };
    }
    if observed.target.is_suspended {
        return keep;
    }
    let (create, wait) = missing(observed, account);
    let recheck = [wait, account.deadline_in].into_iter().flatten().min();
    if create.is_empty() { Plan { recheck, ..keep } } else { Plan { scale: Scale::Create(create), recheck } }
}

/// How many pods shall run.
fn wanted(target: &Target<'_>, account: &Account) -> usize {
    match target.completions {
        _ if target.is_suspended => 0,
        Some(completions) => completions.saturating_sub(account.succeeded).min(target.parallelism),
        // The first success says that there is no more work: the others end by themselves.
        None if account.succeeded > 0 => account.active.len(),
        None => target.parallelism,
    }
}

fn surplus(observed: &Observed<'_>, account: &Account) -> Vec<Arc<Pod>> {
    let target = &observed.target;
    let (mut remove, rest) = match target.indexes {
        Some(completions) => repeated(&account.active, completions, observed),
        None => (Vec::new(), account.active.clone()),
    };
    let at_least = account.active.len().saturating_sub(wanted(target, account));
    let more = at_least.saturating_sub(remove.len());
    if more > 0 {
        remove.extend(rank::expendable(rest, more, &[], observed.now));
    }
    if !target.is_suspended {
        remove.truncate(PODS_MAX);
    }
    remove
}

/// Splits off the pods without an index that the job has, and all but one of each index.
fn repeated(active: &[Arc<Pod>], completions: usize, observed: &Observed<'_>) -> (Vec<Arc<Pod>>, Vec<Arc<Pod>>) {
    let mut by_index: BTreeMap<Option<usize>, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in active {
        let index = index_of(pod).filter(|index| *index < completions);
        by_index.entry(index).or_default().push(pod.clone());
    }
    let mut remove = by_index.remove(&None).unwrap_or_default();
    let mut rest = Vec::with_capacity(active.len());
    for pods in by_index.into_values() {
        let extra =
            if pods.len() > 1 { rank::expendable(pods.clone(), pods.len() - 1, &[], observed.now) } else { Vec::new() };
        rest.extend(pods.into_iter().filter(|pod| !extra.iter().any(|one| Arc::ptr_eq(one, pod))));
        remove.extend(extra);
    }
    (remove, rest)
}

/// The pods to make now, and how long until more may be made.
fn missing(observed: &Observed<'_>, account: &Account) -> (Vec<Option<usize>>, Option<SignedDuration>) {
    let target = &observed.target;
    let going = if target.replaces_failed_only { account.terminating } else { 0 };
    let count = wanted(target, account).saturating_sub(going + account.active.len());
    if count == 0 {
        return (Vec::new(), None);
    }
    if target.index_limits.is_none() {
        let wait = account.backoff.left(observed.now);
        if wait > SignedDuration::ZERO {
            return (Vec::new(), Some(wait));
        }
    }
    let count = count.min(PODS_MAX);
    let Some(completions) = target.indexes else { return (vec![None; count], None) };
    let (mut now, mut soonest) = (Vec::new(), None);
    for index in pending(observed, account, count, completions) {
        match replacement::left(account.replaced.get(&index), observed.now) {
            _ if target.index_limits.is_none() => now.push(Some(index)),
            SignedDuration::ZERO => now.push(Some(index)),
            left => soonest = Some(soonest.map_or(left, |soonest: SignedDuration| soonest.min(left))),
        }
    }
    (now, soonest)
}

/// The first indexes that nothing runs for, has succeeded for, or has failed for for good.
fn pending(observed: &Observed<'_>, account: &Account, count: usize, completions: usize) -> Vec<usize> {
    let target = &observed.target;
    let is_going = |pod: &&Arc<Pod>| target.replaces_failed_only && pod::is_deleting(pod) && !pod::is_finished(pod);
    let busy = account.active.iter().chain(observed.pods.iter().filter(is_going));
    let busy: Indexes = busy.filter_map(|pod| target.index_of(pod)).collect();
    let done = account.completed_indexes.union(&busy);
    let done = account.failed_indexes.as_ref().map_or(done.clone(), |failed| done.union(failed));
    done.first_missing(count, completions)
}
