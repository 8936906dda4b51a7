//! The `Node` object of this kubelet: registered, kept true, and kept alive by a lease.
//!
//! [`machine`] looks at the machine, [`resources`] says what of it is for pods, [`describe`] makes objects of what it sees (pure), [`heartbeat`] writes them;
//! [`disk`] frees the disk of images, [`eviction`] ends pods where there is too little for all, [`shutdown`] ends the pods
//! of a node that goes.

pub mod describe;
pub mod disk;
pub mod eviction;
pub mod heartbeat;
pub mod machine;
pub mod resources;
pub mod shutdown;

use k8s_openapi::api::core::v1 as core;

pub use machine::{Machine, MachineObserver};

/// The node, as events name it. Source: kubelet, whose reference has the node's name for its uid.
pub fn reference(name: &str) -> core::ObjectReference {
    let name = Some(name.to_owned());
    core::ObjectReference { kind: Some("Node".to_owned()), uid: name.clone(), name, ..core::ObjectReference::default() }
}
