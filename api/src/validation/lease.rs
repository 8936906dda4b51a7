//! Leases.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::rules::{POSITIVE, not_negative};
use super::{Validate, meta};
use crate::field::{Errors, Path};

impl Validate for Lease {
    fn validate(&self, errors: &mut Errors) {
        create(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update(self, old, errors);
    }
}

const SPEC: Path<'static> = Path::new("spec");

pub(super) fn create(lease: &Lease, errors: &mut Errors) {
    meta::create(&lease.metadata, meta::IN_NAMESPACE, errors);
    spec(lease.spec.as_ref(), errors);
}

pub(super) fn update(new: &Lease, _: &Lease, errors: &mut Errors) {
    spec(new.spec.as_ref(), errors);
}

fn spec(spec: Option<&LeaseSpec>, errors: &mut Errors) {
    let Some(spec) = spec else { return };
    if let Some(seconds) = spec.lease_duration_seconds.filter(|s| *s <= 0) {
        errors.invalid(&SPEC.child("leaseDurationSeconds"), &seconds, POSITIVE);
    }
    not_negative(spec.lease_transitions, &SPEC.child("leaseTransitions"), errors);
    if spec.preferred_holder.as_ref().is_some_and(|h| !h.is_empty())
        && spec.strategy.as_ref().is_none_or(String::is_empty)
    {
        errors.forbidden(&SPEC.child("preferredHolder"), "may only be specified if `strategy` is defined");
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::Lease;

    use crate::validation::tests::refused;

    #[test]
    fn leases_last() {
        let lease =
            r#"{"metadata":{"name":"a","namespace":"n"},"spec":{"leaseDurationSeconds":0,"leaseTransitions":-1}}"#;
        assert_eq!(refused::<Lease>(lease), ["spec.leaseDurationSeconds Invalid", "spec.leaseTransitions Invalid"]);
    }
}
