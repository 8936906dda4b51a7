//! What containers ask for and are limited to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::field::{Errors, Path};
use crate::quantity::parse_or_zero;
use crate::validation::amounts;
use crate::validation::rules::NOT_NEGATIVE;

pub(super) fn requirements(resources: Option<&ResourceRequirements>, path: &Path<'_>, errors: &mut Errors) {
    let Some(resources) = resources else { return };
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    list(resources.limits.as_ref(), &limits_path, errors);
    list(resources.requests.as_ref(), &requests_path, errors);
    let all = || resources.limits.iter().chain(&resources.requests).flat_map(|list| list.keys());
    if all().any(|name| name.starts_with("hugepages-")) && !all().any(|name| matches!(name.as_str(), "cpu" | "memory"))
    {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
    for (name, text) in resources.requests.iter().flatten() {
        let request = parse_or_zero(Some(text));
        let limit = resources.limits.as_ref().and_then(|l| l.get(name));
        match limit {
            None if !may_be_over_committed(name) => {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            None => {}
            Some(limit) if !may_be_over_committed(name) && request != parse_or_zero(Some(limit)) => {
                errors.invalid(&requests_path, text, &format!("must be equal to {name} limit of {}", limit.0));
            }
            Some(limit) if request > parse_or_zero(Some(limit)) => {
                errors.invalid(
                    &requests_path,
                    text,
                    &format!("must be less than or equal to {name} limit of {}", limit.0),
                );
            }
            Some(_) => {}
        }
    }
}

pub(super) fn list(list: Option<&BTreeMap<String, Text>>, path: &Path<'_>, errors: &mut Errors) {
    for (name, text) in list.into_iter().flatten() {
        let path = path.key(name);
        amounts::container_resource_name(name, &path, errors);
        let amount = parse_or_zero(Some(text));
        if amount.is_negative() {
            errors.invalid(&path, text, NOT_NEGATIVE);
        }
        if !may_be_over_committed(name) && !amount.is_whole() {
            errors.invalid(&path, text, "must be an integer");
        }
        if name == "cpu" && !amount.is_whole_milli() {
            errors.invalid(&path, text, "must be a whole number of thousandths");
        }
    }
}

/// What a node may promise to more than can have it at once.
fn may_be_over_committed(name: &str) -> bool {
    !name.starts_with("hugepages-") && (!name.contains('/') || name.starts_with("kubernetes.io/"))
}
