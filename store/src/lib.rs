//! A revisioned, watchable, crash-safe map of opaque bytes.
//!
//! Everything that a cluster knows is in one [`Store`]: a sorted map whose every change takes the next [`Revision`].
//! A writer says what it believes of a key and is refused when that is no longer so; a reader reads all keys as they
//! were at one revision; a watcher is told of every change after a revision, once and in order. The store knows no
//! Kubernetes, no JSON and no HTTP, and what is stored is byte for byte what is read.
//!
//! | backend | for | durable |
//! |---|---|---|
//! | [`RedbStore`] | a cluster on one machine: one file, many writes to an fsync | yes |
//! | [`MemoryStore`] | tests, and clusters that are thrown away | no |
//! | [`FaultStore`] | tests: any other store, failing on demand | as the one inside |
//!
//! The contract is written on [`Store`], and `tests/conformance.rs` holds every backend to it. How the file is laid out
//! and what happens to it in a crash is drawn in `docs/store.md`.
//!
//! The API server is the only caller. Nothing of a backend's own types leaves this crate.

pub mod compactor;
pub mod disk;
mod embedded;
mod error;
mod event;
mod fault;
mod feed;
mod follow;
pub mod limits;
mod memory;
mod range;
mod record;
mod revision;
mod store;

pub use embedded::{RedbConfig, RedbStore};
pub use error::Error;
pub use event::{Batch, Event};
pub use fault::{Fault, FaultStore};
pub use memory::MemoryStore;
pub use range::{Page, Range};
pub use record::{Change, Expect, Record, Write};
pub use revision::Revision;
pub use store::{Store, Usage, Watch};
