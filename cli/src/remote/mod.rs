//! Containers as they are reached from here: which one is meant ([`target`]), and its streams ([`session`]).

mod session;
mod target;

pub use session::{Ask, Streams, ended, run};
pub use target::{Target, attachable, container, pods_with, selector_of};
