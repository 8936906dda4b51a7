//! What stands in the annotations of a `v1` autoscaler: forms of metrics and conditions that no version of the API has any
//! more, written with their fields in the order of Go's structs, as Kubernetes writes them.

use std::borrow::Cow;

use k8s_openapi::api::autoscaling::v2;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use serde::{Deserialize, Serialize};

use crate::quantity;

/// A quantity as Kubernetes writes it.
fn canonical(value: Option<Quantity>) -> Option<Quantity> {
    value.map(|text| match quantity::canonical(&text.0) {
        Cow::Owned(canonical) => Quantity(canonical),
        Cow::Borrowed(_) => text,
    })
}

/// The same, of a field that is always there.
fn or_zero(value: Option<Quantity>) -> Quantity {
    canonical(value).unwrap_or_else(|| Quantity("0".to_owned()))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    kind: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    api_version: Option<String>,
}

impl From<v2::CrossVersionObjectReference> for Reference {
    fn from(reference: v2::CrossVersionObjectReference) -> Self {
        Self { kind: reference.kind, name: reference.name, api_version: reference.api_version }
    }
}

impl From<Reference> for v2::CrossVersionObjectReference {
    fn from(reference: Reference) -> Self {
        Self { kind: reference.kind, name: reference.name, api_version: reference.api_version }
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metric {
    #[serde(rename = "type")]
    type_: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Pods>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_resource: Option<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<External>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    target: Reference,
    metric_name: String,
    target_value: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average_value: Option<Quantity>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pods {
    metric_name: String,
    target_average_value: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_average_utilization: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Quantity>,
    /// Of one container's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct External {
    metric_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric_selector: Option<LabelSelector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_value: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_average_value: Option<Quantity>,
}

impl From<v2::MetricSpec> for Metric {
    fn from(metric: v2::MetricSpec) -> Self {
        Self {
            type_: metric.type_,
            object: metric.object.map(|m| Object {
                target: m.described_object.into(),
                metric_name: m.metric.name,
                target_value: or_zero(m.target.value),
                selector: m.metric.selector,
                average_value: canonical(m.target.average_value),
            }),
            pods: metric.pods.map(|m| Pods {
                metric_name: m.metric.name,
                target_average_value: or_zero(m.target.average_value),
                selector: m.metric.selector,
            }),
            resource: metric.resource.map(|m| resource(m.name, m.target, None)),
            container_resource: metric.container_resource.map(|m| resource(m.name, m.target, Some(m.container))),
            external: metric.external.map(|m| External {
                metric_name: m.metric.name,
                metric_selector: m.metric.selector,
                target_value: canonical(m.target.value),
                target_average_value: canonical(m.target.average_value),
            }),
        }
    }
}

fn resource(name: String, target: v2::MetricTarget, container: Option<String>) -> Resource {
    Resource {
        name,
        target_average_utilization: target.average_utilization,
        target_average_value: canonical(target.average_value),
        container,
    }
}

impl From<Metric> for v2::MetricSpec {
    fn from(metric: Metric) -> Self {
        Self {
            type_: metric.type_,
            object: metric.object.map(|m| v2::ObjectMetricSource {
                described_object: m.target.into(),
                metric: v2::MetricIdentifier { name: m.metric_name, selector: m.selector },
                target: v2::MetricTarget {
                    type_: if m.average_value.is_none() { "Value" } else { "AverageValue" }.to_owned(),
                    value: Some(m.target_value),
                    average_value: m.average_value,
                    average_utilization: None,
                },
            }),
            pods: metric.pods.map(|m| v2::PodsMetricSource {
                metric: v2::MetricIdentifier { name: m.metric_name, selector: m.selector },
                target: v2::MetricTarget {
                    type_: "AverageValue".to_owned(),
                    average_value: Some(m.target_average_value),
                    ..v2::MetricTarget::default()
                },
            }),
            resource: metric.resource.map(|m| v2::ResourceMetricSource { name: m.name.clone(), target: target(m) }),
            container_resource: metric.container_resource.map(|mut m| v2::ContainerResourceMetricSource {
                name: m.name.clone(),
                container: m.container.take().unwrap_or_default(),
                target: target(m),
            }),
            external: metric.external.map(|m| v2::ExternalMetricSource {
                metric: v2::MetricIdentifier { name: m.metric_name, selector: m.metric_selector },
                target: v2::MetricTarget {
                    type_: if m.target_value.is_none() { "AverageValue" } else { "Value" }.to_owned(),
                    value: m.target_value,
                    average_value: m.target_average_value,
                    average_utilization: None,
                },
            }),
        }
    }
}

fn target(resource: Resource) -> v2::MetricTarget {
    let type_ = if resource.target_average_utilization.is_none() { "AverageValue" } else { "Utilization" };
    v2::MetricTarget {
        type_: type_.to_owned(),
        value: None,
        average_value: resource.target_average_value,
        average_utilization: resource.target_average_utilization,
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Current {
    #[serde(rename = "type")]
    type_: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<CurrentObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<CurrentPods>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<CurrentResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_resource: Option<CurrentResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<CurrentExternal>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentObject {
    target: Reference,
    metric_name: String,
    current_value: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    average_value: Option<Quantity>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentPods {
    metric_name: String,
    current_average_value: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selector: Option<LabelSelector>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentResource {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current_average_utilization: Option<i32>,
    current_average_value: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentExternal {
    metric_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric_selector: Option<LabelSelector>,
    current_value: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current_average_value: Option<Quantity>,
}

impl From<v2::MetricStatus> for Current {
    fn from(metric: v2::MetricStatus) -> Self {
        Self {
            type_: metric.type_,
            object: metric.object.map(|m| CurrentObject {
                target: m.described_object.into(),
                metric_name: m.metric.name,
                current_value: or_zero(m.current.value),
                selector: m.metric.selector,
                average_value: canonical(m.current.average_value),
            }),
            pods: metric.pods.map(|m| CurrentPods {
                metric_name: m.metric.name,
                current_average_value: or_zero(m.current.average_value),
                selector: m.metric.selector,
            }),
            resource: metric.resource.map(|m| current_resource(m.name, m.current, None)),
            container_resource: metric
                .container_resource
                .map(|m| current_resource(m.name, m.current, Some(m.container))),
            external: metric.external.map(|m| CurrentExternal {
                metric_name: m.metric.name,
                metric_selector: m.metric.selector,
                current_value: or_zero(m.current.value),
                current_average_value: canonical(m.current.average_value),
            }),
        }
    }
}

fn current_resource(name: String, current: v2::MetricValueStatus, container: Option<String>) -> CurrentResource {
    CurrentResource {
        name,
        current_average_utilization: current.average_utilization,
        current_average_value: or_zero(current.average_value),
        container,
    }
}

impl From<Current> for v2::MetricStatus {
    fn from(metric: Current) -> Self {
        Self {
            type_: metric.type_,
            object: metric.object.map(|m| v2::ObjectMetricStatus {
                described_object: m.target.into(),
                metric: v2::MetricIdentifier { name: m.metric_name, selector: m.selector },
                current: value(Some(m.current_value), m.average_value),
            }),
            pods: metric.pods.map(|m| v2::PodsMetricStatus {
                metric: v2::MetricIdentifier { name: m.metric_name, selector: m.selector },
                current: value(None, Some(m.current_average_value)),
            }),
            resource: metric
                .resource
                .map(|m| v2::ResourceMetricStatus { name: m.name.clone(), current: utilization(m) }),
            container_resource: metric.container_resource.map(|mut m| v2::ContainerResourceMetricStatus {
                name: m.name.clone(),
                container: m.container.take().unwrap_or_default(),
                current: utilization(m),
            }),
            external: metric.external.map(|m| v2::ExternalMetricStatus {
                metric: v2::MetricIdentifier { name: m.metric_name, selector: m.metric_selector },
                current: value(Some(m.current_value), m.current_average_value),
            }),
        }
    }
}

fn value(value: Option<Quantity>, average_value: Option<Quantity>) -> v2::MetricValueStatus {
    v2::MetricValueStatus { value, average_value, average_utilization: None }
}

fn utilization(resource: CurrentResource) -> v2::MetricValueStatus {
    v2::MetricValueStatus {
        average_utilization: resource.current_average_utilization,
        ..value(None, Some(resource.current_average_value))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    last_transition_time: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<v2::HorizontalPodAutoscalerCondition> for Condition {
    fn from(c: v2::HorizontalPodAutoscalerCondition) -> Self {
        Self {
            type_: c.type_,
            status: c.status,
            last_transition_time: c.last_transition_time,
            reason: c.reason,
            message: c.message,
        }
    }
}

impl From<Condition> for v2::HorizontalPodAutoscalerCondition {
    fn from(c: Condition) -> Self {
        Self {
            type_: c.type_,
            status: c.status,
            last_transition_time: c.last_transition_time,
            reason: c.reason,
            message: c.message,
        }
    }
}

/// Kubernetes writes this one with the names of its internal type.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Behavior {
    #[serde(alias = "scaleUp")]
    scale_up: Option<Rules>,
    #[serde(alias = "scaleDown")]
    scale_down: Option<Rules>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Rules {
    #[serde(alias = "stabilizationWindowSeconds")]
    stabilization_window_seconds: Option<i32>,
    #[serde(alias = "selectPolicy")]
    select_policy: Option<String>,
    #[serde(alias = "policies")]
    policies: Option<Vec<Policy>>,
    #[serde(alias = "tolerance")]
    tolerance: Option<Quantity>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    #[serde(rename = "Type", alias = "type")]
    type_: String,
    #[serde(alias = "value")]
    value: i32,
    #[serde(alias = "periodSeconds")]
    period_seconds: i32,
}

impl From<v2::HorizontalPodAutoscalerBehavior> for Behavior {
    fn from(behavior: v2::HorizontalPodAutoscalerBehavior) -> Self {
        Self { scale_up: behavior.scale_up.map(Into::into), scale_down: behavior.scale_down.map(Into::into) }
    }
}

impl From<Behavior> for v2::HorizontalPodAutoscalerBehavior {
    fn from(behavior: Behavior) -> Self {
        Self { scale_up: behavior.scale_up.map(Into::into), scale_down: behavior.scale_down.map(Into::into) }
    }
}

impl From<v2::HPAScalingRules> for Rules {
    fn from(rules: v2::HPAScalingRules) -> Self {
        let policy =
            |p: v2::HPAScalingPolicy| Policy { type_: p.type_, value: p.value, period_seconds: p.period_seconds };
        Self {
            stabilization_window_seconds: rules.stabilization_window_seconds,
            select_policy: rules.select_policy,
            policies: rules.policies.map(|all| all.into_iter().map(policy).collect()),
            tolerance: canonical(rules.tolerance),
        }
    }
}

impl From<Rules> for v2::HPAScalingRules {
    fn from(rules: Rules) -> Self {
        let policy =
            |p: Policy| v2::HPAScalingPolicy { type_: p.type_, value: p.value, period_seconds: p.period_seconds };
        Self {
            stabilization_window_seconds: rules.stabilization_window_seconds,
            select_policy: rules.select_policy,
            policies: rules.policies.map(|all| all.into_iter().map(policy).collect()),
            tolerance: rules.tolerance,
        }
    }
}
