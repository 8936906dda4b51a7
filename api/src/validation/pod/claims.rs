//! The devices that pods claim, and which container uses which.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{PodResourceClaim, PodSpec, ResourceClaim};

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::named_if_set;

pub(super) fn of_pod(claims: &[PodResourceClaim], list: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let path = list.index(i);
        let name = path.child("name");
        if claim.name.is_empty() {
            errors.required(&name, "");
        } else if !seen.insert(&claim.name) {
            errors.duplicate(&name, &claim.name);
        } else {
            errors.invalid_each(&name, &claim.name, names::dns_label(&claim.name));
        }
        let (own, template) = (&claim.resource_claim_name, &claim.resource_claim_template_name);
        match (own, template) {
            (Some(_), Some(_)) => {
                let rule = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&path, claim, rule);
            }
            (None, None) => {
                let rule = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, claim, rule);
            }
            _ => {}
        }
        named_if_set(own.as_ref(), names::dns_subdomain, &path.child("resourceClaimName"), errors);
        named_if_set(template.as_ref(), names::dns_subdomain, &path.child("resourceClaimTemplateName"), errors);
    }
}

/// A container uses what its pod claims.
pub(super) fn of_container(claims: &[ResourceClaim], spec: &PodSpec, list: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, claim) in claims.iter().enumerate() {
        let path = list.index(i);
        if claim.name.is_empty() {
            errors.required(&path, "");
        } else if !seen.insert((&claim.name, &claim.request)) {
            errors.duplicate(&path, &claim.name);
        } else if !spec.resource_claims.iter().flatten().any(|own| own.name == claim.name) {
            errors.not_found(&path, &claim.name);
        }
    }
}
