//! Limit ranges: one that has no name gets one. Source: `pkg/registry/core/limitrange/strategy.go`.

use coracle_api::any::AnyObject;

use super::Strategy;

pub(super) struct LimitRangeStrategy;

impl Strategy for LimitRangeStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let meta = object.meta_mut();
        let empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        if empty(&meta.name) && empty(&meta.generate_name) {
            meta.name = Some(uuid::Uuid::new_v4().to_string());
        }
    }

    fn creates_on_update(&self) -> bool {
        true
    }
}
