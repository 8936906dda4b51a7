//! A claim that names no class gets the one that is marked as default.
//!
//! Source: the admission plugin `DefaultStorageClass`.

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Plugin, Review, newest};

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(super) struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.creates::<PersistentVolumeClaim>() && names_no_class(review.object())
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        let Some(classes) = review.api.resources.builtin("storage.k8s.io", "v1", "storageclasses") else {
            return Ok(());
        };
        if let Some(class) = newest::<StorageClass>(review.api, classes, is_marked)? {
            review.object_mut::<PersistentVolumeClaim>().spec.get_or_insert_default().storage_class_name = Some(class);
        }
        Ok(())
    }
}

fn names_no_class(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.as_ref().is_none_or(|spec| spec.storage_class_name.is_none())
        && annotation(&claim.metadata, CLASS_ANNOTATION).is_none()
}

fn annotation<'m>(meta: &'m ObjectMeta, key: &str) -> Option<&'m str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

fn is_marked(meta: &ObjectMeta) -> bool {
    MARKS.iter().any(|mark| annotation(meta, mark) == Some("true"))
}
