//! Pod templates. Source: `pkg/registry/core/podtemplate/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::PodTemplate;

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct PodTemplateStrategy;

impl Strategy for PodTemplateStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        first_generation(&mut typed_mut::<PodTemplate>(object).metadata);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (template, old) = (typed_mut::<PodTemplate>(object), typed::<PodTemplate>(old));
        next_generation(&mut template.metadata, template.template != old.template);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}
