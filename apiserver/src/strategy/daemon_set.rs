//! Daemon sets. They count the generations of their template apart, in an annotation that once was a field.
//!
//! Source: `pkg/registry/apps/daemonset/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct DaemonSetStrategy;

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

impl Strategy for DaemonSetStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let set = typed_mut::<DaemonSet>(object);
        set.status = Some(DaemonSetStatus::default());
        first_generation(&mut set.metadata);
        set_template_generation(set, template_generation(set).max(1));
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (set, old) = (typed_mut::<DaemonSet>(object), typed::<DaemonSet>(old));
        set.status.clone_from(&old.status);
        let template = |set: &DaemonSet| set.spec.as_ref().map(|spec| spec.template.clone());
        let step = i64::from(template(set) != template(old));
        set_template_generation(set, template_generation(old) + step);
        next_generation(&mut set.metadata, set.spec != old.spec);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (set, old) = (typed_mut::<DaemonSet>(object), typed::<DaemonSet>(old));
        set.spec.clone_from(&old.spec);
        set_template_generation(set, template_generation(old));
    }
}

fn template_generation(set: &DaemonSet) -> i64 {
    let annotation = set.metadata.annotations.as_ref().and_then(|all| all.get(TEMPLATE_GENERATION));
    annotation.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn set_template_generation(set: &mut DaemonSet, generation: i64) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::DaemonSetSpec;

    #[test]
    fn generations_are_counted() {
        let mut first = AnyObject::new(DaemonSet { spec: Some(DaemonSetSpec::default()), ..DaemonSet::default() });
        DaemonSetStrategy.prepare_for_create(&mut first);
        let told = |object: &AnyObject| (object.meta().generation, template_generation(typed(object)));
        assert_eq!(told(&first), (Some(1), 1));
        let mut slower = first.clone();
        typed_mut::<DaemonSet>(&mut slower).spec.get_or_insert_default().min_ready_seconds = Some(5);
        DaemonSetStrategy.prepare_for_update(&mut slower, &first);
        assert_eq!(told(&slower), (Some(2), 1));
        let mut other = slower.clone();
        typed_mut::<DaemonSet>(&mut other).metadata.annotations = None;
        typed_mut::<DaemonSet>(&mut other).spec.get_or_insert_default().template.spec = Some(Default::default());
        DaemonSetStrategy.prepare_for_update(&mut other, &slower);
        assert_eq!(told(&other), (Some(3), 2));
    }
}
