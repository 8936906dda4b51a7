//! The control loops: each watches a few kinds and brings the cluster one step nearer to what they say.
//!
//! One file (or folder) a controller, all of one shape: **observe** (from informers) → a pure **plan** → **execute**
//! (typed requests). A reconciler takes a key and nothing else; what woke it does not matter to what it does. No
//! controller keeps what it could not read again, but for what is about the present alone: what it has written
//! and not yet seen, and when a node was last heard. [`run`] starts them all.

mod config;
mod context;
mod deployment;
mod discovery;
mod disruption;
mod endpoint_slice;
mod endpoints;
mod error;
mod garbage_collector;
mod job;
mod namespace;
mod node_lifecycle;
mod ownership;
mod pod;
mod pod_control;
mod pod_garbage;
mod rank;
mod reconciler;
mod replica;
mod resource;
mod resource_quota;
mod root_ca;
mod run;
mod service;
mod service_account;
mod ttl_after_finished;
mod volume_protection;
mod written;

pub use config::Config;
pub use context::Context;
pub use error::Error;
pub use run::run;
