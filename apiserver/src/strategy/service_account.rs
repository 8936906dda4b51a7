//! Service accounts. Source: `pkg/registry/core/serviceaccount/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};

use super::{Strategy, typed_mut};

pub(super) struct ServiceAccountStrategy;

impl Strategy for ServiceAccountStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        keep_names(typed_mut::<ServiceAccount>(object));
    }

    fn prepare_for_update(&self, object: &mut AnyObject, _: &AnyObject) {
        keep_names(typed_mut::<ServiceAccount>(object));
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

/// Secrets are those of the account's own namespace: of a reference only the name is kept.
fn keep_names(account: &mut ServiceAccount) {
    for secret in account.secrets.iter_mut().flatten() {
        *secret = ObjectReference { name: secret.name.take(), ..ObjectReference::default() };
    }
}
