//! Priority classes, of which little may change. Source: `pkg/registry/scheduling/priorityclass/strategy.go`.

use coracle_api::any::AnyObject;

use super::{Strategy, first_generation};

pub(super) struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        first_generation(object.meta_mut());
    }
}
