//! Autoscalers. Both versions are held to the rules of the one that is stored.

use k8s_openapi::api::autoscaling::{v1, v2};

use super::amounts::container_resource_name;
use super::rules::{POSITIVE, named, not_negative};
use super::{Validate, meta, rules};
use crate::convert::autoscaling::to_v2;
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity::parse_or_zero;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
const PERIOD_SECONDS_MAX: i32 = 1800;
const STABILIZATION_SECONDS_MAX: i32 = 3600;
const SOURCES: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

impl Validate for v1::HorizontalPodAutoscaler {
    fn validate(&self, errors: &mut Errors) {
        to_v2(self.clone()).validate(errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        to_v2(self.clone()).validate_update(&to_v2(old.clone()), errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        to_v2(self.clone()).validate_status(&to_v2(old.clone()), errors);
    }
}

impl Validate for v2::HorizontalPodAutoscaler {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        check(self, Tolerated { least: 1, target: false, objects: false }, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        check(self, Tolerated::of(self, old), errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        not_negative(status.current_replicas, &STATUS.child("currentReplicas"), errors);
        not_negative(Some(status.desired_replicas), &STATUS.child("desiredReplicas"), errors);
    }
}

/// What was stored before it was wrong, and so may stay.
#[derive(Clone, Copy)]
struct Tolerated {
    /// The fewest replicas.
    least: i32,
    /// The version of what is scaled.
    target: bool,
    /// The versions of what metrics are of.
    objects: bool,
}

impl Tolerated {
    fn of(new: &v2::HorizontalPodAutoscaler, old: &v2::HorizontalPodAutoscaler) -> Self {
        let (target, was) = (&new.spec.scale_target_ref, &old.spec.scale_target_ref);
        let described = old.spec.metrics.iter().flatten().filter(|metric| metric.type_ == "Object");
        let mut versions = described.filter_map(|metric| metric.object.as_ref()).map(|o| version(&o.described_object));
        Self {
            least: i32::from(old.spec.min_replicas != Some(0)),
            target: (version(target), &target.kind) == (version(was), &was.kind),
            objects: versions.any(|version| group(version).is_none()),
        }
    }
}

fn check(scaler: &v2::HorizontalPodAutoscaler, tolerated: Tolerated, errors: &mut Errors) {
    let least = tolerated.least;
    let spec = &scaler.spec;
    let (min, max) = (spec.min_replicas, spec.max_replicas);
    if let Some(min) = min.filter(|min| *min < least) {
        errors.invalid(&SPEC.child("minReplicas"), &min, &format!("must be greater than or equal to {least}"));
    }
    let path = SPEC.child("maxReplicas");
    if max < 1 {
        errors.invalid(&path, &max, POSITIVE);
    }
    if min.is_some_and(|min| max < min) {
        errors.invalid(&path, &max, "must be greater than or equal to `minReplicas`");
    }
    target_reference(&spec.scale_target_ref, tolerated, errors);
    let list = SPEC.child("metrics");
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    for (i, metric) in metrics.iter().enumerate() {
        metric_spec(metric, tolerated, &list.index(i), errors);
    }
    if min == Some(0) && !metrics.iter().any(|metric| matches!(metric.type_.as_str(), "Object" | "External")) {
        let rule = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(&list, rule);
    }
    let path = SPEC.child("behavior");
    if let Some(behavior) = &spec.behavior {
        for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
            if let Some(rules) = rules {
                scaling_rules(rules, &path.child(field), errors);
            }
        }
    }
}

fn reference(reference: &v2::CrossVersionObjectReference, path: &Path<'_>, errors: &mut Errors) {
    named(&reference.kind, names::path_segment, &path.child("kind"), errors);
    named(&reference.name, names::path_segment, &path.child("name"), errors);
}

fn version(reference: &v2::CrossVersionObjectReference) -> &str {
    rules::text(reference.api_version.as_ref())
}

/// The group of a version as `apps/v1`, if it can be read.
fn group(version: &str) -> Option<&str> {
    match version.split('/').collect::<Vec<_>>()[..] {
        [_] => Some(""),
        [group, _] => Some(group),
        _ => None,
    }
}

/// What is scaled is of a group, but for the one kind of the core that can be.
fn target_reference(target: &v2::CrossVersionObjectReference, tolerated: Tolerated, errors: &mut Errors) {
    let path = SPEC.child("scaleTargetRef");
    reference(target, &path, errors);
    if tolerated.target {
        return;
    }
    let (at, value) = (path.child("apiVersion"), version(target));
    match group(value) {
        None => errors.invalid(&at, value, &format!("unexpected GroupVersion string: {value}")),
        Some("") if target.kind != "ReplicationController" => {
            errors.invalid(&at, value, "apiVersion must specify API group");
        }
        Some(_) => {}
    }
}

fn scaling_rules(rules: &v2::HPAScalingRules, path: &Path<'_>, errors: &mut Errors) {
    let window = path.child("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(seconds) if seconds < 0 => errors.invalid(&window, &seconds, "must be greater than or equal to zero"),
        Some(seconds) if seconds > STABILIZATION_SECONDS_MAX => {
            errors.invalid(&window, &seconds, &format!("must be less than or equal to {STABILIZATION_SECONDS_MAX}"));
        }
        _ => {}
    }
    if let Some(policy) = rules.select_policy.as_deref().filter(|p| !["Disabled", "Max", "Min"].contains(p)) {
        errors.not_supported(&path.child("selectPolicy"), policy, &["Disabled", "Max", "Min"]);
    }
    let list = path.child("policies");
    let policies = rules.policies.as_deref().unwrap_or_default();
    if policies.is_empty() {
        errors.required(&list, "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        let path = list.index(i);
        if !["Percent", "Pods"].contains(&policy.type_.as_str()) {
            errors.not_supported(&path.child("type"), &policy.type_, &["Percent", "Pods"]);
        }
        if policy.value <= 0 {
            errors.invalid(&path.child("value"), &policy.value, "must be greater than zero");
        }
        let (path, period) = (path.child("periodSeconds"), policy.period_seconds);
        if period <= 0 {
            errors.invalid(&path, &period, "must be greater than zero");
        } else if period > PERIOD_SECONDS_MAX {
            errors.invalid(&path, &period, &format!("must be less than or equal to {PERIOD_SECONDS_MAX}"));
        }
    }
    if rules.tolerance.is_some() && parse_or_zero(rules.tolerance.as_ref()).is_negative() {
        errors.invalid(&path.child("tolerance"), &rules.tolerance, "must be greater than or equal to zero");
    }
}

fn metric_spec(metric: &v2::MetricSpec, tolerated: Tolerated, path: &Path<'_>, errors: &mut Errors) {
    let object = |source: &v2::ObjectMetricSource, path: &Path<'_>, errors: &mut Errors| {
        let value = version(&source.described_object);
        if !tolerated.objects && group(value).is_none() {
            let at = path.child("describedObject");
            errors.invalid(&at.child("apiVersion"), value, &format!("unexpected GroupVersion string: {value}"));
        }
        object(source, path, errors);
    };
    let type_ = metric.type_.as_str();
    if type_.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    }
    if !SOURCES.contains(&type_) {
        errors.not_supported(&path.child("type"), type_, &SOURCES);
    }
    let mut present: Vec<&str> = Vec::new();
    macro_rules! sources {
        ($($field:ident $name:literal $check:expr;)*) => {$(
            if let Some(source) = &metric.$field {
                present.push($name);
                if present.len() == 1 {
                    $check(source, &path.child($name), errors);
                }
            }
        )*};
    }
    sources! {
        object "object" object;
        external "external" external;
        pods "pods" pods;
        resource "resource" resource;
        container_resource "containerResource" container_resource;
    }
    let expected = match type_ {
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "External" => "external",
        "ContainerResource" => "containerResource",
        _ => "",
    };
    if !expected.is_empty() && !present.contains(&expected) {
        errors.required(&path.child(expected), "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for other in present.into_iter().filter(|name| *name != expected) {
            errors.forbidden(&path.child(other), "must populate the given metric source only");
        }
    }
}

fn object(source: &v2::ObjectMetricSource, path: &Path<'_>, errors: &mut Errors) {
    reference(&source.described_object, &path.child("describedObject"), errors);
    named(&source.metric.name, names::path_segment, &path.child("metric").child("name"), errors);
    let path = path.child("target");
    target(&source.target, &path, errors);
    if source.target.value.is_none() && source.target.average_value.is_none() {
        errors.required(&path.child("averageValue"), "must set either a target value or averageValue");
    }
}

fn external(source: &v2::ExternalMetricSource, path: &Path<'_>, errors: &mut Errors) {
    named(&source.metric.name, names::path_segment, &path.child("metric").child("name"), errors);
    let path = path.child("target");
    target(&source.target, &path, errors);
    match (&source.target.value, &source.target.average_value) {
        (None, None) => {
            let rule = "must set either a target value for metric or a per-pod target";
            errors.required(&path.child("averageValue"), rule);
        }
        (Some(_), Some(_)) => {
            errors.forbidden(&path.child("value"), "may not set both a target value for metric and a per-pod target");
        }
        _ => {}
    }
}

fn pods(source: &v2::PodsMetricSource, path: &Path<'_>, errors: &mut Errors) {
    named(&source.metric.name, names::path_segment, &path.child("metric").child("name"), errors);
    let path = path.child("target");
    target(&source.target, &path, errors);
    if source.target.average_value.is_none() {
        errors.required(&path.child("averageValue"), "must specify a positive target averageValue");
    }
}

fn container_resource(source: &v2::ContainerResourceMetricSource, path: &Path<'_>, errors: &mut Errors) {
    match source.name.as_str() {
        "" => errors.required(&path.child("name"), "must specify a resource name"),
        name => container_resource_name(name, &path.child("name"), errors),
    }
    named(&source.container, names::dns_label, &path.child("container"), errors);
    one_of_both(&source.target, &path.child("target"), errors);
}

fn resource(source: &v2::ResourceMetricSource, path: &Path<'_>, errors: &mut Errors) {
    if source.name.is_empty() {
        errors.required(&path.child("name"), "must specify a resource name");
    }
    one_of_both(&source.target, &path.child("target"), errors);
}

fn one_of_both(metric: &v2::MetricTarget, path: &Path<'_>, errors: &mut Errors) {
    target(metric, path, errors);
    match (metric.average_utilization, &metric.average_value) {
        (None, None) => {
            let rule = "must set either a target raw value or a target utilization";
            errors.required(&path.child("averageUtilization"), rule);
        }
        (Some(_), Some(_)) => {
            let rule = "may not set both a target raw value and a target utilization";
            errors.forbidden(&path.child("averageValue"), rule);
        }
        _ => {}
    }
}

fn target(target: &v2::MetricTarget, path: &Path<'_>, errors: &mut Errors) {
    let type_ = target.type_.as_str();
    if type_.is_empty() {
        errors.required(&path.child("type"), "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&type_) {
        errors.invalid(&path.child("type"), type_, "must be either Utilization, Value, or AverageValue");
    }
    for (field, value) in [("value", &target.value), ("averageValue", &target.average_value)] {
        let amount = parse_or_zero(value.as_ref());
        if value.is_some() && (amount.is_negative() || amount.is_zero()) {
            errors.invalid(&path.child(field), value, "must be positive");
        }
    }
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        errors.invalid(&path.child("averageUtilization"), &percent, POSITIVE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn scaler(fields: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"h","namespace":"n"}},"spec":{{"scaleTargetRef":{{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}},{fields}}}}}"#
        )
    }

    #[test]
    fn autoscalers_are_held_to_their_rules() {
        for (fields, expected) in [
            (r#""maxReplicas":3"#, &[][..]),
            (
                r#""maxReplicas":0,"minReplicas":0"#,
                &["spec.minReplicas Invalid", "spec.maxReplicas Invalid", "spec.metrics Forbidden"],
            ),
            (r#""maxReplicas":1,"minReplicas":2"#, &["spec.maxReplicas Invalid"]),
            (
                r#""maxReplicas":1,"scaleTargetRef":{"kind":"","name":"a/b"}"#,
                &[
                    "spec.scaleTargetRef.kind Required",
                    "spec.scaleTargetRef.name Invalid",
                    "spec.scaleTargetRef.apiVersion Invalid",
                ],
            ),
            (
                r#""maxReplicas":1,"scaleTargetRef":{"apiVersion":"v1","kind":"Deployment","name":"d"}"#,
                &["spec.scaleTargetRef.apiVersion Invalid"],
            ),
            (
                r#""maxReplicas":1,"scaleTargetRef":{"apiVersion":"a/b/c","kind":"Deployment","name":"d"}"#,
                &["spec.scaleTargetRef.apiVersion Invalid"],
            ),
            (r#""maxReplicas":1,"scaleTargetRef":{"kind":"ReplicationController","name":"d"}"#, &[]),
            (
                r#""maxReplicas":1,"metrics":[{"type":"Object","object":{"describedObject":{"apiVersion":"a/b/c","kind":"S","name":"s"},"metric":{"name":"m"},"target":{"type":"Value","value":"1"}}}]"#,
                &["spec.metrics[0].object.describedObject.apiVersion Invalid"],
            ),
            (
                r#""maxReplicas":1,"metrics":[{"type":"X"},{"type":"Pods","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":0}}}]"#,
                &[
                    "spec.metrics[0].type NotSupported",
                    "spec.metrics[1].resource.target.averageUtilization Invalid",
                    "spec.metrics[1].pods Required",
                ],
            ),
            (
                r#""maxReplicas":1,"metrics":[{"type":"Object","object":{"describedObject":{"kind":"S","name":"s"},"metric":{"name":"m"},"target":{"type":"Value"}},"pods":{"metric":{"name":"m"},"target":{"type":"AverageValue"}}}]"#,
                &["spec.metrics[0].object.target.averageValue Required", "spec.metrics[0].pods Forbidden"],
            ),
            (
                r#""maxReplicas":1,"behavior":{"scaleUp":{"stabilizationWindowSeconds":4000,"policies":[{"type":"X","value":0,"periodSeconds":1801}]},"scaleDown":{"policies":[],"selectPolicy":"X"}}"#,
                &[
                    "spec.behavior.scaleUp.stabilizationWindowSeconds Invalid",
                    "spec.behavior.scaleUp.policies[0].type NotSupported",
                    "spec.behavior.scaleUp.policies[0].value Invalid",
                    "spec.behavior.scaleUp.policies[0].periodSeconds Invalid",
                    "spec.behavior.scaleDown.selectPolicy NotSupported",
                    "spec.behavior.scaleDown.policies Required",
                ],
            ),
        ] {
            let json = if fields.contains("scaleTargetRef") {
                format!(r#"{{"metadata":{{"name":"h","namespace":"n"}},"spec":{{{fields}}}}}"#)
            } else {
                scaler(fields)
            };
            assert_eq!(refused::<v2::HorizontalPodAutoscaler>(&json), expected, "{fields}");
        }
        let stored = r#"{"metadata":{"name":"h","namespace":"n"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"d"},"maxReplicas":1}}"#;
        assert_eq!(refused_update::<v2::HorizontalPodAutoscaler>(stored, stored), [""; 0]);
        let old_form = scaler(r#""maxReplicas":0,"targetCPUUtilizationPercentage":-1"#);
        assert_eq!(
            refused::<v1::HorizontalPodAutoscaler>(&old_form),
            [
                "spec.maxReplicas Invalid",
                "spec.maxReplicas Invalid",
                "spec.metrics[0].resource.target.averageUtilization Invalid"
            ]
        );
    }
}
