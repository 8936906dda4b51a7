//! The defaults of autoscalers: by the use of processors, within bounds that are changed gently.

use k8s_openapi::api::autoscaling::{v1, v2};

use super::{Defaults, set, set_text};

pub(crate) const CPU_PERCENT: i32 = 80;
const PERIOD_SECONDS: i32 = 15;

impl Defaults for v1::HorizontalPodAutoscaler {
    fn set_defaults(&mut self) {
        set(&mut self.spec.min_replicas, 1);
    }
}

impl Defaults for v2::HorizontalPodAutoscaler {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        set(&mut spec.min_replicas, 1);
        if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
            spec.metrics = Some(vec![cpu(CPU_PERCENT)]);
        }
        if let Some(behavior) = &mut spec.behavior {
            let up = behavior.scale_up.get_or_insert_default();
            set(&mut up.stabilization_window_seconds, 0);
            rules(up, || vec![policy("Pods", 4), policy("Percent", 100)]);
            rules(behavior.scale_down.get_or_insert_default(), || vec![policy("Percent", 100)]);
        }
    }
}

/// The processors that pods use, as a part of what they ask for.
pub(crate) fn cpu(percent: i32) -> v2::MetricSpec {
    v2::MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(v2::ResourceMetricSource {
            name: "cpu".to_owned(),
            target: v2::MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..v2::MetricTarget::default()
            },
        }),
        ..v2::MetricSpec::default()
    }
}

fn rules(rules: &mut v2::HPAScalingRules, policies: impl FnOnce() -> Vec<v2::HPAScalingPolicy>) {
    set_text(&mut rules.select_policy, "Max");
    rules.policies.get_or_insert_with(policies);
}

fn policy(type_: &str, value: i32) -> v2::HPAScalingPolicy {
    v2::HPAScalingPolicy { type_: type_.to_owned(), value, period_seconds: PERIOD_SECONDS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::object;

    #[test]
    fn behavior_is_completed() {
        let scaler = object::<v2::HorizontalPodAutoscaler>(
            r#"{"spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"D","name":"d"},"behavior":{"scaleDown":{"selectPolicy":"Min"}}}}"#,
        );
        let json: serde_json::Value = serde_json::from_slice(&scaler.encode()).expect("JSON");
        assert_eq!(
            json["spec"]["behavior"].to_string(),
            r#"{"scaleDown":{"policies":[{"periodSeconds":15,"type":"Percent","value":100}],"selectPolicy":"Min"},"scaleUp":{"policies":[{"periodSeconds":15,"type":"Pods","value":4},{"periodSeconds":15,"type":"Percent","value":100}],"selectPolicy":"Max","stabilizationWindowSeconds":0}}"#
        );
        assert_eq!(json["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    }
}
