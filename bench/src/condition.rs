//! Conditions, as pods, nodes and jobs have them.

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Whether `Ready` is among the conditions, and true.
pub fn is_ready(conditions: &[Condition]) -> bool {
    is_true(conditions, "Ready")
}

/// Whether `kind` is among the conditions, and true.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|condition| condition.kind == kind && condition.status == "True")
}
