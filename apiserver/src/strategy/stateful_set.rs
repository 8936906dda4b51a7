//! Stateful sets. Source: `pkg/registry/apps/statefulset/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::apps::v1::{RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetStatus};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct StatefulSetStrategy;

impl Strategy for StatefulSetStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let set = typed_mut::<StatefulSet>(object);
        set.status = Some(StatefulSetStatus::default());
        drop_max_unavailable(set, None);
        first_generation(&mut set.metadata);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (set, old) = (typed_mut::<StatefulSet>(object), typed::<StatefulSet>(old));
        set.status.clone_from(&old.status);
        drop_max_unavailable(set, Some(old));
        next_generation(&mut set.metadata, set.spec != old.spec);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<StatefulSet>(object).spec.clone_from(&typed::<StatefulSet>(old).spec);
    }
}

/// How many pods may be missing during an update is off in v1.36, as it is by default: it is kept where it was said before.
fn drop_max_unavailable(set: &mut StatefulSet, old: Option<&StatefulSet>) {
    let is_said = |set: &StatefulSet| rolling(set).is_some_and(|rolling| rolling.max_unavailable.is_some());
    if old.is_some_and(is_said) {
        return;
    }
    let strategy = set.spec.as_mut().and_then(|spec| spec.update_strategy.as_mut());
    if let Some(rolling) = strategy.and_then(|strategy| strategy.rolling_update.as_mut()) {
        rolling.max_unavailable = None;
    }
}

fn rolling(set: &StatefulSet) -> Option<&RollingUpdateStatefulSetStrategy> {
    set.spec.as_ref()?.update_strategy.as_ref()?.rolling_update.as_ref()
}
