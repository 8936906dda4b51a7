//! Replication controllers. Source: `pkg/registry/core/replicationcontroller/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::{ReplicationController, ReplicationControllerStatus};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct ReplicationControllerStrategy;

impl Strategy for ReplicationControllerStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let controller = typed_mut::<ReplicationController>(object);
        controller.status = Some(ReplicationControllerStatus::default());
        first_generation(&mut controller.metadata);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (controller, old) = (typed_mut::<ReplicationController>(object), typed::<ReplicationController>(old));
        controller.status.clone_from(&old.status);
        next_generation(&mut controller.metadata, controller.spec != old.spec);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<ReplicationController>(object).spec.clone_from(&typed::<ReplicationController>(old).spec);
    }

    fn orphans_by_default(&self) -> bool {
        true
    }
}
