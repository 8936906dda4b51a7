//! Whole clusters for tests: started in milliseconds, waited for without sleeping, and explained when they fail.
//!
//! [`Cluster`] is one in this process, of any number of nodes, real or fake. [`World`] is what a scenario sees, whether
//! the cluster is reached by a call, over TLS, or is a process of its own: a server, and whatever keeps it alive. The
//! bodies in [`scenario`] run in each of them. [`Interpreter`] runs what clients of other languages do,
//! and [`Transcript`] what a person types at a terminal.

mod cluster;
mod dump;
mod guest;
mod network;
mod parts;
mod process;
mod relay;
pub mod scenario;
mod script;
mod tool;
mod transcript;
mod wait;
mod world;

pub use cluster::{Builder, Cluster};
pub use guest::Guests;
pub use network::Network;
pub use parts::{NODE, Parts};
pub use process::Process;
pub use relay::{Asked, Relay};
pub use script::{Interpreter, Throwaway};
pub use tool::{Tool, kubectl};
pub use transcript::{Terminal, Transcript};
pub use wait::{DEADLINE, is_ready, named, until_within};
pub use world::World;
