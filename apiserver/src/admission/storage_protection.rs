//! A volume or a claim that is in use is not gone before it no longer is.
//!
//! Source: the admission plugin `StorageObjectInUseProtection`.

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use super::{Plugin, Review};

pub(super) struct StorageProtection;

/// The finalizer by which the controller of the kind holds its objects.
fn finalizer(review: &Review<'_>) -> Option<&'static str> {
    if review.creates::<PersistentVolumeClaim>() {
        Some("kubernetes.io/pvc-protection")
    } else if review.creates::<PersistentVolume>() {
        Some("kubernetes.io/pv-protection")
    } else if review.creates::<VolumeAttributesClass>() {
        Some("kubernetes.io/vac-protection")
    } else {
        None
    }
}

#[async_trait]
impl Plugin for StorageProtection {
    fn concerns(&self, review: &Review<'_>) -> bool {
        finalizer(review).is_some()
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        let Some(finalizer) = finalizer(review) else { return Ok(()) };
        let finalizers = review.object.meta_mut().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|own| own == finalizer) {
            finalizers.push(finalizer.to_owned());
        }
        Ok(())
    }
}
