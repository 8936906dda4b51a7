//! The names of resources that are counted, and how much of one there may be: the rules that quotas, limit ranges and
//! volumes share.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use super::rules::NOT_NEGATIVE;
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::parse_or_zero;

/// What containers ask for.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// What a quota counts without a domain, beside huge pages.
const QUOTA: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

/// What there is a whole number of.
const WHOLE: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Whether a quota knows the name of itself.
pub(super) fn is_standard_of_quota(name: &str) -> bool {
    QUOTA.contains(&name) || is_huge_pages(name)
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

/// Whether the name is of Kubernetes' own.
pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the name is of somebody's device.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}

/// Whether a node may promise more of it than it has.
pub(super) fn may_be_over_committed(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// A name that Kubernetes knows, or one with a domain.
pub(super) fn resource_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let wrong = names::qualified(name);
    if wrong.is_empty() && !name.contains('/') && name != "storage" && !is_standard_of_quota(name) {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
    errors.invalid_each(path, name, wrong);
}

/// A name of what containers may ask for.
pub(super) fn container_resource_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    resource_name(name, path, errors);
    if !name.contains('/') {
        if !COMPUTE.contains(&name) && !name.starts_with("hugepages-") {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// A name of what quotas count.
pub(super) fn quota_resource_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    resource_name(name, path, errors);
    if !name.contains('/') && !is_standard_of_quota(name) {
        errors.invalid(path, name, "must be a standard resource for quota");
    }
}

/// An amount of what is so called.
pub(super) fn amount(name: &str, text: &Text, path: &Path<'_>, errors: &mut Errors) {
    not_negative(text, path, errors);
    if (WHOLE.contains(&name) || is_extended(name)) && !parse_or_zero(Some(text)).is_whole() {
        errors.invalid(path, text, "must be an integer");
    }
}

/// An amount must not be less than nothing.
pub(super) fn not_negative(text: &Text, path: &Path<'_>, errors: &mut Errors) {
    if parse_or_zero(Some(text)).is_negative() {
        errors.invalid(path, text, NOT_NEGATIVE);
    }
}

/// An amount must be more than nothing.
pub(super) fn positive(text: &Text, path: &Path<'_>, errors: &mut Errors) {
    let amount = parse_or_zero(Some(text));
    if amount.is_negative() || amount.is_zero() {
        errors.invalid(path, text, "must be greater than zero");
    }
}
