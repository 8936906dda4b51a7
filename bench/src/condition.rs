//! Conditions, as pods and nodes have them.

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Whether `Ready` is among the conditions, and true.
pub fn is_ready(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.kind == "Ready" && condition.status == "True")
}
