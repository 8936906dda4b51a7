//! The kinds of `admissionregistration.k8s.io`.

mod policy;
mod rule;
pub(super) mod webhook;

use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use super::rules::{named, unique};
use crate::custom::cel::{Gives, Scope};
use crate::field::{Errors, Path};
use crate::names;

const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const REINVOCATION_POLICIES: [&str; 2] = ["IfNeeded", "Never"];
const CONDITIONS_MAX: usize = 64;

/// The conditions under which a webhook or a policy is asked at all.
fn conditions(conditions: &[MatchCondition], has_params: bool, list: &Path<'_>, errors: &mut Errors) {
    let scope = Scope::of_request(has_params).with_authorizer();
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(list, conditions.len(), CONDITIONS_MAX);
    }
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        expression(&condition.expression, &scope, Gives::Bool, &path.child("expression"), errors);
        named(&condition.name, names::qualified, &path.child("name"), errors);
    }
    let name = |c: &MatchCondition| Some(c.name.clone()).filter(|name| !name.is_empty());
    unique(conditions, name, list, Some("name"), errors);
}

/// An expression must be there, and give what is asked for.
fn expression(text: &str, scope: &Scope, gives: Gives, path: &Path<'_>, errors: &mut Errors) {
    if text.trim().is_empty() {
        errors.required(path, "");
    } else if let Err(wrong) = scope.compile(text, gives) {
        errors.invalid(path, text, &wrong);
    }
}
