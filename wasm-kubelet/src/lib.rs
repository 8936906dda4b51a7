//! The agent of one node: runs the pods that are bound to it, as WebAssembly, and carries the cluster's services.
//!
//! ```text
//! Kubelet::run ─┬─ node/     registers the Node, renews its Lease, tells its conditions, evicts
//!               ├─ pod/      a worker a pod: a pure step, its effects, one coalesced status
//!               │    ├─ images/    references, the node's store, pulls
//!               │    ├─ logs/      what guests print, on disk
//!               │    └─ runtime/   the Runtime trait; wasm (coracle-runtime) and fake
//!               ├─ static_pods/   pods from files, and their mirrors in the API
//!               ├─ proxy/    service addresses, in userspace
//!               └─ server/   the node's API: logs, pods, metrics
//! ```
//!
//! Invariants: only `runtime/wasm.rs` names `coracle-runtime`; `pod::step` and `pod::report` see no clock, no client and
//! no await; nothing here polls; and all that a kubelet knows can be made again from the API and its folder, so that it
//! may be killed at any point.

mod address;
mod config;
pub mod images;
mod kubelet;
pub mod limits;
pub mod logs;
mod names;
mod node;
mod pod;
mod proxy;
pub mod runtime;
mod server;
mod static_pods;

/// When a node has too little, and what it then does.
pub mod eviction {
    pub use crate::node::eviction::{
        Eviction, Level, Limit, Observations, Observe, Signal, Threshold, ThresholdError, Value, thresholds,
    };
}

pub use address::{Addresses, Cidr, CidrError};
pub use config::{
    Capacity, Config, ImageSources, LogLimits, Mirror, NodeShutdown, Proxy as ProxyConfig, Registries, Tls,
};
pub use kubelet::{Error, Kubelet};
pub use runtime::{FakeRuntime, Runtime, WasmRuntime};
pub use server::wire;
