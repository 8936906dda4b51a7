//! Daemon sets, and the revisions that they and stateful sets keep.

use k8s_openapi::api::apps::v1::{
    ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet,
};
use serde_json::Value;

use super::rules::{amount, at_most_all, immutable, int_or_percent, not_decremented, not_negative, one_of, text};
use super::{Validate, labels, meta, pod, workload};
use crate::field::{Errors, Path};
use crate::selector::LabelSelector;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");

impl Validate for DaemonSet {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        check(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        check(self, errors);
        let selector = |set: &Self| set.spec.as_ref().map(|s| s.selector.clone());
        immutable(&selector(self), &selector(old), &SPEC.child("selector"), errors);
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        for (field, count) in [
            ("currentNumberScheduled", Some(status.current_number_scheduled)),
            ("numberMisscheduled", Some(status.number_misscheduled)),
            ("desiredNumberScheduled", Some(status.desired_number_scheduled)),
            ("numberReady", Some(status.number_ready)),
            ("updatedNumberScheduled", status.updated_number_scheduled),
            ("numberAvailable", status.number_available),
            ("numberUnavailable", status.number_unavailable),
            ("collisionCount", status.collision_count),
        ] {
            not_negative(count, &STATUS.child(field), errors);
        }
        not_negative(status.observed_generation, &STATUS.child("observedGeneration"), errors);
        let before = old.status.as_ref().and_then(|s| s.collision_count);
        not_decremented(status.collision_count, before, &STATUS.child("collisionCount"), errors);
    }
}

fn check(set: &DaemonSet, errors: &mut Errors) {
    let default = DaemonSetSpec::default();
    let spec = set.spec.as_ref().unwrap_or(&default);
    let (selector, path) = (&spec.selector, SPEC.child("template"));
    labels::selector(Some(selector), &SPEC.child("selector"), errors);
    if let Ok(parsed) = LabelSelector::of_typed(Some(selector)) {
        let matches = !workload::is_missing(selector) && parsed.matches(workload::labels_of(&spec.template));
        workload::matched(&spec.template, matches, &path, errors);
    }
    if !workload::is_missing(selector) && workload::is_empty(selector) {
        errors.invalid(&SPEC.child("selector"), selector, "empty selector is invalid for daemonset");
    }
    pod::template(&spec.template, &path, errors);
    workload::shared_disks(&spec.template, Some(i32::MAX), &path, errors);
    workload::kept_running(&spec.template, "DaemonSet", &path, errors);
    not_negative(spec.min_ready_seconds, &SPEC.child("minReadySeconds"), errors);
    let default = DaemonSetUpdateStrategy::default();
    strategy(spec.update_strategy.as_ref().unwrap_or(&default), &SPEC.child("updateStrategy"), errors);
    not_negative(spec.revision_history_limit, &SPEC.child("revisionHistoryLimit"), errors);
}

fn strategy(strategy: &DaemonSetUpdateStrategy, path: &Path<'_>, errors: &mut Errors) {
    let type_ = text(strategy.type_.as_ref());
    one_of(type_, &["RollingUpdate", "OnDelete"], path, errors);
    match &strategy.rolling_update {
        Some(rolling) if type_ == "RollingUpdate" => steps(rolling, &path.child("rollingUpdate"), errors),
        None if type_ == "RollingUpdate" => errors.required(&path.child("rollingUpdate"), ""),
        _ => {}
    }
}

/// A node's pod is either stopped before its successor starts or after, not both.
fn steps(rolling: &RollingUpdateDaemonSet, path: &Path<'_>, errors: &mut Errors) {
    for (field, value) in [("maxUnavailable", &rolling.max_unavailable), ("maxSurge", &rolling.max_surge)] {
        if let Some(value) = value {
            int_or_percent(value, &path.child(field), errors);
            at_most_all(value, &path.child(field), errors);
        }
    }
    match (amount(rolling.max_unavailable.as_ref()), amount(rolling.max_surge.as_ref())) {
        (0, 0) => errors.required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
        (0, _) | (_, 0) => {}
        _ => {
            let rule = "may not be set when maxUnavailable is non-zero";
            errors.invalid(&path.child("maxSurge"), &rolling.max_surge, rule);
        }
    }
}

impl Validate for ControllerRevision {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        revision(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        revision(self, errors);
        immutable(&self.data, &old.data, &Path::new("data"), errors);
    }
}

fn revision(revision: &ControllerRevision, errors: &mut Errors) {
    match revision.data.as_ref().map(|data| &data.0) {
        None | Some(Value::Null) => errors.required(&Path::new("data"), "data is mandatory"),
        Some(Value::Object(_)) => {}
        Some(_) => errors.required(&Path::new("data"), "data must be a valid JSON object"),
    }
    not_negative(Some(revision.revision), &Path::new("revision"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn set(fields: &str) -> String {
        let spec = r#""spec":{"containers":[{"name":"c","image":"i"}]}"#;
        format!(
            r#"{{"metadata":{{"name":"d","namespace":"n"}},"spec":{{{fields},"template":{{"metadata":{{"labels":{{"a":"b"}}}},{spec}}}}}}}"#
        )
    }

    #[test]
    fn sets_are_held_to_their_rules() {
        const SELECTOR: &str = r#""selector":{"matchLabels":{"a":"b"}}"#;
        let with = |more: &str| refused::<DaemonSet>(&set(&format!("{SELECTOR},{more}")));
        for (fields, expected) in [
            (r#""minReadySeconds":0"#, &[][..]),
            (
                r#""minReadySeconds":-1,"revisionHistoryLimit":-1"#,
                &["spec.minReadySeconds Invalid", "spec.revisionHistoryLimit Invalid"],
            ),
            (r#""updateStrategy":{"type":"X"}"#, &["spec.updateStrategy NotSupported"]),
            (
                r#""updateStrategy":{"rollingUpdate":{"maxUnavailable":0}}"#,
                &["spec.updateStrategy.rollingUpdate.maxUnavailable Required"],
            ),
            (
                r#""updateStrategy":{"rollingUpdate":{"maxSurge":"120%"}}"#,
                &[
                    "spec.updateStrategy.rollingUpdate.maxSurge Invalid",
                    "spec.updateStrategy.rollingUpdate.maxSurge Invalid",
                ],
            ),
        ] {
            assert_eq!(with(fields), expected, "{fields}");
        }
        assert_eq!(refused::<DaemonSet>(&set(r#""minReadySeconds":0"#)), ["spec.template.metadata.labels Invalid"]);
        let old = set(SELECTOR);
        let new = set(r#""selector":{"matchExpressions":[{"key":"a","operator":"Exists"}]}"#);
        assert_eq!(refused_update::<DaemonSet>(&old, &new), ["spec.selector Invalid"]);
    }

    #[test]
    fn revisions_do_not_change() {
        let revision = |fields: &str| format!(r#"{{"metadata":{{"name":"r","namespace":"n"}},{fields}}}"#);
        let old = revision(r#""revision":1,"data":{"a":1}"#);
        assert_eq!(refused::<ControllerRevision>(&old), [""; 0]);
        assert_eq!(refused::<ControllerRevision>(&revision(r#""revision":-1"#)), ["data Required", "revision Invalid"]);
        assert_eq!(refused::<ControllerRevision>(&revision(r#""revision":1,"data":[]"#)), ["data Required"]);
        let new = revision(r#""revision":2,"data":{"a":2}"#);
        assert_eq!(refused_update::<ControllerRevision>(&old, &new), ["data Invalid"]);
    }
}
