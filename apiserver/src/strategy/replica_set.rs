//! Replica sets. Source: `pkg/registry/apps/replicaset/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct ReplicaSetStrategy;

impl Strategy for ReplicaSetStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let set = typed_mut::<ReplicaSet>(object);
        set.status = Some(ReplicaSetStatus::default());
        first_generation(&mut set.metadata);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (set, old) = (typed_mut::<ReplicaSet>(object), typed::<ReplicaSet>(old));
        set.status.clone_from(&old.status);
        next_generation(&mut set.metadata, set.spec != old.spec);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<ReplicaSet>(object).spec.clone_from(&typed::<ReplicaSet>(old).spec);
    }
}
