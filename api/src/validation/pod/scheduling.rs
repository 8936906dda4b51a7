//! Where pods may run: tolerations, affinities, spread, gates.

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSchedulingGate, PodSpec, Toleration,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::labels;
use crate::validation::rules::{POSITIVE, one_of, one_of_if_set, text, unique};

const NO_KEY: &str = "can not be empty";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn gates(spec: &PodSpec) -> &[PodSchedulingGate] {
    spec.scheduling_gates.as_deref().unwrap_or_default()
}

pub(super) fn all(spec: &PodSpec, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("readinessGates");
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = list.index(i);
        errors.invalid_each(&path.child("conditionType"), &gate.condition_type, names::qualified(&gate.condition_type));
    }
    let list = path.child("schedulingGates");
    for (i, gate) in gates(spec).iter().enumerate() {
        errors.invalid_each(&list.index(i), &gate.name, names::qualified(&gate.name));
    }
    unique(gates(spec), |g| Some(g.name.clone()), &list, None, errors);
    tolerations(spec.tolerations.as_deref().unwrap_or_default(), &path.child("tolerations"), errors);
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    spread(constraints, &path.child("topologySpreadConstraints"), errors);
}

pub(in crate::validation) fn tolerations(tolerations: &[Toleration], list: &Path<'_>, errors: &mut Errors) {
    for (i, toleration) in tolerations.iter().enumerate() {
        let path = list.index(i);
        let (key, operator) = (text(toleration.key.as_ref()), text(toleration.operator.as_ref()));
        let (value, effect) = (text(toleration.value.as_ref()), text(toleration.effect.as_ref()));
        let operator_path = path.child("operator");
        if !key.is_empty() {
            errors.invalid_each(&path.child("key"), key, names::qualified(key));
        } else if operator != "Exists" {
            let rule = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&operator_path, operator, rule);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            errors.invalid(&path.child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator {
            "" | "Equal" => errors.invalid_each(&operator_path, value, names::label_value(value)),
            "Exists" if value.is_empty() => {}
            "Exists" => errors.invalid(&operator_path, value, "value must be empty when `operator` is 'Exists'"),
            other => errors.not_supported(&operator_path, other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            one_of(effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"], &path.child("effect"), errors);
        }
    }
}

fn spread(constraints: &[TopologySpreadConstraint], list: &Path<'_>, errors: &mut Errors) {
    for (i, constraint) in constraints.iter().enumerate() {
        let path = list.index(i);
        if constraint.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), &constraint.max_skew, POSITIVE);
        }
        if constraint.topology_key.is_empty() {
            errors.required(&path.child("topologyKey"), NO_KEY);
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        one_of(&constraint.when_unsatisfiable, &actions, &path.child("whenUnsatisfiable"), errors);
        let again = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == constraint.when_unsatisfiable
        };
        if constraints[i + 1..].iter().any(again) {
            let pair = format!("{{{}, {}}}", constraint.topology_key, constraint.when_unsatisfiable);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), &pair);
        }
        if let Some(domains) = constraint.min_domains {
            if domains <= 0 {
                errors.invalid(&path.child("minDomains"), &domains, POSITIVE);
            }
            if constraint.when_unsatisfiable != "DoNotSchedule" {
                let rule = "can only use minDomains if whenUnsatisfiable=DoNotSchedule";
                errors.invalid(&path.child("minDomains"), &domains, rule);
            }
        }
        let policies = ["Honor", "Ignore"];
        one_of_if_set(constraint.node_affinity_policy.as_ref(), &policies, &path.child("nodeAffinityPolicy"), errors);
        one_of_if_set(constraint.node_taints_policy.as_ref(), &policies, &path.child("nodeTaintsPolicy"), errors);
        labels::selector(constraint.label_selector.as_ref(), &path.child("labelSelector"), errors);
        let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
        label_keys(keys, constraint.label_selector.as_ref(), &path.child("matchLabelKeys"), errors);
        selected_twice(keys, constraint.label_selector.as_ref(), &path, errors);
    }
}

/// Keys of labels whose values are the pod's own: they narrow a selector.
fn label_keys(keys: &[String], selector: Option<&LabelSelector>, list: &Path<'_>, errors: &mut Errors) {
    if selector.is_none() && !keys.is_empty() {
        return errors.forbidden(list, "must not be specified when labelSelector is not set");
    }
    for (i, key) in keys.iter().enumerate() {
        errors.invalid_each(&list.index(i), key, names::qualified(key));
    }
}

/// A pod's keys are in the selector already, each as one requirement: one more is the client's own. A path as upstream has it.
fn selected_twice(keys: &[String], selector: Option<&LabelSelector>, path: &Path<'_>, errors: &mut Errors) {
    let Some(selector) = selector else { return };
    let mut seen: Vec<&String> = selector.match_labels.iter().flatten().map(|(key, _)| key).collect();
    for key in selector.match_expressions.iter().flatten().map(|requirement| &requirement.key) {
        if let Some(i) = keys.iter().rposition(|own| own == key)
            && seen.contains(&key)
        {
            errors.invalid(&path.index(i), key, "exists in both matchLabelKeys and labelSelector");
        }
        seen.push(key);
    }
}

pub(super) fn affinity(affinity: Option<&Affinity>, path: &Path<'_>, errors: &mut Errors) {
    let Some(affinity) = affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(selector) = &node.required_during_scheduling_ignored_during_execution {
            let path = path.child(REQUIRED);
            node_terms(&selector.node_selector_terms, &path, errors);
        }
        let list = path.child(PREFERRED);
        for (i, term) in node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
            let path = list.index(i);
            weight(term.weight, &path, errors);
            node_term(&term.preference, false, &path.child("preference"), errors);
        }
    }
    if let Some(pods) = &affinity.pod_affinity {
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_terms(required, preferred, &path.child("podAffinity"), errors);
    }
    if let Some(pods) = &affinity.pod_anti_affinity {
        let required = pods.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pods.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_terms(required, preferred, &path.child("podAntiAffinity"), errors);
    }
}

fn weight(weight: i32, path: &Path<'_>, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), &weight, "must be in the range 1-100");
    }
}

/// The terms of a node selector, of which one must hold.
pub(in crate::validation) fn node_terms(terms: &[NodeSelectorTerm], path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&list, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(term, true, &list.index(i), errors);
    }
}

/// What no node has may be preferred, and not be required.
fn node_term(term: &NodeSelectorTerm, is_required: bool, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("matchExpressions");
    for (i, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = list.index(i);
        node_requirement(requirement, &path, errors);
        errors.invalid_each(&path.child("key"), &requirement.key, names::qualified(&requirement.key));
        let list = path.child("values");
        for (i, value) in requirement.values.iter().flatten().enumerate().filter(|_| is_required) {
            errors.invalid_each(&list.index(i), value, names::label_value(value));
        }
    }
    let list = path.child("matchFields");
    for (i, requirement) in term.match_fields.iter().flatten().enumerate() {
        let path = list.index(i);
        let values = requirement.values.as_deref().unwrap_or_default();
        if !matches!(requirement.operator.as_str(), "In" | "NotIn") {
            errors.invalid(&path.child("operator"), &requirement.operator, "not a valid selector operator");
        } else if values.len() != 1 {
            let rule = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&path.child("values"), rule);
        }
        if requirement.key == "metadata.name" {
            let list = path.child("values");
            for (i, value) in values.iter().enumerate() {
                errors.invalid_each(&list.index(i), value, names::dns_subdomain(value));
            }
        } else {
            errors.invalid(&path.child("key"), &requirement.key, "not a valid field selector key");
        }
    }
}

fn node_requirement(requirement: &NodeSelectorRequirement, path: &Path<'_>, errors: &mut Errors) {
    let count = requirement.values.as_ref().map_or(0, Vec::len);
    match requirement.operator.as_str() {
        "Gt" | "Lt" if count == 1 => {}
        "Gt" | "Lt" => {
            errors.required(&path.child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        operator => labels::values_fit(operator, count, path, errors),
    }
}

fn pod_terms(
    required: Option<&[PodAffinityTerm]>,
    preferred: Option<&[WeightedPodAffinityTerm]>,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let list = path.child(REQUIRED);
    for (i, term) in required.unwrap_or_default().iter().enumerate() {
        pod_term(term, &list.index(i), errors);
    }
    let list = path.child(PREFERRED);
    for (i, term) in preferred.unwrap_or_default().iter().enumerate() {
        let path = list.index(i);
        weight(term.weight, &path, errors);
        pod_term(&term.pod_affinity_term, &path.child("podAffinityTerm"), errors);
    }
}

fn pod_term(term: &PodAffinityTerm, path: &Path<'_>, errors: &mut Errors) {
    labels::selector(term.label_selector.as_ref(), &path.child("labelSelector"), errors);
    labels::selector(term.namespace_selector.as_ref(), &path.child("namespaceSelector"), errors);
    let (same, other) =
        (term.match_label_keys.as_deref().unwrap_or_default(), term.mismatch_label_keys.as_deref().unwrap_or_default());
    label_keys(same, term.label_selector.as_ref(), &path.child("matchLabelKeys"), errors);
    label_keys(other, term.label_selector.as_ref(), &path.child("mismatchLabelKeys"), errors);
    selected_twice(same, term.label_selector.as_ref(), path, errors);
    for (i, key) in same.iter().enumerate().filter(|(_, key)| other.contains(key)) {
        let list = path.child("matchLabelKeys");
        errors.invalid(&list.index(i), key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
    for namespace in term.namespaces.iter().flatten() {
        errors.invalid_each(&path.child("namespace"), namespace, names::dns_label(namespace));
    }
    let path = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required(&path, NO_KEY);
    }
    errors.invalid_each(&path, &term.topology_key, names::qualified(&term.topology_key));
}
