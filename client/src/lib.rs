//! What every component needs to live beside an API server: typed requests, caches that follow it, queues of work,
//! and the small protocols (expectations, events, leases) that controllers share.
//!
//! Nothing here knows whether the server is in this process or behind TLS: a [`Client`] is made from a kubeconfig or
//! from any tower service, and everything else is made from a [`Client`]. Nothing here retries writes: a failed write
//! goes back to the caller, whose work queue backs off. Reads that must go on forever (informers, leases) retry by
//! themselves.

mod backoff;
mod client;
mod clock;
mod connect;
mod error;
mod expectations;
mod informer;
mod key;
mod leader;
mod objects;
mod path;
mod queue;
mod recorder;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod watch;
mod websocket;
mod workers;

pub use backoff::Backoff;
pub use client::{Client, PodRef, ResponseBody};
pub use clock::Clock;
pub use error::Error;
pub use expectations::Expectations;
pub use informer::{
    Delta, Index, Informer, Informers, MetadataChange, Packed, Selection, follow_metadata, follow_object,
};
pub use key::Key;
pub use leader::{LeaderConfig, LeaderElector, Leadership};
pub use objects::{DeleteOptions, List, ListOptions, Objects, Patch};
pub use queue::{Item, WorkQueue};
pub use recorder::{EventType, Recorder, reference};
pub use watch::WatchEvent;
pub use websocket::{Message, WebSocket, WebSocketError};
pub use workers::{Action, run_workers};
