//! What a job says of its pods, which of them it lets go, and how it ends. Pure.
//!
//! A pod is counted in three steps, so that a controller that stops after any of them, or is answered late, neither
//! loses a pod nor counts it twice: its uid goes into the status among the uncounted; its finalizer is removed; it moves
//! from the uncounted into the counters. In an indexed job, success is counted by index at once, as an index can only be
//! counted once. The third step of one look is done with the first step of the next, in one write.
//!
//! Source: upstream's `trackJobStatusAndRemoveFinalizers`.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;

use super::account::{Account, End, Observed, Verdict, is_succeeded};
use super::conditions;
use super::failure_policy::{Ruling, ruling};
use super::indexes::Indexes;
use super::scale::Scale;
use crate::pod;
use crate::pod_control::uid;

/// The most pods that are on their way to being counted, which keeps the status below 20 KB.
///
/// Source: `MaxUncountedPods`.
pub const UNCOUNTED_MAX: usize = 500;

/// What to say, and what follows once it is said.
#[derive(Clone, Debug)]
pub struct Tracking {
    pub status: JobStatus,
    /// The pods that are said to be uncounted, or need no counting: they may lose their finalizers now.
    pub untrack: Vec<Arc<Pod>>,
    /// The uids of pods that have their finalizers.
    with_finalizer: HashSet<String>,
    /// What the job comes to, once all pods are counted and gone.
    verdict: Option<Verdict>,
    /// An event, where the job was suspended or resumed.
    pub turn: Option<(&'static str, &'static str)>,
}

/// Decides what to say, where `scale` has been done (`is_done`), or is being done as far as pods are made.
pub fn track(observed: &Observed<'_>, account: &Account, scale: &Scale, is_done: bool) -> Tracking {
    let (target, now) = (&observed.target, observed.now);
    let mut status = target.status();
    let deleted: &[Arc<Pod>] = match scale {
        Scale::Remove(pods) | Scale::End(pods) if is_done => pods,
        _ => &[],
    };
    let made = if let Scale::Create(pods) = scale { pods.len() } else { 0 };
    let ready = |pods: &[Arc<Pod>]| pods.iter().filter(|pod| pod::is_ready(pod)).count();
    let active = account.active.len() - deleted.len() + made;
    let terminating = account.terminating + deleted.len();
    status.active = Some(number(active)).filter(|active| *active > 0);
    status.ready = Some(number(ready(&account.active) - ready(deleted)));
    status.terminating = Some(number(terminating));
    if status.start_time.is_none() && !target.is_suspended {
        status.start_time = Some(conditions::time(now));
    }
    let managed = observed.is_settled && !target.is_deleting() && account.verdict.is_none();
    // A job is not decided before all its pods are known and told to end.
    let decided = account.verdict.clone().filter(|_| observed.is_settled && is_done);
    let verdict = if account.verdict.is_some() { decided } else { completed(observed, account, active) };
    let turn = if managed && verdict.is_none() { turn(&mut status, target.is_suspended, now) } else { None };
    if let Some(verdict) = &verdict {
        let condition = conditions::new(verdict.end.decided(), true, &verdict.reason, &verdict.message, now);
        conditions::set(status.conditions.get_or_insert_default(), condition);
    }
    let with_finalizer: HashSet<String> =
        observed.pods.iter().filter(|pod| observed.is_tracked(pod)).map(|pod| uid(pod).to_owned()).collect();
    count_untracked(&mut status, &with_finalizer);
    let untrack = count_ended(observed, account, verdict.as_ref(), &mut status);
    Tracking { status, untrack, with_finalizer, verdict, turn }
}

/// Pods are counted in `usize` here and in `i32` in the API.
fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Enough pods have succeeded, and none runs any more.
fn completed(observed: &Observed<'_>, account: &Account, active: usize) -> Option<Verdict> {
    let needed = observed.target.completions.unwrap_or(1);
    (observed.is_settled && account.succeeded >= needed && active == 0).then(|| Verdict {
        end: End::Success,
        reason: "CompletionsReached".to_owned(),
        message: "Reached expected number of succeeded pods".to_owned(),
    })
}

/// Says that the job is suspended or is no longer. A job that goes on begins anew, as far as its deadline is concerned.
fn turn(status: &mut JobStatus, is_suspended: bool, now: Timestamp) -> Option<(&'static str, &'static str)> {
    let (condition, event) = match is_suspended {
        true => (("JobSuspended", "Job suspended"), ("Suspended", "Job suspended")),
        false => (("JobResumed", "Job resumed"), ("Resumed", "Job resumed")),
    };
    let condition = conditions::new("Suspended", is_suspended, condition.0, condition.1, now);
    let mut list = status.conditions.take().unwrap_or_default();
    let changed = conditions::set(&mut list, condition);
    status.conditions = Some(list).filter(|list| !list.is_empty());
    if !changed {
        return None;
    }
    if !is_suspended {
        status.start_time = Some(conditions::time(now));
    }
    Some(event)
}

/// Moves those of the uncounted into the counters that have no finalizer any more.
fn count_untracked(status: &mut JobStatus, with_finalizer: &HashSet<String>) {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let lists = [(&mut uncounted.succeeded, &mut status.succeeded), (&mut uncounted.failed, &mut status.failed)];
    for (uids, counter) in lists {
        let mut list = uids.take().unwrap_or_default();
        let before = list.len();
        list.retain(|uid| with_finalizer.contains(uid));
        if list.len() < before {
            *counter = Some(counter.unwrap_or_default() + number(before - list.len()));
        }
        *uids = Some(list).filter(|list| !list.is_empty());
    }
}

/// Notes the pods that have ended as uncounted, and gives those that may lose their finalizers once that is written.
fn count_ended(
    observed: &Observed<'_>,
    account: &Account,
    verdict: Option<&Verdict>,
    status: &mut JobStatus,
) -> Vec<Arc<Pod>> {
    let target = &observed.target;
    let mut book = Book::open(observed, status);
    let mut ended: Vec<&Arc<Pod>> = observed.pods.iter().filter(|pod| observed.is_tracked(pod)).collect();
    ended.retain(|pod| may_untrack(observed, account, verdict, pod));
    if target.indexes.is_some() {
        ended.sort_by_cached_key(|pod| target.index_of(pod));
    }
    let mut untrack = Vec::new();
    for pod in ended {
        // What is written already is tried again, however full it is.
        if book.known.contains(uid(pod)) || !book.is_full() {
            untrack.push(pod.clone());
            book.enter(observed, pod, verdict);
        }
    }
    book.close(account, status);
    untrack
}

/// Whether a pod need not be kept: it has ended, or the whole job does. One that its replacement is still to learn from
/// is kept.
fn may_untrack(observed: &Observed<'_>, account: &Account, verdict: Option<&Verdict>, pod: &Pod) -> bool {
    let target = &observed.target;
    if target.is_deleting() || verdict.is_some() || is_succeeded(pod) {
        return true;
    }
    let is_replaced = || {
        let last = target.index_of(pod).and_then(|index| account.replaced.get(&index));
        last.is_none_or(|last| uid(last) != uid(pod))
    };
    target.is_failed(pod) && (target.index_limits.is_none() || is_replaced())
}

/// What is on its way to being counted.
struct Book {
    succeeded: Vec<String>,
    failed: Vec<String>,
    known: HashSet<String>,
    /// In an indexed job: those that were completed before, and those that are now.
    completed: Option<(Indexes, Vec<usize>)>,
}

impl Book {
    fn open(observed: &Observed<'_>, status: &JobStatus) -> Self {
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (succeeded, failed) = (uncounted.succeeded.unwrap_or_default(), uncounted.failed.unwrap_or_default());
        let before = status.completed_indexes.as_deref().unwrap_or_default();
        Self {
            known: succeeded.iter().chain(&failed).cloned().collect(),
            succeeded,
            failed,
            completed: observed.target.indexes.map(|count| (Indexes::parse(before, count), Vec::new())),
        }
    }

    fn is_full(&self) -> bool {
        let completed = self.completed.as_ref().map_or(0, |(_, new)| new.len());
        self.succeeded.len() + self.failed.len() + completed >= UNCOUNTED_MAX
    }

    fn enter(&mut self, observed: &Observed<'_>, pod: &Pod, verdict: Option<&Verdict>) {
        let target = &observed.target;
        if self.known.contains(uid(pod)) {
            return;
        }
        // What still runs when a job has failed has failed with it.
        let fails_with_job = verdict.is_some_and(|verdict| verdict.end == End::Failure);
        if is_succeeded(pod) {
            match &mut self.completed {
                Some((before, new)) => new.extend(target.index_of(pod).filter(|index| !before.contains(*index))),
                None => self.succeeded.push(uid(pod).to_owned()),
            }
        } else if (target.is_failed(pod) || fails_with_job)
            && target.counts(pod)
            && ruling(target.failure_policy, pod) != Ruling::Ignore
        {
            self.failed.push(uid(pod).to_owned());
        }
    }

    fn close(self, account: &Account, status: &mut JobStatus) {
        let list = |uids: Vec<String>| Some(uids).filter(|uids| !uids.is_empty());
        status.uncounted_terminated_pods =
            Some(UncountedTerminatedPods { succeeded: list(self.succeeded), failed: list(self.failed) });
        if let Some((before, new)) = self.completed {
            let completed = before.union(&new.into_iter().collect());
            status.succeeded = Some(number(completed.count())).filter(|count| *count > 0);
            status.completed_indexes = Some(completed.to_string()).filter(|text| !text.is_empty());
            status.failed_indexes = account.failed_indexes.as_ref().map(ToString::to_string);
        }
    }
}

impl Tracking {
    /// The status of the job that is over, where it is: it has been decided, and now that the pods in `untracked` have
    /// lost their finalizers every pod is counted, and none is going any more.
    pub fn finish(&self, untracked: &HashSet<String>, now: Timestamp) -> Option<JobStatus> {
        let verdict = self.verdict.as_ref()?;
        let mut status = self.status.clone();
        let left: HashSet<String> = self.with_finalizer.difference(untracked).cloned().collect();
        count_untracked(&mut status, &left);
        if !left.is_empty() || status.terminating.unwrap_or_default() > 0 {
            return None;
        }
        let condition = conditions::new(verdict.end.finished(), true, &verdict.reason, &verdict.message, now);
        conditions::set(status.conditions.get_or_insert_default(), condition);
        if verdict.end == End::Success {
            status.completion_time = Some(conditions::time(now));
        }
        Some(status)
    }

    /// What the job comes to, if that is decided.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }
}
