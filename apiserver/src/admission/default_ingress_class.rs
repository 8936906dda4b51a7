//! An ingress that names no class gets the one that is marked as default.
//!
//! Source: the admission plugin `DefaultIngressClass`.

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Plugin, Review, newest};

/// By which an ingress named its class before there was a field for it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const MARK: &str = "ingressclass.kubernetes.io/is-default-class";

pub(super) struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.creates::<Ingress>() && names_no_class(review.object())
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        let Some(classes) = review.api.resources.builtin("networking.k8s.io", "v1", "ingressclasses") else {
            return Ok(());
        };
        if let Some(class) = newest::<IngressClass>(review.api, classes, is_marked)? {
            review.object_mut::<Ingress>().spec.get_or_insert_default().ingress_class_name = Some(class);
        }
        Ok(())
    }
}

fn names_no_class(ingress: &Ingress) -> bool {
    let annotations = ingress.metadata.annotations.as_ref();
    ingress.spec.as_ref().is_none_or(|spec| spec.ingress_class_name.is_none())
        && annotations.is_none_or(|annotations| !annotations.contains_key(CLASS_ANNOTATION))
}

fn is_marked(meta: &ObjectMeta) -> bool {
    meta.annotations.as_ref().is_some_and(|annotations| annotations.get(MARK).is_some_and(|mark| mark == "true"))
}
