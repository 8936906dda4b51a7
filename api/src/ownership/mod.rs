//! Field ownership: which manager wants which fields of an object, and what server-side apply makes of that.
//!
//! A [`Request`] is a write of one manager. Told of an object before and after it, it says what the entries of
//! `metadata.managedFields` then are; given a configuration, it lays it over the object, takes out what the manager no
//! longer names and nobody else wants, and refuses to change what others own.
//!
//! Objects are JSON values beside their [types](Type). Entries are read from JSON and written as JSON, in the form and
//! order of upstream, and are nowhere else: an object's own `managedFields` are split off when it is read
//! (see [`AnyObject::managed`](crate::any::AnyObject::managed)).
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6` and `k8s.io/apimachinery/pkg/util/managedfields`.

mod check;
mod compare;
mod element;
mod fields_of;
mod fields_v1;
mod go;
mod last_applied;
mod managers;
mod merge;
#[cfg(test)]
mod properties;
mod remove;
mod request;
pub mod scale;
mod set;
mod step;
#[cfg(test)]
mod tests;
mod tree;
mod types;

use std::fmt::{self, Display};

use crate::codec;

pub use compare::Comparison;
pub use managers::{Entry, Managed, Manager, Operation};
pub use request::{Applied, ApplyError, Conflict, OneVersion, Request, Reset, State, Versions};
pub use set::{Node, Set};
pub use step::{NotAStep, Number, Scalar, Step};
pub use types::{Kind, Primitive, Schema, Type};

/// Whether two objects, as they are stored, are the same but for the times of their managers.
///
/// Source: upstream's `IgnoreManagedFieldsTimestampsTransformer`.
#[must_use]
pub fn same_but_times(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (Some((a, of_a)), Some((b, of_b))) = (codec::split_managed(a), codec::split_managed(b)) else { return false };
    let same = || match (Managed::read(&of_a), Managed::read(&of_b)) {
        (Ok(a), Ok(b)) => a.same_but_times(&b),
        _ => false,
    };
    a == b && same()
}

/// Why a value is not of the type that it should be, or entries are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// `.spec.containers[name="c"]`, or nothing.
    path: String,
    message: String,
}

impl std::error::Error for Error {}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// The error as one of what is below a step.
    fn below(self, step: &Step<'_>) -> Self {
        Self { path: format!("{step}{}", self.path), ..self }
    }

    fn at_element(self, index: usize) -> Self {
        Self { message: format!("element {index}: {}", self.message), ..self }
    }
}
