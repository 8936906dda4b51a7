//! The three kinds of patches, as functions of JSON values.
//!
//! The API server reads the stored object as a value, applies one of these, and then takes the path of a body that was
//! sent whole: what a patch makes is checked as strictly. What a strategic merge patch makes goes through [`convert`] first,
//! since Go reads it in another way than a body.

pub mod convert;
pub mod json;
pub mod merge;
#[cfg(test)]
mod properties;
pub mod strategic;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::status::ApiError;
use crate::{codec, go};

/// Why a patch can't be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no patch.
    #[error("{0}")]
    Malformed(String),
    /// It is a patch, but not for this object.
    #[error("{0}")]
    Inapplicable(String),
    /// It has more operations than a patch may.
    #[error("{count} operations are more than {max}")]
    TooMany { max: usize, count: usize },
    /// It is a patch with something in it that upstream has no word for.
    #[error("{0}")]
    Unclassified(String),
}

/// Source: `interpretStrategicMergePatchError` and `applyJSPatch`, which say of some faults only that there is one.
impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Malformed(message) => ApiError::BadRequest(message),
            Error::Inapplicable(_) => ApiError::Unprocessable,
            Error::TooMany { max, count } => ApiError::TooManyOperations { max, count },
            Error::Unclassified(message) => ApiError::Unclassified(message),
        }
    }
}

/// A patch that has been read, and what stands in it that should not: keys that stand twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Read<P> {
    pub patch: P,
    pub findings: Vec<String>,
}

/// The members of an object that a patch of its own form is about; `None` when it may be about all of it: directives are.
#[must_use]
pub fn members(patch: &Value) -> Option<BTreeSet<String>> {
    let keys = patch.as_object()?.keys();
    keys.map(|key| (!key.starts_with('$')).then(|| key.clone())).collect()
}

/// Reads a value, and what stands twice in it.
fn read_value(patch: &[u8]) -> Result<Read<Value>, String> {
    match codec::decode_value(patch, codec::Format::Json) {
        Ok(decoded) => Ok(Read { patch: decoded.object, findings: decoded.warnings }),
        Err(error) => Err(error.to_string()),
    }
}

/// What Go's decoder says of a value that is no object.
fn no_map(found: &Value) -> String {
    format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", go::json_name(found))
}
