//! Nodes. Source: `pkg/registry/core/node/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::Node;

use super::{Strategy, typed, typed_mut};

pub(super) struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<Node>(object).status.clone_from(&typed::<Node>(old).status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<Node>(object).spec.clone_from(&typed::<Node>(old).spec);
    }
}
