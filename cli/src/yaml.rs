//! YAML to and from JSON values: documents of manifests, and `-o yaml`.

use serde_json::Value;

use crate::failure::Failure;

/// Reads one document, YAML or JSON.
///
/// # Errors
/// When it is neither; the text says where.
pub fn parse(text: &str) -> Result<Value, serde_saphyr::Error> {
    serde_saphyr::from_str(text)
}

/// Writes a value.
///
/// # Errors
/// Never for what came as JSON.
pub fn print(value: &Value) -> Result<String, Failure> {
    Ok(serde_saphyr::to_string(value)?)
}
