//! The replica set controller, and with the same code the replication controller: keeps the number of pods that a set
//! asks for.
//!
//! A look at a set: [`claim`](crate::ownership) its pods → [`plan`] (pure) → [`pod_control`](crate::pod_control) →
//! [`status`] (pure) → write it. The cache may be behind what this controller itself did a moment ago;
//! [`Expectations`](coracle_client::Expectations) say so, and until they are met the number of pods is left alone.
//!
//! Source: upstream's replicaset controller, of which the replication controller is an instance.

mod plan;
mod reconcile;
mod replica_set;
mod replication_controller;
mod set;
mod status;

#[cfg(test)]
mod convergence;

pub use reconcile::run;
