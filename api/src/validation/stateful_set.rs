//! Stateful sets.

use k8s_openapi::api::apps::v1::{
    RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume,
};

use super::rules::{
    amount, at_most_all, int_or_percent, named_if_set, not_decremented, not_negative, one_of, required, text,
};
use super::{Validate, claim, meta, pod, workload};
use crate::field::{Errors, Path};
use crate::names;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
/// Pods are named after their set, and a pod's name is its host's.
const NAMING: meta::Naming = meta::Naming { name: names::dns_label, namespaced: true };
const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

impl Validate for StatefulSet {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, NAMING, errors);
        let default = StatefulSetSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&default);
        named_if_set(spec.service_name.as_ref(), names::dns_label, &SPEC.child("serviceName"), errors);
        check(spec, true, errors);
        claims(spec, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let default = StatefulSetSpec::default();
        let (new, old) = (self.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
        check(new, was_right(old), errors);
        let reverted = StatefulSetSpec {
            replicas: old.replicas,
            template: old.template.clone(),
            update_strategy: old.update_strategy.clone(),
            min_ready_seconds: old.min_ready_seconds,
            ordinals: old.ordinals.clone(),
            revision_history_limit: old.revision_history_limit,
            persistent_volume_claim_retention_policy: old.persistent_volume_claim_retention_policy.clone(),
            ..new.clone()
        };
        if reverted != *old {
            errors.forbidden(&SPEC, FIXED);
        }
    }

    fn validate_status(&self, old: &Self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        let all = status.replicas;
        for (field, count) in [
            ("replicas", Some(all)),
            ("readyReplicas", status.ready_replicas),
            ("currentReplicas", status.current_replicas),
            ("updatedReplicas", status.updated_replicas),
            ("availableReplicas", status.available_replicas),
            ("collisionCount", status.collision_count),
        ] {
            let path = STATUS.child(field);
            not_negative(count, &path, errors);
            if field != "collisionCount"
                && let Some(count) = count.filter(|count| *count > all)
            {
                errors.invalid(&path, &count, "cannot be greater than status.replicas");
            }
        }
        not_negative(status.observed_generation, &STATUS.child("observedGeneration"), errors);
        if let Some(available) = status.available_replicas.filter(|a| *a > status.ready_replicas.unwrap_or(0)) {
            let rule = "cannot be greater than status.readyReplicas";
            errors.invalid(&STATUS.child("availableReplicas"), &available, rule);
        }
        let before = old.status.as_ref().and_then(|s| s.collision_count);
        not_decremented(status.collision_count, before, &STATUS.child("collisionCount"), errors);
    }
}

/// What each pod claims. The templates never change, so that those which were wrong once may stay.
fn claims(spec: &StatefulSetSpec, errors: &mut Errors) {
    let list = SPEC.child("volumeClaimTemplates");
    let default = PersistentVolumeClaimSpec::default();
    for (i, template) in spec.volume_claim_templates.iter().flatten().enumerate() {
        claim::spec(template.spec.as_ref().unwrap_or(&default), &list.index(i).child("spec"), errors);
    }
}

/// A spec that is wrong as it is stored may stay so.
fn was_right(spec: &StatefulSetSpec) -> bool {
    let mut errors = Errors::new();
    check(spec, true, &mut errors);
    errors.is_empty()
}

fn check(spec: &StatefulSetSpec, with_template: bool, errors: &mut Errors) {
    let management = text(spec.pod_management_policy.as_ref());
    let path = SPEC.child("podManagementPolicy");
    required(management, &path, errors);
    if !matches!(management, "" | "OrderedReady" | "Parallel") {
        errors.invalid(&path, management, "must be 'OrderedReady' or 'Parallel'");
    }
    let default = StatefulSetUpdateStrategy::default();
    strategy(spec.update_strategy.as_ref().unwrap_or(&default), &SPEC.child("updateStrategy"), errors);
    if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
        let path = SPEC.child("persistentVolumeClaimRetentionPolicy");
        for (field, value) in [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)] {
            one_of(text(value.as_ref()), &["Retain", "Delete"], &path.child(field), errors);
        }
    }
    not_negative(spec.replicas, &SPEC.child("replicas"), errors);
    not_negative(spec.min_ready_seconds, &SPEC.child("minReadySeconds"), errors);
    not_negative(spec.ordinals.as_ref().and_then(|o| o.start), &SPEC.child("ordinals.start"), errors);
    let path = SPEC.child("template");
    if let Some(parsed) = workload::selector(&spec.selector, "statefulset", errors) {
        let template = &spec.template;
        let matches = !workload::is_missing(&spec.selector) && parsed.matches(workload::labels_of(template));
        workload::matched(template, matches, &path, errors);
        if with_template {
            pod::template(&with_claims(spec), &path, errors);
        } else {
            meta::template(template.metadata.as_ref(), &path, errors);
        }
    }
    workload::kept_running(&spec.template, "StatefulSet", &path, errors);
}

/// The template as pods have it: each claim is a volume.
fn with_claims(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let volumes = template.spec.get_or_insert_default().volumes.get_or_insert_default();
    for name in spec.volume_claim_templates.iter().flatten().filter_map(|claim| claim.metadata.name.as_ref()) {
        volumes.retain(|volume| volume.name != *name);
        let source = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), ..Default::default() };
        volumes.push(Volume { name: name.clone(), persistent_volume_claim: Some(source), ..Volume::default() });
    }
    template
}

fn strategy(strategy: &StatefulSetUpdateStrategy, path: &Path<'_>, errors: &mut Errors) {
    let rolling_path = path.child("rollingUpdate");
    match (text(strategy.type_.as_ref()), &strategy.rolling_update) {
        ("", _) => errors.required(path, ""),
        ("OnDelete", Some(rolling)) => {
            errors.invalid(&rolling_path, rolling, "only allowed for updateStrategy 'RollingUpdate'");
        }
        ("RollingUpdate", Some(rolling)) => steps(rolling, &rolling_path, errors),
        ("RollingUpdate" | "OnDelete", None) => {}
        _ => errors.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

fn steps(rolling: &RollingUpdateStatefulSetStrategy, path: &Path<'_>, errors: &mut Errors) {
    not_negative(rolling.partition, &path.child("partition"), errors);
    if let Some(unavailable) = &rolling.max_unavailable {
        let path = path.child("maxUnavailable");
        int_or_percent(unavailable, &path, errors);
        if amount(Some(unavailable)) == 0 {
            errors.invalid(&path, unavailable, "cannot be 0");
        }
        at_most_all(unavailable, &path, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{object, refused, refused_update};
    use crate::validation::update_status;

    fn set(name: &str, fields: &str) -> String {
        let pod = r#"{"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"data","mountPath":"/d"}]}]"#;
        let claim = r#"{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}"#;
        let claims = if fields.contains("\"volumeClaimTemplates\"") {
            r#""minReadySeconds":0"#.to_owned()
        } else {
            format!(r#""volumeClaimTemplates":[{{"metadata":{{"name":"data"}},"spec":{claim}}}]"#)
        };
        let selector = if fields.contains("\"selector\"") { "" } else { r#","selector":{"matchLabels":{"a":"b"}}"# };
        let template = if fields.contains("\"template\"") {
            String::new()
        } else {
            format!(r#","template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{pod}}}}}"#)
        };
        format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"n"}},"spec":{{{fields},{claims}{selector}{template}}}}}"#
        )
    }

    #[test]
    fn sets_are_held_to_their_rules() {
        for (fields, expected) in [
            (r#""serviceName":"s""#, &[][..]),
            (r#""serviceName":"S""#, &["spec.serviceName Invalid"]),
            (r#""podManagementPolicy":"X""#, &["spec.podManagementPolicy Invalid"]),
            (r#""updateStrategy":{"type":"X"}"#, &["spec.updateStrategy Invalid"]),
            (
                r#""updateStrategy":{"type":"OnDelete","rollingUpdate":{"partition":1}}"#,
                &["spec.updateStrategy.rollingUpdate Invalid"],
            ),
            (
                r#""updateStrategy":{"rollingUpdate":{"partition":-1,"maxUnavailable":"0%"}}"#,
                &[
                    "spec.updateStrategy.rollingUpdate.partition Invalid",
                    "spec.updateStrategy.rollingUpdate.maxUnavailable Invalid",
                ],
            ),
            (
                r#""persistentVolumeClaimRetentionPolicy":{"whenScaled":"X"}"#,
                &["spec.persistentVolumeClaimRetentionPolicy.whenScaled NotSupported"],
            ),
            (
                r#""replicas":-1,"minReadySeconds":-1,"ordinals":{"start":-1}"#,
                &["spec.replicas Invalid", "spec.minReadySeconds Invalid", "spec.ordinals.start Invalid"],
            ),
            (
                r#""volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{}}]"#,
                &[
                    "spec.volumeClaimTemplates[0].spec.accessModes Required",
                    "spec.volumeClaimTemplates[0].spec.resources[storage] Required",
                ],
            ),
            (r#""revisionHistoryLimit":-1"#, &[]),
            (r#""selector":{"matchLabels":{"a":"c"}}"#, &["spec.template.metadata.labels Invalid"]),
            (r#""selector":{}"#, &["spec.selector Required", "spec.template.metadata.labels Invalid"]),
            (
                r#""template":{"metadata":{"labels":{"a":"b"}},"spec":{"restartPolicy":"Never","containers":[]}}"#,
                &["spec.template.spec.containers Required", "spec.template.spec.restartPolicy NotSupported"],
            ),
        ] {
            assert_eq!(refused::<StatefulSet>(&set("w", fields)), expected, "{fields}");
        }
        assert_eq!(refused::<StatefulSet>(&set("a.b", r#""replicas":1"#)), ["metadata.name Invalid"]);
    }

    #[test]
    fn most_of_a_set_stays() {
        let old = set("w", r#""replicas":1"#);
        for (fields, expected) in [
            (r#""replicas":2,"minReadySeconds":3,"revisionHistoryLimit":4"#, &[][..]),
            (r#""serviceName":"other""#, &["spec Forbidden"]),
            (r#""podManagementPolicy":"Parallel""#, &["spec Forbidden"]),
        ] {
            assert_eq!(refused_update::<StatefulSet>(&old, &set("w", fields)), expected, "{fields}");
        }
    }

    #[test]
    fn counts_fit_each_other() {
        let with = |status: &str| object::<StatefulSet>(&format!(r#"{{"spec":null,"status":{{{status}}}}}"#));
        let old = with(r#""replicas":1,"collisionCount":2"#);
        let new =
            with(r#""replicas":1,"readyReplicas":1,"availableReplicas":2,"currentReplicas":-1,"collisionCount":1"#);
        assert_eq!(update_status(&new, &old).len(), 4);
        assert!(update_status(&old, &old).is_empty());
    }
}
