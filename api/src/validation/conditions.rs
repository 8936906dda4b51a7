//! The conditions that the status of many kinds has. Source: `metav1validation.ValidateConditions`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::rules::{named, not_negative, one_of, unique};
use crate::field::{Errors, Path};
use crate::names;

const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Conditions have types of their own, and say since when and why.
pub(super) fn conditions(conditions: &[Condition], list: &Path<'_>, errors: &mut Errors) {
    unique(conditions, |c| Some(c.type_.clone()), list, Some("type"), errors);
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        errors.invalid_each(&path.child("type"), &condition.type_, names::qualified(&condition.type_));
        one_of(&condition.status, &["False", "True", "Unknown"], &path.child("status"), errors);
        not_negative(condition.observed_generation, &path.child("observedGeneration"), errors);
        if condition.last_transition_time.0 == Timestamp::UNIX_EPOCH {
            errors.required(&path.child("lastTransitionTime"), "must be set");
        }
        named(&condition.reason, names::condition_reason, &path.child("reason"), errors);
        if condition.reason.len() > REASON_BYTES_MAX {
            errors.too_long(&path.child("reason"), REASON_BYTES_MAX);
        }
        if condition.message.len() > MESSAGE_BYTES_MAX {
            errors.too_long(&path.child("message"), MESSAGE_BYTES_MAX);
        }
    }
}
