//! Leases. A client that finds none makes it with the same PUT. Source: `pkg/registry/coordination/lease/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};

use super::{Strategy, typed, typed_mut};

pub(super) struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        drop_coordination(typed_mut::<Lease>(object), None);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        drop_coordination(typed_mut::<Lease>(object), typed::<Lease>(old).spec.as_ref());
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}

/// Coordinated elections are off, as they are by default: what is said of them is not kept.
fn drop_coordination(lease: &mut Lease, old: Option<&LeaseSpec>) {
    let Some(spec) = &mut lease.spec else { return };
    if old.is_none_or(|old| old.strategy.is_none()) {
        spec.strategy = None;
    }
    if old.is_none_or(|old| old.preferred_holder.is_none()) {
        spec.preferred_holder = None;
    }
}
