//! Autoscalers. What is said in `v1` is a matter of the version that is stored, whose rules these are.
//!
//! Source: `pkg/registry/autoscaling/horizontalpodautoscaler/strategy.go`.

use coracle_api::any::AnyObject;
use coracle_api::convert::autoscaling::{drop_annotations, to_v1, to_v2};
use k8s_openapi::api::autoscaling::v1;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};

use super::{Strategy, typed, typed_mut};

pub(super) struct AutoscalerStrategy;

impl Strategy for AutoscalerStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        change(object, |scaler| scaler.status = Some(HorizontalPodAutoscalerStatus::default()));
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let old = stored(old);
        change(object, |scaler| scaler.status = old.status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let old = stored(old);
        change(object, |scaler| scaler.spec = old.spec);
    }
}

fn stored(object: &AnyObject) -> HorizontalPodAutoscaler {
    match object.downcast_ref::<v1::HorizontalPodAutoscaler>() {
        Some(old_form) => to_v2(old_form.clone()),
        None => typed::<HorizontalPodAutoscaler>(object).clone(),
    }
}

fn change(object: &mut AnyObject, change: impl FnOnce(&mut HorizontalPodAutoscaler)) {
    if let Some(old_form) = object.downcast_mut::<v1::HorizontalPodAutoscaler>() {
        let mut scaler = to_v2(std::mem::take(old_form));
        change(&mut scaler);
        *old_form = to_v1(scaler);
    } else {
        let scaler = typed_mut::<HorizontalPodAutoscaler>(object);
        drop_annotations(&mut scaler.metadata.annotations);
        change(scaler);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::object::Object;

    #[test]
    fn neither_version_writes_more_than_its_part() {
        let scaler = |max: i32, replicas: i32| {
            let json = format!(
                r#"{{"metadata":{{"name":"h"}},"spec":{{"maxReplicas":{max},"scaleTargetRef":{{"kind":"D","name":"d"}}}},"status":{{"currentReplicas":{replicas},"desiredReplicas":0}}}}"#
            );
            AnyObject::new(v1::HorizontalPodAutoscaler::decode(json.as_bytes()).expect("an autoscaler"))
        };
        let told = |object: &AnyObject| {
            let scaler = stored(object);
            let replicas = scaler.status.and_then(|status| status.current_replicas);
            (scaler.spec.max_replicas, replicas)
        };
        let (old, mut new) = (scaler(1, 1), scaler(2, 2));
        AutoscalerStrategy.prepare_for_update(&mut new, &old);
        assert_eq!(told(&new), (2, Some(1)));
        let mut new = scaler(2, 2);
        AutoscalerStrategy.prepare_for_status(&mut new, &old);
        assert_eq!(told(&new), (1, Some(2)));
    }
}
