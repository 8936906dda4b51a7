//! Objects of custom kinds: what their definition says decides what a write may touch.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/registry/customresource/{strategy,status_strategy}.go`.

use coracle_api::any::AnyObject;
use coracle_api::custom::CustomObject;

use super::{Strategy, first_generation, next_generation};

pub(super) struct CustomStrategy;

impl Strategy for CustomStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let object = custom_mut(object);
        if object.model.has_status {
            object.rest.remove("status");
        }
        first_generation(&mut object.metadata);
    }

    /// Without a status subresource the status is a part like any other, and its change a new generation.
    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (object, old) = (custom_mut(object), custom(old));
        if object.model.has_status {
            object.keep_status(old);
        }
        let changed = object.rest != old.rest;
        next_generation(&mut object.metadata, changed);
    }

    /// Nothing but the status is written, not even the metadata.
    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let object = custom_mut(object);
        let mut kept = custom(old).clone();
        kept.keep_status(object);
        kept.metadata.managed_fields = object.metadata.managed_fields.take();
        kept.metadata.resource_version = object.metadata.resource_version.take();
        *object = kept;
    }
}

fn custom(object: &AnyObject) -> &CustomObject {
    object.custom().expect("the strategy is that of custom kinds")
}

fn custom_mut(object: &mut AnyObject) -> &mut CustomObject {
    object.custom_mut().expect("the strategy is that of custom kinds")
}
