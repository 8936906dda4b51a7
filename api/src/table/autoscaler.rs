//! The row of an autoscaler, in either version.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::{v1, v2};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::{Cells, age, cells};
use crate::convert::autoscaling;
use crate::quantity::canonical;

/// How many metrics are shown before the rest are counted.
const METRICS_MAX: usize = 2;

impl Cells for v1::HorizontalPodAutoscaler {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        autoscaling::to_v2(self.clone()).cells(now)
    }
}

impl Cells for v2::HorizontalPodAutoscaler {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = &self.spec;
        let status = self.status.as_ref();
        let current = status.and_then(|status| status.current_metrics.as_deref()).unwrap_or_default();
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            format!("{}/{}", spec.scale_target_ref.kind, spec.scale_target_ref.name).into(),
            metrics(spec.metrics.as_deref().unwrap_or_default(), current).into(),
            spec.min_replicas.map_or_else(|| cells::UNSET.to_owned(), |min| min.to_string()).into(),
            spec.max_replicas.into(),
            status.and_then(|status| status.current_replicas).unwrap_or(0).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

fn metrics(specs: &[v2::MetricSpec], statuses: &[v2::MetricStatus]) -> String {
    let all: Vec<String> = specs.iter().enumerate().map(|(i, spec)| metric(spec, statuses.get(i))).collect();
    let shown = all[..all.len().min(METRICS_MAX)].join(", ");
    match all.len().saturating_sub(METRICS_MAX) {
        _ if all.is_empty() => cells::NONE.to_owned(),
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

/// What is, and what is to be.
fn metric(spec: &v2::MetricSpec, status: Option<&v2::MetricStatus>) -> String {
    match spec.type_.as_str() {
        "External" => {
            let current = status.and_then(|status| status.external.as_ref()).map(|metric| &metric.current);
            value_or_average(spec.external.as_ref().map(|metric| &metric.target), current)
        }
        "Object" => {
            let current = status.and_then(|status| status.object.as_ref()).map(|metric| &metric.current);
            value_or_average(spec.object.as_ref().map(|metric| &metric.target), current)
        }
        "Pods" => {
            let current = status.and_then(|status| status.pods.as_ref()).map(|metric| &metric.current);
            let target = spec.pods.as_ref().and_then(|metric| metric.target.average_value.as_ref());
            format!("{}/{}", measured(current, |c| c.average_value.as_ref()), amount(target))
        }
        "Resource" => {
            let current = status.and_then(|status| status.resource.as_ref()).map(|metric| &metric.current);
            let source = spec.resource.as_ref();
            resource(source.map(|metric| (&metric.name, &metric.target)), current)
        }
        "ContainerResource" => {
            let current = status.and_then(|status| status.container_resource.as_ref()).map(|metric| &metric.current);
            let source = spec.container_resource.as_ref();
            resource(source.map(|metric| (&metric.name, &metric.target)), current)
        }
        _ => "<unknown type>".to_owned(),
    }
}

fn value_or_average(target: Option<&v2::MetricTarget>, current: Option<&v2::MetricValueStatus>) -> String {
    match target.and_then(|target| target.average_value.as_ref()) {
        Some(average) => {
            let current = current.filter(|current| current.average_value.is_some());
            format!("{}/{} (avg)", measured(current, |c| c.average_value.as_ref()), amount(Some(average)))
        }
        None => {
            let target = target.and_then(|target| target.value.as_ref());
            format!("{}/{}", measured(current, |c| c.value.as_ref()), amount(target))
        }
    }
}

fn resource(source: Option<(&String, &v2::MetricTarget)>, current: Option<&v2::MetricValueStatus>) -> String {
    let Some((name, target)) = source else { return cells::UNKNOWN.to_owned() };
    if let Some(average) = &target.average_value {
        return format!("{name}: {}/{}", measured(current, |c| c.average_value.as_ref()), amount(Some(average)));
    }
    let percent = |value: Option<i32>, none: &str| value.map_or_else(|| none.to_owned(), |value| format!("{value}%"));
    let current = percent(current.and_then(|c| c.average_utilization), cells::UNKNOWN);
    format!("{name}: {current}/{}", percent(target.average_utilization, "<auto>"))
}

/// What was measured: unknown as long as nothing was.
fn measured(
    current: Option<&v2::MetricValueStatus>,
    of: impl Fn(&v2::MetricValueStatus) -> Option<&Quantity>,
) -> String {
    current.map_or_else(|| cells::UNKNOWN.to_owned(), |current| amount(of(current)))
}

/// An amount as Go prints it, which prints one that is not there, too.
fn amount(quantity: Option<&Quantity>) -> String {
    quantity.map_or_else(|| "<nil>".to_owned(), |quantity| canonical(&quantity.0).into_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::autoscaling::{v1, v2};

    use crate::table::tests::line;

    #[test]
    fn both_versions_show_the_same_row() {
        let metrics = r#"[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}},
            {"type":"Pods","pods":{"metric":{"name":"m"},"target":{"type":"AverageValue","averageValue":"5"}}},
            {"type":"External","external":{"metric":{"name":"m"},"target":{"type":"Value","value":"5"}}}]"#;
        let current = r#"[{"type":"Resource","resource":{"name":"cpu","current":{"averageUtilization":20}}}]"#;
        assert_eq!(
            line::<v2::HorizontalPodAutoscaler>(&format!(
                r#"{{"metadata":{{"name":"h"}},"spec":{{"minReplicas":1,"maxReplicas":3,"scaleTargetRef":{{"kind":"Deployment","name":"d"}},"metrics":{metrics}}},"status":{{"currentReplicas":2,"desiredReplicas":0,"currentMetrics":{current}}}}}"#
            )),
            "h | Deployment/d | cpu: 20%/50%, <unknown>/5 + 1 more... | 1 | 3 | 2 | <unknown>"
        );
        assert_eq!(
            line::<v1::HorizontalPodAutoscaler>(
                r#"{"metadata":{"name":"h"},"spec":{"maxReplicas":3,"targetCPUUtilizationPercentage":50,"scaleTargetRef":{"kind":"Deployment","name":"d"}},"status":{"currentReplicas":2,"desiredReplicas":0}}"#
            ),
            "h | Deployment/d | cpu: <unknown>/50% | <unset> | 3 | 2 | <unknown>"
        );
    }
    #[test]
    fn metrics_tell_what_is_and_what_is_to_be() {
        for (spec, status, expected) in [
            ("", "", "<none>"),
            (
                r#"{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization"}}}"#,
                "",
                "cpu: <unknown>/<auto>",
            ),
            (
                r#"{"type":"Resource","resource":{"name":"cpu","target":{"type":"AverageValue","averageValue":"0.5"}}}"#,
                r#"{"type":"Resource","resource":{"name":"cpu","current":{"averageValue":"250m"}}}"#,
                "cpu: 250m/500m",
            ),
            (
                r#"{"type":"Resource","resource":{"name":"cpu","target":{"type":"AverageValue","averageValue":"1"}}}"#,
                r#"{"type":"Resource","resource":{"name":"cpu","current":{}}}"#,
                "cpu: <nil>/1",
            ),
            (
                r#"{"type":"ContainerResource","containerResource":{"container":"c","name":"memory","target":{"type":"Utilization","averageUtilization":80}}}"#,
                r#"{"type":"ContainerResource","containerResource":{"container":"c","name":"memory","current":{"averageUtilization":10}}}"#,
                "memory: 10%/80%",
            ),
            (
                r#"{"type":"Pods","pods":{"metric":{"name":"m"},"target":{"type":"AverageValue","averageValue":"5"}}}"#,
                r#"{"type":"Pods","pods":{"metric":{"name":"m"},"current":{"averageValue":"3"}}}"#,
                "3/5",
            ),
            (
                r#"{"type":"External","external":{"metric":{"name":"m"},"target":{"type":"AverageValue","averageValue":"5"}}}"#,
                r#"{"type":"External","external":{"metric":{"name":"m"},"current":{"value":"3"}}}"#,
                "<unknown>/5 (avg)",
            ),
            (
                r#"{"type":"Object","object":{"describedObject":{"kind":"K","name":"n"},"metric":{"name":"m"},"target":{"type":"Value","value":"5"}}}"#,
                r#"{"type":"Object","object":{"describedObject":{"kind":"K","name":"n"},"metric":{"name":"m"},"current":{"value":"3"}}}"#,
                "3/5",
            ),
            (r#"{"type":"Else"}"#, "", "<unknown type>"),
        ] {
            let json = format!(
                r#"{{"metadata":{{"name":"h"}},"spec":{{"maxReplicas":3,"scaleTargetRef":{{"kind":"K","name":"d"}},"metrics":[{spec}]}},"status":{{"desiredReplicas":0,"currentMetrics":[{status}]}}}}"#
            );
            assert_eq!(
                line::<v2::HorizontalPodAutoscaler>(&json),
                format!("h | K/d | {expected} | <unset> | 3 | 0 | <unknown>")
            );
        }
    }
}
