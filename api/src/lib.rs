//! The vocabulary of the cluster, pure: what kinds exist, how an object is read, written, named, selected,
//! defaulted, validated and patched. No I/O, no async runtime, no clock: whoever needs the time passes it in.

pub mod object;

pub use object::Object;
