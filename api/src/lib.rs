//! The vocabulary of the cluster, pure: what kinds exist, how an object is read, written, named, selected,
//! defaulted, validated and patched. No I/O, no async runtime, no clock: whoever needs the time passes it in.

pub mod any;
pub mod codec;
pub mod convert;
pub mod custom;
pub mod defaults;
pub mod disabled;
pub mod field;
pub mod flow;
pub mod go;
pub mod key;
pub mod kind;
pub mod kinds;
pub mod limits;
pub mod names;
pub mod object;
pub mod ownership;
pub mod patch;
pub mod pod_security;
pub mod pods;
pub mod quantity;
pub mod quota;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod validation;
pub mod warnings;

pub use any::AnyObject;
pub use kind::Kind;
pub use object::Object;
pub use status::ApiError;
