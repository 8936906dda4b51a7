//! The node lifecycle controller: notices that a node has fallen silent, says so, and moves its pods elsewhere.
//!
//! A look at a node: what was last heard of it ([`heartbeats`]) → [`plan`] (pure) → its status, its taints, the
//! readiness of its pods, and the eviction of those that do not tolerate the taints (any longer). Nothing is polled: a
//! look says when the next one is due.
//!
//! Where no node at all is heard, it is more likely that this controller is cut off than that all have failed; then
//! nothing is evicted.
//!
//! Source: upstream's node lifecycle and taint eviction controllers, without zones and their rates.

mod eviction;
mod execute;
mod heartbeats;
mod plan;
mod reconcile;
mod taints;

pub use reconcile::run;
