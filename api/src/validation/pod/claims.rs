//! The devices that pods claim, and which container uses which.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{PodResourceClaim, ResourceClaim};

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::text;

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
        for (field, name) in [("resourceClaimName", own), ("resourceClaimTemplateName", template)] {
            if let Some(name) = name {
                errors.invalid_each(&path.child(field), name, names::dns_subdomain(name));
            }
        }
    }
}

/// A container uses what its pod claims, each claim as a whole or request by request.
pub(super) fn of_container(claims: &[ResourceClaim], claimed: &HashSet<&str>, list: &Path<'_>, errors: &mut Errors) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (i, claim) in claims.iter().enumerate() {
        let path = list.index(i);
        let (name, request) = (claim.name.as_str(), text(claim.request.as_ref()));
        if name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        if seen.contains(&(name, "")) {
            errors.duplicate(&path, name);
        } else {
            if !request.is_empty() {
                errors.invalid_each(&path.child("request"), request, names::dns_label(request));
            }
            if seen.iter().any(|(other, of)| *other == name && (request.is_empty() || *of == request)) {
                errors.duplicate(&path, name);
            }
            seen.push((name, request));
        }
        if !claimed.contains(name) {
            errors.not_found(&path, name);
        }
    }
}
