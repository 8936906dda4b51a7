//! Gives every pod a node.
//!
//! Informers keep a [`Snapshot`](snapshot::Snapshot) of the nodes and what runs on them, and a [queue](queue::Queue) of
//! the pods that have none. The loop takes one pod at a time and [decides](decide::decide), purely: filters rule nodes
//! out, scores rank the rest. The pod is then assumed to be there, so that the next decision counts with it, while the
//! binding is on its way in a task of its own. A pod that fits nowhere waits until something happens that the filters
//! which rejected it say could help.
//!
//! Absent on purpose: the scheduler never writes a pod but for its binding and its `PodScheduled` condition, keeps
//! nothing that it could not rebuild from a list, and knows no clock but tokio's.
//!
//! Source: `pkg/scheduler` of Kubernetes.

mod bind;
pub mod decide;
pub mod event;
pub mod filter;
mod follow;
pub mod node;
pub mod pod;
pub mod queue;
mod report;
pub mod resources;
mod run;
pub mod score;
pub mod snapshot;

pub use run::{Config, Error, run};
