//! The `Node` object of this kubelet: registered, kept true, and kept alive by a lease.
//!
//! [`machine`] looks at the machine, [`describe`] makes objects of what it sees (pure), [`heartbeat`] writes them;
//! [`disk`] frees the disk of images.

pub mod describe;
pub mod disk;
pub mod heartbeat;
pub mod machine;

pub use machine::Machine;
