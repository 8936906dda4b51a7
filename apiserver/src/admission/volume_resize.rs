//! A claim grows only when it is bound, and when its class lets volumes grow.
//!
//! Source: the admission plugin `PersistentVolumeClaimResize`.

use async_trait::async_trait;
use coracle_api::quantity::{Quantity, parse_or_zero};
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::{Plugin, Review};
use crate::strategy::typed;

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) struct VolumeResize;

#[async_trait]
impl Plugin for VolumeResize {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.is_main::<PersistentVolumeClaim>()
            && review.old.is_some_and(|old| size(review.object()) > size(typed(old)))
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        let Some(old) = review.old.map(typed::<PersistentVolumeClaim>) else { return Ok(()) };
        if old.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            return Err(review.forbidden("Only bound persistent volume claims can be expanded"));
        }
        if !class_allows(review)? {
            let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
            return Err(review.forbidden(why));
        }
        Ok(())
    }
}

fn size(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    parse_or_zero(resources.and_then(|resources| resources.requests.as_ref()?.get("storage")))
}

fn class_allows(review: &Review<'_>) -> Result<bool, ApiError> {
    let claim = review.object::<PersistentVolumeClaim>();
    let annotation = claim.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    let field = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    let Some(name) = annotation.or(field) else { return Ok(false) };
    let classes = review.api.resources.builtin("storage.k8s.io", "v1", "storageclasses");
    let Some((classes, cached)) = classes.and_then(|classes| Some((classes, classes.cache.get(name)?))) else {
        return Ok(false);
    };
    Ok(typed::<StorageClass>(&classes.load(&cached)?).allow_volume_expansion == Some(true))
}
