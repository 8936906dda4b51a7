//! What subresources are given: scales, bindings, options.

use k8s_openapi::api::{authentication::v1::TokenRequest, autoscaling::v1::Scale, core::v1::Binding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;

use super::Validate;
use super::rules::{not_negative, text};
use crate::field::{Errors, Path};
use crate::limits;

impl Validate for Scale {
    fn validate(&self, errors: &mut Errors) {
        scale(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        scale(self, errors);
    }
}

pub(super) fn scale(scale: &Scale, errors: &mut Errors) {
    let replicas = scale.spec.as_ref().and_then(|s| s.replicas);
    not_negative(replicas, &Path::new("spec").child("replicas"), errors);
}

/// What is wrong with the binding of a pod to a node.
#[must_use]
pub fn binding(binding: &Binding) -> Errors {
    let mut errors = Errors::new();
    let target = Path::new("target");
    let kind = text(binding.target.kind.as_ref());
    if !matches!(kind, "" | "Node") {
        errors.not_supported(&target.child("kind"), kind, &["Node", "<empty>"]);
    }
    if text(binding.target.name.as_ref()).is_empty() {
        errors.required(&target.child("name"), "");
    }
    errors
}

/// What is wrong with a request for a service account's token.
#[must_use]
pub fn token_request(request: &TokenRequest) -> Errors {
    let mut errors = Errors::new();
    let spec = Path::new("spec");
    let path = spec.child("expirationSeconds");
    let seconds = request.spec.as_ref().and_then(|spec| spec.expiration_seconds);
    if let Some(seconds) = seconds.filter(|seconds| *seconds < limits::TOKEN_SECONDS_MIN) {
        errors.invalid(&path, &seconds, "may not specify a duration less than 10 minutes");
    }
    if let Some(seconds) = seconds.filter(|seconds| *seconds > limits::TOKEN_SECONDS_MAX) {
        errors.invalid(&path, &seconds, "may not specify a duration larger than 2^32 seconds");
    }
    errors
}

/// What is wrong with the options of a deletion.
#[must_use]
pub fn delete_options(options: &DeleteOptions) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("propagationPolicy");
    let policy = options.propagation_policy.as_deref();
    if options.orphan_dependents.is_some() && policy.is_some() {
        let rule = "orphanDependents and deletionPropagation cannot be both set";
        errors.invalid(&path, &policy, rule);
    }
    if let Some(policy) = policy.filter(|p| !matches!(*p, "Foreground" | "Background" | "Orphan")) {
        errors.not_supported(&path, policy, &["Foreground", "Background", "Orphan", "nil"]);
    }
    if let Some(dry_run) = options.dry_run.as_ref().filter(|values| values.iter().any(|value| value != "All")) {
        errors.value_not_supported(&Path::new("dryRun"), dry_run, &["All"]);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_fit_each_other() {
        let options = |policy: &str, orphan: Option<bool>| DeleteOptions {
            propagation_policy: Some(policy.to_owned()),
            orphan_dependents: orphan,
            ..DeleteOptions::default()
        };
        assert!(delete_options(&options("Orphan", None)).is_empty());
        assert_eq!(delete_options(&options("Sideways", None)).len(), 1);
        assert_eq!(delete_options(&options("Orphan", Some(true))).len(), 1);
        assert_eq!(binding(&Binding::default()).len(), 1);
    }
}
