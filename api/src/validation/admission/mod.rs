//! The kinds of `admissionregistration.k8s.io`.

mod policy;
mod rule;
pub(super) mod webhook;

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::rules::{named, unique};
use crate::custom::cel;
use crate::field::{Errors, Path};
use crate::names;

const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const REINVOCATION_POLICIES: [&str; 2] = ["IfNeeded", "Never"];
const CONDITIONS_MAX: usize = 64;

/// The conditions under which a webhook or a policy is asked at all.
fn conditions(conditions: &[MatchCondition], list: &Path<'_>, errors: &mut Errors) {
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(list, conditions.len(), CONDITIONS_MAX);
    }
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        expression(&condition.expression, "", &path.child("expression"), errors);
        named(&condition.name, names::qualified, &path.child("name"), errors);
    }
    let name = |c: &MatchCondition| Some(c.name.clone()).filter(|name| !name.is_empty());
    unique(conditions, name, list, Some("name"), errors);
}

/// An expression must be there, and be written as CEL is.
fn expression(text: &str, missing: &str, path: &Path<'_>, errors: &mut Errors) {
    if text.trim().is_empty() {
        errors.required(path, missing);
    } else if let Some(wrong) = cel::wrong_syntax(text) {
        errors.invalid(path, text, &wrong);
    }
}
