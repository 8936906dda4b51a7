//! Resource quotas: what is used is the server's and the controller's to say. Source:
//! `pkg/registry/core/resourcequota/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};

use super::{Strategy, typed, typed_mut};

pub(super) struct ResourceQuotaStrategy;

impl Strategy for ResourceQuotaStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        typed_mut::<ResourceQuota>(object).status = Some(ResourceQuotaStatus::default());
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<ResourceQuota>(object).status.clone_from(&typed::<ResourceQuota>(old).status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<ResourceQuota>(object).spec.clone_from(&typed::<ResourceQuota>(old).spec);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}
