//! The garbage collector: deletes what has no owner left, in the way that its owners were deleted.
//!
//! - *Background*: the owner is gone; its dependents follow.
//! - *Foreground*: the owner waits (finalizer `foregroundDeletion`) until the dependents that block it are gone.
//! - *Orphan*: the owner waits (finalizer `orphan`) until its dependents have forgotten it; they stay.
//!
//! Informers of all kinds feed one [`graph`] of who owns whom. An owner that is named but has not been seen stands in it
//! as a virtual node, until the server was asked. A look at an object: its place in the graph, with every owner that
//! the graph does not know asked for at the server → [`plan`] (pure) → execute. What is deleted is named by uid **and**
//! version, so that an object that has found another owner meanwhile is never deleted.
//!
//! Source: upstream's garbage collector and its graph builder.

mod graph;
mod kinds;
mod mapper;
mod plan;
mod reconcile;

#[cfg(test)]
mod simulation;

pub use reconcile::run;
