//! What of a pod's spec may change: hardly anything.

use k8s_openapi::api::core::v1::{
    Affinity, EphemeralContainer, NodeAffinity, NodeSelectorTerm, Pod, PodSpec, Toleration,
};

use super::{METADATA, SPEC, annotations, own_spec, scheduling};
use crate::field::{Errors, Path};
use crate::validation::rules::between;

const RULE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const ADDED: &str = "only additions are allowed (no mutations or deletions)";

pub(in crate::validation) fn update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let default = PodSpec::default();
    let (spec, old_spec) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    own_spec(&new.metadata, spec, errors);
    annotations::update(&new.metadata, &old.metadata, &METADATA.child("annotations"), errors);
    if spec.containers.len() != old_spec.containers.len() {
        return errors.forbidden(&SPEC.child("containers"), "pod updates may not add or remove containers");
    }
    let count = |s: &PodSpec| s.init_containers.as_ref().map_or(0, Vec::len);
    if count(spec) != count(old_spec) {
        return errors.forbidden(&SPEC.child("initContainers"), "pod updates may not add or remove containers");
    }
    if !deadline(spec.active_deadline_seconds, old_spec.active_deadline_seconds, errors) {
        return;
    }
    tolerations(spec, old_spec, errors);
    gates(spec, old_spec, errors);
    let mut reverted = spec.clone();
    revert(&mut reverted, old_spec, errors);
    if reverted != *old_spec {
        errors.forbidden(&SPEC, RULE);
    }
}

/// A deadline may be set, and come closer. Nothing else is judged where it is put off.
fn deadline(new: Option<i64>, old: Option<i64>, errors: &mut Errors) -> bool {
    let path = SPEC.child("activeDeadlineSeconds");
    match (new, old) {
        (Some(new), old) => {
            let before = errors.len();
            between(new, 0, i32::MAX.into(), &path, errors);
            if old.is_some_and(|old| new > old) {
                errors.invalid(&path, &new, "must be less than or equal to previous value");
            }
            errors.len() == before
        }
        (None, Some(_)) => {
            errors.invalid(&path, &new, "must not update from a positive integer to nil value");
            true
        }
        (None, None) => true,
    }
}

/// Gates may be opened, not closed.
fn gates(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let list = SPEC.child("schedulingGates");
    for (i, gate) in scheduling::gates(new).iter().enumerate() {
        if !scheduling::gates(old).contains(gate) {
            let rule = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.forbidden(&list.index(i).child("name"), &rule);
        }
    }
}

/// Tolerations may be added.
fn tolerations(new: &PodSpec, old: &PodSpec, errors: &mut Errors) {
    let timeless = |t: &Toleration| Toleration { toleration_seconds: None, ..t.clone() };
    let kept: Vec<Toleration> = new.tolerations.iter().flatten().map(timeless).collect();
    if old.tolerations.iter().flatten().any(|t| !kept.contains(&timeless(t))) {
        let rule = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&SPEC.child("tolerations"), rule);
    }
}

/// Takes back what may change.
fn revert(new: &mut PodSpec, old: &PodSpec, errors: &mut Errors) {
    let containers = new.containers.iter_mut().zip(&old.containers);
    let init = new.init_containers.iter_mut().flatten().zip(old.init_containers.iter().flatten());
    containers.chain(init).for_each(|(new, old)| new.image.clone_from(&old.image));
    new.active_deadline_seconds = old.active_deadline_seconds;
    new.scheduling_gates.clone_from(&old.scheduling_gates);
    new.tolerations.clone_from(&old.tolerations);
    if old.termination_grace_period_seconds.is_some_and(|s| s < 0) && new.termination_grace_period_seconds == Some(1) {
        new.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if !scheduling::gates(old).is_empty() {
        narrow(new, old, errors);
    }
}

/// What keeps a pod from being scheduled may also narrow where it will be.
fn narrow(new: &mut PodSpec, old: &PodSpec, errors: &mut Errors) {
    let has = |key: &String, value: &String| new.node_selector.as_ref().and_then(|s| s.get(key)) == Some(value);
    if !old.node_selector.iter().flatten().all(|(key, value)| has(key, value)) {
        let rule = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(&SPEC.child("nodeSelector"), &new.node_selector, rule);
    }
    new.node_selector.clone_from(&old.node_selector);
    let node_affinity = |spec: &PodSpec| spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let (now, before) = (node_affinity(new), node_affinity(old));
    if now == before {
        return;
    }
    node_terms(now.as_ref(), before.as_ref(), errors);
    let affinity = new.affinity.get_or_insert_with(Affinity::default);
    affinity.node_affinity = before;
    if old.affinity.is_none() && *affinity == Affinity::default() {
        new.affinity = None;
    }
}

/// Terms, of which one must hold, stay as many as they are; each may ask for more.
fn node_terms(new: Option<&NodeAffinity>, old: Option<&NodeAffinity>, errors: &mut Errors) {
    let terms = |affinity: Option<&NodeAffinity>| {
        let required = affinity.and_then(|own| own.required_during_scheduling_ignored_during_execution.clone());
        required.map(|required| required.node_selector_terms).unwrap_or_default()
    };
    let (now, before) = (terms(new), terms(old));
    let affinity = SPEC.child("affinity");
    let path = affinity.child("nodeAffinity");
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
    let list = path.child("nodeSelectorTerms");
    if !before.is_empty() && now.len() != before.len() {
        let rule = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(&list, &now, rule);
    }
    for (i, (now, before)) in now.iter().zip(&before).enumerate() {
        if !asks_for_more(now, before) {
            errors.invalid(&list.index(i), now, ADDED);
        }
    }
}

/// Whether a term has what it had, in its place. One that asked for nothing holds nowhere, and stays so.
fn asks_for_more(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let pairs = [(&new.match_expressions, &old.match_expressions), (&new.match_fields, &old.match_fields)];
    let of = |list: &'_ Option<Vec<_>>| list.clone().unwrap_or_default();
    let none = pairs.iter().all(|(_, old)| of(old).is_empty());
    pairs.iter().all(|(new, old)| of(new).starts_with(&of(old)) && (!none || of(new).is_empty()))
}

/// What is wrong with a pod that is to replace another through its subresource `ephemeralcontainers`: they may be added.
#[must_use]
pub fn update_ephemeral_containers(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    if annotations::is_mirror(&old.metadata) {
        errors.forbidden(&Path::ROOT, "static pods do not support ephemeral containers");
        return errors;
    }
    own_spec(&new.metadata, new.spec.as_ref().unwrap_or(&PodSpec::default()), &mut errors);
    let list = SPEC.child("ephemeralContainers");
    let all = |pod: &Pod| pod.spec.as_ref().and_then(|s| s.ephemeral_containers.clone()).unwrap_or_default();
    let (now, before): (Vec<EphemeralContainer>, _) = (all(new), all(old));
    for container in &before {
        let what = match now.iter().rfind(|c| c.name == container.name) {
            None => "removed",
            Some(kept) if kept != container => "changed",
            Some(_) => continue,
        };
        let rule = format!("existing ephemeral containers {:?} may not be {what}\n", container.name);
        errors.forbidden(&list, &rule);
    }
    errors
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use crate::validation::tests::{object, refused_update};
    use crate::validation::update_ephemeral_containers;

    fn pod(fields: &str) -> String {
        let containers =
            if fields.contains("\"containers\"") { "" } else { r#""containers":[{"name":"c","image":"i"}],"# };
        format!(r#"{{"metadata":{{"name":"p","namespace":"n"}},"spec":{{{containers}{fields}}}}}"#)
    }

    #[test]
    fn specs_hardly_change() {
        for (old, new, expected) in [
            (r#""priority":0"#, r#""priority":0,"activeDeadlineSeconds":5,"tolerations":[{"key":"a"}]"#, &[][..]),
            (
                r#""containers":[{"name":"c","image":"i"}]"#,
                r#""containers":[{"name":"c","image":"j","imagePullPolicy":"Always"}]"#,
                &[],
            ),
            (r#""priority":0"#, r#""priority":1"#, &["spec Forbidden"]),
            (r#""priority":0"#, r#""restartPolicy":"Odd""#, &["spec.restartPolicy NotSupported", "spec Forbidden"]),
            (
                r#""containers":[{"name":"c","image":"i"}]"#,
                r#""containers":[{"name":"c","image":"i"},{"name":"d","image":"i"}]"#,
                &["spec.containers Forbidden"],
            ),
            (r#""activeDeadlineSeconds":5"#, r#""activeDeadlineSeconds":6"#, &["spec.activeDeadlineSeconds Invalid"]),
            (r#""activeDeadlineSeconds":5"#, r#""priority":null"#, &["spec.activeDeadlineSeconds Invalid"]),
            (r#""tolerations":[{"key":"a"}]"#, r#""priority":null"#, &["spec.tolerations Forbidden"]),
            (
                r#""priority":0"#,
                r#""priority":0,"schedulingGates":[{"name":"a"}]"#,
                &["spec.schedulingGates[0].name Forbidden"],
            ),
        ] {
            assert_eq!(refused_update::<Pod>(&pod(old), &pod(new)), expected, "{old} to {new}");
        }
    }

    #[test]
    fn gated_pods_are_narrowed() {
        const TERMS: &str =
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
        let affinity = |keys: &str| {
            let terms: Vec<String> = keys
                .split(' ')
                .map(|term| {
                    let keys: Vec<String> =
                        term.chars().map(|key| format!(r#"{{"key":"{key}","operator":"Exists"}}"#)).collect();
                    format!(r#"{{"matchExpressions":[{}]}}"#, keys.join(","))
                })
                .collect();
            format!(
                r#""affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{}]}}}}}}"#,
                terms.join(",")
            )
        };
        let none = r#""priority":null"#.to_owned();
        for (old, new, expected) in [
            (none.clone(), r#""nodeSelector":{"x":"y"}"#.to_owned(), Vec::new()),
            (r#""nodeSelector":{"x":"y"}"#.to_owned(), none.clone(), vec!["spec.nodeSelector Invalid".to_owned()]),
            (none, affinity("a"), Vec::new()),
            (affinity("a"), affinity("ab"), Vec::new()),
            (affinity("ab"), affinity("b"), vec![format!("{TERMS}[0] Invalid")]),
            (affinity("a"), affinity("a b"), vec![format!("{TERMS} Invalid")]),
        ] {
            let gated = |fields: &str| pod(&format!(r#""schedulingGates":[{{"name":"g"}}],{fields}"#));
            assert_eq!(refused_update::<Pod>(&gated(&old), &gated(&new)), expected, "{old} to {new}");
        }
    }

    #[test]
    fn ephemeral_containers_are_added() {
        let typed = |fields: &str| object::<Pod>(&pod(fields)).downcast::<Pod>().expect("a pod");
        let none = typed(r#""priority":0"#);
        let one = typed(r#""ephemeralContainers":[{"name":"e","image":"i"}]"#);
        assert!(update_ephemeral_containers(&one, &none).is_empty());
        assert_eq!(update_ephemeral_containers(&none, &one).len(), 1);
    }

    #[test]
    fn some_annotations_stay() {
        let with = |annotations: &str| {
            format!(
                r#"{{"metadata":{{"name":"p","namespace":"n","annotations":{{{annotations}}}}},"spec":{{"nodeName":"n","containers":[{{"name":"c","image":"i"}}]}}}}"#
            )
        };
        let mirror = r#""kubernetes.io/config.mirror":"x""#;
        assert_eq!(
            refused_update::<Pod>(&with(mirror), &with("")),
            ["metadata.annotations[kubernetes.io/config.mirror] Forbidden"]
        );
        assert_eq!(refused_update::<Pod>(&with(mirror), &with(&format!(r#"{mirror},"a":"b""#))), [""; 0]);
    }
}
