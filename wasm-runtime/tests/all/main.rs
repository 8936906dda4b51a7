//! Runs guests as the kubelet does, through the public surface alone. Guests are written in the
//! text format beside the tests that they are for; the samples' are the files that users get.

#![allow(clippy::unwrap_used)]

mod command;
mod files;
mod guest;
mod hostile;
mod http;
mod load;
mod network;
mod samples;
mod share;
