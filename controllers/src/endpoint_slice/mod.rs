//! The endpoint slice controller: keeps, for each service with a selector, slices of at most a hundred endpoints that
//! say where its pods are and which of them may be given traffic.
//!
//! A burst of pods that become ready is gathered for a moment and written once. What was written is expected in the
//! cache before the next plan: a slice's name is made by the server, so nothing else would stop a second one.
//!
//! Source: upstream's endpointslice controller and its reconciler.

mod endpoint;
mod fill;
mod plan;
mod reconcile;

pub use reconcile::run;
