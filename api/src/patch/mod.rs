//! The three kinds of patches, as functions of JSON values.
//!
//! The API server reads the stored object as a value, applies one of these, and then takes the path of a body that was
//! sent whole: what a patch makes is checked as strictly.

pub mod json;
pub mod merge;
#[cfg(test)]
mod properties;
pub mod strategic;

use crate::status::ApiError;

/// Why a patch can't be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no patch.
    #[error("{0}")]
    Malformed(String),
    /// It is a patch, but not for this object.
    #[error("the server rejected our request due to an error in our request: {0}")]
    Inapplicable(String),
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Malformed(message) => ApiError::BadRequest(message),
            error @ Error::Inapplicable(_) => ApiError::Unprocessable(error.to_string()),
        }
    }
}
