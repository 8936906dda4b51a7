//! The disruption controller: says of each budget how many of its pods are healthy, how many have to be, and so how many
//! evictions the API server may let through.
//!
//! The API server counts an eviction in the budget at once, before the pod has gone; here the pod is then known to be
//! lost, until it is gone or, after two minutes, is believed to stay.
//!
//! Source: upstream's disruption controller.

mod plan;
mod reconcile;
mod scale;

pub use reconcile::run;
