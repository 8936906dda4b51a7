//! The endpoints controller: the older form of endpoint slices, one object for a whole service, for those who still
//! read it.
//!
//! Source: upstream's endpoint controller.

mod plan;
mod reconcile;
mod subsets;

pub use reconcile::run;
