//! The job controller: runs pods until as many as a job asks for have succeeded, or too many have failed.
//!
//! A look at a job: [`claim`](crate::ownership) its pods → [`account`] → [`scale`] → [`track`] (all pure) → make or
//! delete pods, write the status, and only then let those pods go that it counts. *Invariants:* a pod is counted exactly
//! once, wherever the controller is stopped and however far its caches are behind (a finalizer holds each pod until it is
//! counted, and [`track`] says in which steps); no more pods run than the job's parallelism; a look costs what runs and
//! what has just ended, not what ended long ago.
//!
//! Upstream gathers the changes of pods for a second before it looks at their job, and writes the status up to twice a
//! look. Here they are gathered for milliseconds, since a look that is on its way gathers what comes meanwhile anyway;
//! pods are made beside the write; and one write both counts what was let go and notes what has ended.
//!
//! Source: upstream's job controller, with the gates that are on by default in v1.36.

mod account;
mod backoff;
mod conditions;
mod draft;
mod execute;
mod failure_policy;
mod indexes;
mod reconcile;
mod replacement;
mod scale;
mod stray;
mod success_policy;
mod target;
mod track;
mod untracked;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use reconcile::run;
