//! Bytes in, running instances out.
//!
//! This crate owns everything between a `.wasm` file and a guest that runs within its limits: the
//! engine, compiled artifacts and their cache on disk, WASI p1, p2 and p3, `wasi:http`, sockets,
//! memory and CPU accounting. It knows wasmtime, and it knows no Kubernetes: the kubelet gives it
//! a [`ContainerSpec`] and is told an [`Exit`].
//!
//! The way of a container:
//!
//! ```text
//! Runtime::load   bytes → inspect → compiled once (or mapped from the cache) → linked once → Artifact
//! Runtime::start  Artifact + ContainerSpec → a store with its limits, spawned on the guest threads
//! Container       ready → (usage) → stop or kill → wait → Exit
//! ```
//!
//! Invariants:
//!
//! - A guest gets what its spec grants. Arguments, environment, files, network: nothing is
//!   inherited from the host.
//! - Whatever a guest does ends that container alone. Endless loops are interrupted by epoch,
//!   memory and tables by a limiter, stacks by the engine, open handles by a bounded table.
//! - Guests run on threads of their own, below the rest of the process in priority, and no guest
//!   holds such a thread for longer than a slice while another one waits.
//! - An idle runtime costs nothing: no thread is started before it is needed, and the one that
//!   ticks the epoch parks when no guest is executing.

mod account;
mod artifact;
mod cache;
mod command;
mod compile;
mod config;
mod container;
mod descriptors;
mod engine;
mod exit;
mod features;
mod folder;
mod http;
mod inspect;
pub mod limits;
mod load;
mod names;
mod network;
mod offer;
mod outgoing;
mod output;
mod runtime;
mod sandbox;
mod schedule;
mod settings;
mod sockets;
mod spec;
mod threads;

pub use artifact::{Artifact, Digest};
pub use config::Config;
pub use container::{Container, StartError, Stop, Usage};
pub use engine::WASMTIME_VERSION;
pub use exit::Exit;
pub use features::features;
pub use inspect::{Form, Inspection, Wasi, World, inspect};
pub use load::{LoadError, Progress, Source};
pub use names::{ResolveError, Resolver, SystemResolver};
pub use network::{Egress, EgressPolicy};
pub use output::{Capture, Console, Discard, Output};
pub use runtime::{Runtime, RuntimeError};
pub use spec::{ContainerSpec, ExecSpec, HttpServe, Mount, Stdin};
