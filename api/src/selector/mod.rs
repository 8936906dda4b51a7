//! Choosing objects by their labels and by some of their fields.

mod field;
mod label;

pub use field::{FieldSelector, FieldTerm, fields_of};
pub use label::{LabelSelector, Operator, Requirement, format as format_labels};

/// A text, or a typed selector, that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(crate) String);
