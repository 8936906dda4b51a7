//! The `coracle` program: the command line, and the one function that wires the parts of a cluster together.
//!
//! [`command`] parses and dispatches; [`verb`] holds what each verb does; [`server`] is the cluster that the kubectl-like
//! verbs speak to, as JSON, whoever serves it; [`cluster`] starts a cluster of our own in this process, for `up`, for
//! `run`, and for tests. Which parts share a process is decided in [`cluster::start`] and nowhere else.

pub mod age;
pub mod cluster;
pub mod command;
pub mod data_dir;
pub mod descriptors;
pub mod failure;
pub mod manifest;
pub mod output;
pub mod remote;
pub mod server;
pub mod tabs;
pub mod terminal;
pub mod verb;
pub mod yaml;
