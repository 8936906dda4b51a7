//! Autoscalers are one kind of objects, shown in two versions: `v2`, in which they are stored, and `v1`, which knows of
//! processors alone. What `v1` cannot say it carries in annotations, so that nothing is lost on the way back.
//!
//! Source: `pkg/apis/autoscaling/v1/conversion.go`.

mod annotations;

use std::collections::BTreeMap;

use k8s_openapi::api::autoscaling::{v1, v2};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::defaults;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

type Annotations = Option<BTreeMap<String, String>>;

/// Forgets the annotations that are ours: no object is stored with them.
pub fn drop_annotations(annotations: &mut Annotations) {
    if let Some(all) = annotations {
        for key in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR] {
            all.remove(key);
        }
        if all.is_empty() {
            *annotations = None;
        }
    }
}

fn read<T: DeserializeOwned>(annotations: &Annotations, key: &str) -> Option<T> {
    serde_json::from_str(annotations.as_ref()?.get(key)?).ok()
}

fn write<T: Serialize>(annotations: &mut Annotations, key: &str, value: &T) {
    if let Ok(text) = serde_json::to_string(value) {
        annotations.get_or_insert_default().insert(key.to_owned(), text);
    }
}

fn is_cpu(name: Option<&String>) -> bool {
    name.is_some_and(|name| name == "cpu")
}

/// The percentage of a metric that `v1` can say.
fn cpu_percent(metric: &v2::MetricSpec) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|_| metric.type_ == "Resource")?;
    resource.target.average_utilization.filter(|_| is_cpu(Some(&resource.name)))
}

/// The autoscaler as `v1` has it.
#[must_use]
pub fn to_v1(scaler: v2::HorizontalPodAutoscaler) -> v1::HorizontalPodAutoscaler {
    let mut metadata = scaler.metadata;
    drop_annotations(&mut metadata.annotations);
    let spec = scaler.spec;
    let metrics = spec.metrics.unwrap_or_default();
    let target_cpu_utilization_percentage = metrics.iter().find_map(cpu_percent);
    let others: Vec<annotations::Metric> =
        metrics.into_iter().filter(|metric| cpu_percent(metric).is_none()).map(annotations::Metric::from).collect();
    if !others.is_empty() {
        write(&mut metadata.annotations, METRICS, &others);
    }
    if let Some(behavior) = spec.behavior {
        write(&mut metadata.annotations, BEHAVIOR, &annotations::Behavior::from(behavior));
    }
    let status = scaler.status.map(|status| status_to_v1(status, &mut metadata.annotations));
    v1::HorizontalPodAutoscaler {
        metadata,
        spec: v1::HorizontalPodAutoscalerSpec {
            max_replicas: spec.max_replicas,
            min_replicas: spec.min_replicas,
            scale_target_ref: v1::CrossVersionObjectReference {
                api_version: spec.scale_target_ref.api_version,
                kind: spec.scale_target_ref.kind,
                name: spec.scale_target_ref.name,
            },
            target_cpu_utilization_percentage,
        },
        status,
    }
}

fn status_to_v1(
    status: v2::HorizontalPodAutoscalerStatus,
    annotations: &mut Annotations,
) -> v1::HorizontalPodAutoscalerStatus {
    let current = status.current_metrics.unwrap_or_default();
    let current_cpu_utilization_percentage = current.iter().find_map(|metric| {
        let resource = metric.resource.as_ref().filter(|_| metric.type_ == "Resource")?;
        resource.current.average_utilization.filter(|_| is_cpu(Some(&resource.name)))
    });
    // With what is used of processors: the percentage leaves out how much that is.
    if !current.is_empty() {
        let all: Vec<annotations::Current> = current.into_iter().map(annotations::Current::from).collect();
        write(annotations, CURRENT_METRICS, &all);
    }
    let conditions = status.conditions.unwrap_or_default();
    if !conditions.is_empty() {
        let all: Vec<annotations::Condition> = conditions.into_iter().map(annotations::Condition::from).collect();
        write(annotations, CONDITIONS, &all);
    }
    v1::HorizontalPodAutoscalerStatus {
        current_cpu_utilization_percentage,
        current_replicas: status.current_replicas.unwrap_or(0),
        desired_replicas: status.desired_replicas,
        last_scale_time: status.last_scale_time,
        observed_generation: status.observed_generation,
    }
}

/// The autoscaler as `v2` has it, with its defaults.
#[must_use]
pub fn to_v2(scaler: v1::HorizontalPodAutoscaler) -> v2::HorizontalPodAutoscaler {
    let mut metadata = scaler.metadata;
    let from = metadata.annotations.clone();
    drop_annotations(&mut metadata.annotations);
    let spec = scaler.spec;
    let mut metrics: Vec<v2::MetricSpec> =
        spec.target_cpu_utilization_percentage.map(defaults::cpu_metric).into_iter().collect();
    let others: Vec<annotations::Metric> = read(&from, METRICS).unwrap_or_default();
    // Upstream has the others first.
    metrics.splice(0..0, others.into_iter().map(v2::MetricSpec::from));
    if metrics.is_empty() {
        metrics.push(defaults::cpu_metric(defaults::CPU_PERCENT));
    }
    v2::HorizontalPodAutoscaler {
        metadata,
        spec: v2::HorizontalPodAutoscalerSpec {
            behavior: read::<annotations::Behavior>(&from, BEHAVIOR).map(Into::into),
            max_replicas: spec.max_replicas,
            metrics: Some(metrics),
            min_replicas: spec.min_replicas,
            scale_target_ref: v2::CrossVersionObjectReference {
                api_version: spec.scale_target_ref.api_version,
                kind: spec.scale_target_ref.kind,
                name: spec.scale_target_ref.name,
            },
        },
        status: scaler.status.map(|status| status_to_v2(status, &from)),
    }
}

fn status_to_v2(
    status: v1::HorizontalPodAutoscalerStatus,
    annotations: &Annotations,
) -> v2::HorizontalPodAutoscalerStatus {
    let current = read::<Vec<annotations::Current>>(annotations, CURRENT_METRICS)
        .filter(|all| !all.is_empty())
        .map(|all| all.into_iter().map(v2::MetricStatus::from).collect())
        .or_else(|| status.current_cpu_utilization_percentage.map(|percent| vec![current_cpu(percent)]));
    let conditions: Option<Vec<annotations::Condition>> = read(annotations, CONDITIONS);
    v2::HorizontalPodAutoscalerStatus {
        conditions: conditions.map(|all| all.into_iter().map(Into::into).collect()),
        current_metrics: current,
        current_replicas: Some(status.current_replicas),
        desired_replicas: status.desired_replicas,
        last_scale_time: status.last_scale_time,
        observed_generation: status.observed_generation,
    }
}

fn current_cpu(percent: i32) -> v2::MetricStatus {
    v2::MetricStatus {
        type_: "Resource".to_owned(),
        resource: Some(v2::ResourceMetricStatus {
            name: "cpu".to_owned(),
            current: v2::MetricValueStatus { average_utilization: Some(percent), ..v2::MetricValueStatus::default() },
        }),
        ..v2::MetricStatus::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::object::Object;

    #[test]
    fn what_v1_cannot_say_comes_back() {
        let scaler = v2::HorizontalPodAutoscaler::decode(
            br#"{"metadata":{"name":"h","annotations":{"a":"b"}},"spec":{"maxReplicas":3,"minReplicas":1,"scaleTargetRef":{"kind":"D","name":"d"},
            "behavior":{"scaleDown":{"selectPolicy":"Min","policies":[{"type":"Pods","value":1,"periodSeconds":15}]}},
            "metrics":[
              {"type":"Object","object":{"describedObject":{"kind":"S","name":"s"},"metric":{"name":"m"},"target":{"type":"Value","value":"5"}}},
              {"type":"Pods","pods":{"metric":{"name":"m","selector":{"matchLabels":{"x":"y"}}},"target":{"type":"AverageValue","averageValue":"5"}}},
              {"type":"External","external":{"metric":{"name":"m"},"target":{"type":"AverageValue","averageValue":"7"}}},
              {"type":"ContainerResource","containerResource":{"container":"c","name":"memory","target":{"type":"AverageValue","averageValue":"1Gi"}}},
              {"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}]},
            "status":{"currentReplicas":2,"desiredReplicas":3,"observedGeneration":1,
              "currentMetrics":[{"type":"Resource","resource":{"name":"cpu","current":{"averageUtilization":20,"averageValue":"3"}}}],
              "conditions":[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"r","message":"m"}]}}"#,
        )
        .unwrap();
        let shown = to_v1(scaler.clone());
        let annotations = shown.metadata.annotations.clone().unwrap();
        assert_eq!(
            annotations[METRICS].split("},{").next().unwrap(),
            r#"[{"type":"Object","object":{"target":{"kind":"S","name":"s"},"metricName":"m","targetValue":"5"}"#
        );
        assert_eq!(
            annotations[BEHAVIOR],
            r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Min","Policies":[{"Type":"Pods","Value":1,"PeriodSeconds":15}],"Tolerance":null}}"#
        );
        assert_eq!(
            annotations[CONDITIONS],
            r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"r","message":"m"}]"#
        );
        assert_eq!(shown.spec.target_cpu_utilization_percentage, Some(50));
        assert_eq!(shown.status.as_ref().unwrap().current_cpu_utilization_percentage, Some(20));
        assert_eq!(to_v2(shown), scaler);
    }

    #[test]
    fn v1_alone_is_of_processors() {
        let scaler = |spec: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"h"}},"spec":{{"maxReplicas":3,"scaleTargetRef":{{"kind":"D","name":"d"}}{spec}}}}}"#
            );
            v1::HorizontalPodAutoscaler::decode(json.as_bytes()).unwrap()
        };
        let percent = |scaler| to_v1(to_v2(scaler)).spec.target_cpu_utilization_percentage;
        assert_eq!(percent(scaler("")), Some(80));
        assert_eq!(percent(scaler(r#","targetCPUUtilizationPercentage":30"#)), Some(30));
    }
}
