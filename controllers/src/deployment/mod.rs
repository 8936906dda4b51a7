//! The deployment controller: moves pods from one template to the next by growing and shrinking replica sets.
//!
//! A look at a deployment: claim its replica sets → [`plan`] (pure) → execute: create the new set, size the others,
//! drop old revisions, write the status. A cache that is behind does no harm: what was written is waited for before the
//! next plan, a new set's name follows from its template, so that creating it twice is refused, and every other write names
//! the version that it was planned on, so that it is a conflict and another look.
//!
//! Source: upstream's deployment controller.

mod conditions;
mod draft;
mod plan;
mod reconcile;
mod recreate;
mod revision;
mod rolling;
mod rollout;
mod scale;
mod status;
mod target;
mod template;

#[cfg(test)]
mod simulation;

pub use reconcile::run;
