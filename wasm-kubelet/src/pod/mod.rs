//! The pods of this node, each with a worker of its own.
//!
//! ```text
//! informer ─▶ [workers] ─▶ one [worker] a pod: events ─▶ pure [step] ─▶ new [state] + effects
//!                                                              │             │
//!                                            [report]: status ◀┘             └▶ [execute]: pull, start, stop, volumes
//! ```
//!
//! [`spec`] reads a pod once into what the steps need, and says what this node refuses; [`restore`] makes a state from
//! what the API remembers, which is all that survives a kubelet. What an effect ends in comes back as an event.

pub mod admit;
pub mod ask;
pub mod backoff;
pub mod critical;
pub mod env;
pub mod execute;
pub mod farewell;
pub mod guest;
pub mod host;
pub mod instances;
mod known;
mod mailbox;
pub mod overwritten;
pub mod pods;
pub mod probe;
pub mod pulling;
pub mod refuse;
pub mod report;
pub mod restore;
pub mod spec;
pub mod state;
pub mod step;
pub mod volumes;
pub mod worker;
pub mod workers;

pub use host::Host;
pub use pods::Pods;
pub use workers::Workers;
