//! Deployments, replica sets and replication controllers.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Typed;

use super::rules::{amount, at_most_all, immutable, int_or_percent, not_decremented, not_negative, one_of, text};
use super::{Validate, labels, meta, pod};
use crate::field::{Errors, Path};
use crate::selector::LabelSelector;

impl Validate for apps::Deployment {
    fn validate(&self, errors: &mut Errors) {
        deployment(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update_deployment(self, old, errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        deployment_status(self, errors);
        let count = |d: &Self| d.status.as_ref().and_then(|s| s.collision_count);
        not_decremented(count(self), count(old), &STATUS.child("collisionCount"), errors);
    }
}

impl Validate for apps::ReplicaSet {
    fn validate(&self, errors: &mut Errors) {
        replica_set(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        update_replica_set(self, old, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        replica_set_status(self, errors);
    }
}

impl Validate for core::ReplicationController {
    fn validate(&self, errors: &mut Errors) {
        replication_controller(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        replication_controller_spec(self, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        replication_controller_status(self, errors);
    }
}

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
const NO_MATCH: &str = "`selector` does not match template `labels`";

pub(super) fn deployment(deployment: &apps::Deployment, errors: &mut Errors) {
    meta::create(&deployment.metadata, meta::IN_NAMESPACE, errors);
    deployment_spec(deployment, errors);
}

fn deployment_spec(deployment: &apps::Deployment, errors: &mut Errors) {
    let default = apps::DeploymentSpec::default();
    let spec = deployment.spec.as_ref().unwrap_or(&default);
    not_negative(spec.replicas, &SPEC.child("replicas"), errors);
    if let Some(parsed) = selector(&spec.selector, "deployment", errors) {
        template(&spec.template, &spec.selector, &parsed, errors);
        shared_disks(&spec.template, spec.replicas, &SPEC.child("template"), errors);
    }
    strategy(spec.strategy.as_ref(), errors);
    not_negative(spec.min_ready_seconds, &SPEC.child("minReadySeconds"), errors);
    not_negative(spec.revision_history_limit, &SPEC.child("revisionHistoryLimit"), errors);
    let progress = SPEC.child("progressDeadlineSeconds");
    not_negative(spec.progress_deadline_seconds, &progress, errors);
    if let Some(deadline) = spec.progress_deadline_seconds.filter(|d| *d <= spec.min_ready_seconds.unwrap_or(0)) {
        errors.invalid(&progress, &deadline, "must be greater than minReadySeconds");
    }
}

/// A selector must be given and not be empty: the first would select nothing, the second everything. What it is, if it
/// can be read; upstream looks at the template of no other.
pub(super) fn selector(selector: &Typed, kind: &str, errors: &mut Errors) -> Option<LabelSelector> {
    let path = SPEC.child("selector");
    labels::selector(Some(selector), &path, errors);
    if is_missing(selector) {
        errors.required(&path, "");
    } else if is_empty(selector) {
        errors.invalid(&path, selector, &format!("empty selector is invalid for {kind}"));
    }
    let parsed = LabelSelector::of_typed(Some(selector));
    if parsed.is_err() {
        errors.invalid(&path, selector, "invalid label selector");
    }
    parsed.ok()
}

/// The codec writes `{}` as `{"matchLabels":{}}`.
pub(super) fn is_missing(selector: &Typed) -> bool {
    *selector == Typed::default()
}

pub(super) fn is_empty(selector: &Typed) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn template(template: &core::PodTemplateSpec, selector: &Typed, parsed: &LabelSelector, errors: &mut Errors) {
    let path = SPEC.child("template");
    matched(template, !is_missing(selector) && parsed.matches(labels_of(template)), &path, errors);
    template_spec(template, "ReplicaSet", &path, errors);
}

pub(super) fn labels_of(template: &core::PodTemplateSpec) -> Option<&BTreeMap<String, String>> {
    template.metadata.as_ref().and_then(|m| m.labels.as_ref())
}

/// The pods of a template must be those that are selected.
pub(super) fn matched(template: &core::PodTemplateSpec, matches: bool, path: &Path<'_>, errors: &mut Errors) {
    if !matches {
        let metadata = path.child("metadata");
        errors.invalid(&metadata.child("labels"), &labels_of(template), NO_MATCH);
    }
}

fn template_spec(template: &core::PodTemplateSpec, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    pod::template(template, path, errors);
    kept_running(template, kind, path, errors);
}

/// Pods that are kept running are always restarted, and end by nobody's clock.
pub(super) fn kept_running(template: &core::PodTemplateSpec, kind: &str, path: &Path<'_>, errors: &mut Errors) {
    let Some(spec) = &template.spec else { return };
    let spec_path = path.child("spec");
    one_of(text(spec.restart_policy.as_ref()), &["Always"], &spec_path.child("restartPolicy"), errors);
    if spec.active_deadline_seconds.is_some() {
        let rule = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&spec_path.child("activeDeadlineSeconds"), &rule);
    }
}

/// A disk that several pods have is not written to. Source: `ValidateReadOnlyPersistentDisks`.
pub(super) fn shared_disks(
    template: &core::PodTemplateSpec,
    replicas: Option<i32>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    if replicas.unwrap_or(0) <= 1 {
        return;
    }
    let path = path.child("spec");
    let list = path.child("volumes");
    let volumes = template.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for (i, volume) in volumes.enumerate() {
        if volume.gce_persistent_disk.as_ref().is_some_and(|disk| disk.read_only != Some(true)) {
            let path = list.index(i);
            let rule = "must be true for replicated pods > 1; GCE PD can only be mounted on multiple machines if it is read-only";
            errors.invalid(&path.child("gcePersistentDisk").child("readOnly"), &false, rule);
        }
    }
}

fn strategy(strategy: Option<&apps::DeploymentStrategy>, errors: &mut Errors) {
    let path = SPEC.child("strategy");
    let type_ = text(strategy.and_then(|s| s.type_.as_ref()));
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let rolling_path = path.child("rollingUpdate");
    one_of(type_, &["Recreate", "RollingUpdate"], &path, errors);
    match (type_, rolling) {
        ("Recreate", Some(_)) => {
            errors.forbidden(&rolling_path, "may not be specified when strategy `type` is 'Recreate'");
        }
        ("RollingUpdate", None) => errors.required(&rolling_path, "this should be defaulted and never be nil"),
        ("RollingUpdate", Some(rolling)) => steps(rolling, &rolling_path, errors),
        _ => {}
    }
}

fn steps(rolling: &apps::RollingUpdateDeployment, path: &Path<'_>, errors: &mut Errors) {
    let (unavailable, surge) = (path.child("maxUnavailable"), path.child("maxSurge"));
    if let Some(value) = &rolling.max_unavailable {
        int_or_percent(value, &unavailable, errors);
        at_most_all(value, &unavailable, errors);
    }
    if let Some(value) = &rolling.max_surge {
        int_or_percent(value, &surge, errors);
    }
    if amount(rolling.max_unavailable.as_ref()) == 0 && amount(rolling.max_surge.as_ref()) == 0 {
        errors.invalid(&unavailable, &rolling.max_unavailable, "may not be 0 when `maxSurge` is 0");
    }
}

pub(super) fn update_deployment(new: &apps::Deployment, old: &apps::Deployment, errors: &mut Errors) {
    deployment_spec(new, errors);
    let selector = |d: &apps::Deployment| d.spec.as_ref().map(|s| s.selector.clone());
    immutable(&selector(new), &selector(old), &SPEC.child("selector"), errors);
}

pub(super) fn deployment_status(deployment: &apps::Deployment, errors: &mut Errors) {
    let Some(status) = &deployment.status else { return };
    for (field, count) in [
        ("observedGeneration", status.observed_generation),
        ("replicas", status.replicas.map(i64::from)),
        ("updatedReplicas", status.updated_replicas.map(i64::from)),
        ("readyReplicas", status.ready_replicas.map(i64::from)),
        ("availableReplicas", status.available_replicas.map(i64::from)),
        ("unavailableReplicas", status.unavailable_replicas.map(i64::from)),
        ("terminatingReplicas", status.terminating_replicas.map(i64::from)),
        ("collisionCount", status.collision_count.map(i64::from)),
    ] {
        not_negative(count, &STATUS.child(field), errors);
    }
    counted(status.replicas, status.ready_replicas, status.available_replicas, errors);
    if status.updated_replicas > status.replicas.or(Some(0)) {
        errors.invalid(
            &STATUS.child("updatedReplicas"),
            &status.updated_replicas,
            "cannot be greater than status.replicas",
        );
    }
}

/// Of the pods that are there some are ready, and of those some have been for long enough.
fn counted(all: Option<i32>, ready: Option<i32>, available: Option<i32>, errors: &mut Errors) {
    let (all, ready, available) = (all.unwrap_or(0), ready.unwrap_or(0), available.unwrap_or(0));
    if ready > all {
        errors.invalid(&STATUS.child("readyReplicas"), &ready, "cannot be greater than status.replicas");
    }
    let path = STATUS.child("availableReplicas");
    if available > all {
        errors.invalid(&path, &available, "cannot be greater than status.replicas");
    }
    if available > ready {
        errors.invalid(&path, &available, "cannot be greater than readyReplicas");
    }
}

pub(super) fn replica_set(set: &apps::ReplicaSet, errors: &mut Errors) {
    meta::create(&set.metadata, meta::IN_NAMESPACE, errors);
    replica_set_spec(set, errors);
}

fn replica_set_spec(set: &apps::ReplicaSet, errors: &mut Errors) {
    let default = apps::ReplicaSetSpec::default();
    let spec = set.spec.as_ref().unwrap_or(&default);
    not_negative(spec.replicas, &SPEC.child("replicas"), errors);
    not_negative(spec.min_ready_seconds, &SPEC.child("minReadySeconds"), errors);
    let parsed = selector(&spec.selector, "deployment", errors);
    match (&spec.template, parsed) {
        (Some(t), Some(parsed)) => {
            template(t, &spec.selector, &parsed, errors);
            shared_disks(t, spec.replicas, &SPEC.child("template"), errors);
        }
        (None, _) => errors.required(&SPEC.child("template"), ""),
        (Some(_), None) => {}
    }
}

pub(super) fn update_replica_set(new: &apps::ReplicaSet, old: &apps::ReplicaSet, errors: &mut Errors) {
    replica_set_spec(new, errors);
    let selector = |s: &apps::ReplicaSet| s.spec.as_ref().map(|s| s.selector.clone());
    immutable(&selector(new), &selector(old), &SPEC.child("selector"), errors);
}

pub(super) fn replica_set_status(set: &apps::ReplicaSet, errors: &mut Errors) {
    let Some(status) = &set.status else { return };
    not_negative(Some(status.replicas), &STATUS.child("replicas"), errors);
    not_negative(status.terminating_replicas, &STATUS.child("terminatingReplicas"), errors);
    fully_labeled(status.fully_labeled_replicas, status.replicas, errors);
    counts_of_status(status.ready_replicas, status.available_replicas, status.observed_generation, errors);
    counted(Some(status.replicas), status.ready_replicas, status.available_replicas, errors);
}

fn fully_labeled(count: Option<i32>, all: i32, errors: &mut Errors) {
    let path = STATUS.child("fullyLabeledReplicas");
    not_negative(count, &path, errors);
    if let Some(count) = count.filter(|count| *count > all) {
        errors.invalid(&path, &count, "cannot be greater than status.replicas");
    }
}

fn counts_of_status(ready: Option<i32>, available: Option<i32>, generation: Option<i64>, errors: &mut Errors) {
    not_negative(ready, &STATUS.child("readyReplicas"), errors);
    not_negative(available, &STATUS.child("availableReplicas"), errors);
    not_negative(generation, &STATUS.child("observedGeneration"), errors);
}

pub(super) fn replication_controller(controller: &core::ReplicationController, errors: &mut Errors) {
    meta::create(&controller.metadata, meta::IN_NAMESPACE, errors);
    replication_controller_spec(controller, errors);
}

pub(super) fn replication_controller_spec(controller: &core::ReplicationController, errors: &mut Errors) {
    let default = core::ReplicationControllerSpec::default();
    let spec = controller.spec.as_ref().unwrap_or(&default);
    not_negative(spec.min_ready_seconds, &SPEC.child("minReadySeconds"), errors);
    let selector = spec.selector.as_ref().filter(|s| !s.is_empty());
    if selector.is_none() {
        errors.required(&SPEC.child("selector"), "");
    }
    not_negative(spec.replicas, &SPEC.child("replicas"), errors);
    let path = SPEC.child("template");
    let Some(template) = &spec.template else { return errors.required(&path, "") };
    let matches = selector.is_none_or(|s| LabelSelector::of_labels(s).matches(labels_of(template)));
    matched(template, matches, &path, errors);
    template_spec(template, "ReplicationController", &path, errors);
    shared_disks(template, spec.replicas, &path, errors);
}

pub(super) fn replication_controller_status(controller: &core::ReplicationController, errors: &mut Errors) {
    let Some(status) = &controller.status else { return };
    not_negative(Some(status.replicas), &STATUS.child("replicas"), errors);
    fully_labeled(status.fully_labeled_replicas, status.replicas, errors);
    counts_of_status(status.ready_replicas, status.available_replicas, status.observed_generation, errors);
    counted(Some(status.replicas), status.ready_replicas, status.available_replicas, errors);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};

    use crate::validation::tests::{refused, refused_update};

    fn deployment(fields: &str) -> String {
        let template =
            r#""template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
        format!(r#"{{"metadata":{{"name":"w","namespace":"n"}},"spec":{{{fields},{template}}}}}"#)
    }

    #[test]
    fn deployments_are_held_to_their_rules() {
        const SELECTOR: &str = r#""selector":{"matchLabels":{"app":"x"}}"#;
        for (fields, expected) in [
            (SELECTOR.to_owned(), &[][..]),
            (format!(r#"{SELECTOR},"replicas":2"#), &[]),
            (r#""selector":{"matchLabels":{"app":"y"}}"#.to_owned(), &["spec.template.metadata.labels Invalid"]),
            (r#""selector":{"matchLabels":{}}"#.to_owned(), &["spec.selector Invalid"]),
            (r#""replicas":1"#.to_owned(), &["spec.selector Required", "spec.template.metadata.labels Invalid"]),
            (format!(r#"{SELECTOR},"replicas":-1"#), &["spec.replicas Invalid"]),
            (
                format!(r#"{SELECTOR},"strategy":{{"rollingUpdate":{{"maxSurge":0,"maxUnavailable":0}}}}"#),
                &["spec.strategy.rollingUpdate.maxUnavailable Invalid"],
            ),
            (
                format!(r#"{SELECTOR},"strategy":{{"rollingUpdate":{{"maxSurge":"50%","maxUnavailable":"120%"}}}}"#),
                &["spec.strategy.rollingUpdate.maxUnavailable Invalid"],
            ),
            (
                format!(r#"{SELECTOR},"strategy":{{"rollingUpdate":{{"maxSurge":"x"}}}}"#),
                &["spec.strategy.rollingUpdate.maxSurge Invalid"],
            ),
            (
                format!(r#"{SELECTOR},"strategy":{{"type":"Recreate","rollingUpdate":{{}}}}"#),
                &["spec.strategy.rollingUpdate Forbidden"],
            ),
            (format!(r#"{SELECTOR},"minReadySeconds":600"#), &["spec.progressDeadlineSeconds Invalid"]),
        ] {
            assert_eq!(refused::<apps::Deployment>(&deployment(&fields)), expected, "{fields}");
        }
    }

    #[test]
    fn selectors_stay() {
        let old = deployment(r#""selector":{"matchLabels":{"app":"x"}}"#);
        let new = deployment(r#""selector":{"matchExpressions":[{"key":"app","operator":"Exists"}]}"#);
        assert_eq!(refused_update::<apps::Deployment>(&old, &new), ["spec.selector Invalid"]);
    }

    #[test]
    fn pods_of_several_share_disks_to_read_from() {
        let set = |replicas: i32, disk: &str| {
            refused::<apps::ReplicaSet>(&format!(
                r#"{{"metadata":{{"name":"w","namespace":"n"}},"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"a":"b"}}}},"template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{{"name":"c","image":"i"}}],"volumes":[{{"name":"v","gcePersistentDisk":{{"pdName":"d"{disk}}}}}]}}}}}}}}"#
            ))
        };
        assert_eq!(set(2, ""), ["spec.template.spec.volumes[0].gcePersistentDisk.readOnly Invalid"]);
        assert_eq!(set(2, r#","readOnly":true"#), [""; 0]);
        assert_eq!(set(1, ""), [""; 0]);
    }

    #[test]
    fn controllers_select_their_template() {
        let rc = |fields: &str| refused::<core::ReplicationController>(&deployment(fields));
        assert_eq!(rc(r#""replicas":0"#), [""; 0]);
        assert_eq!(rc(r#""selector":{"other":"x"}"#), ["spec.template.metadata.labels Invalid"]);
        let restarted = r#"{"metadata":{"name":"w","namespace":"n"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#;
        assert_eq!(refused::<apps::ReplicaSet>(restarted), ["spec.template.spec.restartPolicy NotSupported"]);
    }
}
