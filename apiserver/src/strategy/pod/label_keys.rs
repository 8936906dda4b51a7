//! Keys of labels by which a pod is near to or far from others that have its own value: what they stand for is written
//! into the selectors when the pod is made.
//!
//! Source: `mutatePodAffinity` and `mutateTopologySpreadConstraints`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec, WeightedPodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

type Labels = BTreeMap<String, String>;

/// Writes the pod's own values into the selectors of its affinity and of its spread.
pub(super) fn merge(spec: &mut PodSpec, labels: &Labels) {
    if let Some(affinity) = &mut spec.affinity {
        if let Some(near) = &mut affinity.pod_affinity {
            weighted(near.preferred_during_scheduling_ignored_during_execution.as_mut(), labels);
            terms(near.required_during_scheduling_ignored_during_execution.as_mut(), labels);
        }
        if let Some(far) = &mut affinity.pod_anti_affinity {
            weighted(far.preferred_during_scheduling_ignored_during_execution.as_mut(), labels);
            terms(far.required_during_scheduling_ignored_during_execution.as_mut(), labels);
        }
    }
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        require(constraint.label_selector.as_mut(), constraint.match_label_keys.as_ref(), "In", labels);
    }
}

fn weighted(list: Option<&mut Vec<WeightedPodAffinityTerm>>, labels: &Labels) {
    list.into_iter().flatten().for_each(|weighted| term(&mut weighted.pod_affinity_term, labels));
}

fn terms(list: Option<&mut Vec<PodAffinityTerm>>, labels: &Labels) {
    list.into_iter().flatten().for_each(|one| term(one, labels));
}

fn term(term: &mut PodAffinityTerm, labels: &Labels) {
    require(term.label_selector.as_mut(), term.match_label_keys.as_ref(), "In", labels);
    require(term.label_selector.as_mut(), term.mismatch_label_keys.as_ref(), "NotIn", labels);
}

/// No selector selects nothing, and needs no narrowing; nor does a label that the pod has not.
fn require(selector: Option<&mut LabelSelector>, keys: Option<&Vec<String>>, operator: &str, labels: &Labels) {
    let Some(selector) = selector else { return };
    for (key, value) in keys.into_iter().flatten().filter_map(|key| labels.get_key_value(key)) {
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::selector::format_labels;
    use k8s_openapi::api::core::v1::Pod;

    #[test]
    fn keys_become_requirements_with_the_pods_own_values() {
        let labels = Labels::from([("hash".to_owned(), "1".to_owned()), ("team".to_owned(), "a".to_owned())]);
        for (keys, expected) in [
            (r#""labelSelector":{},"matchLabelKeys":["hash","none"]"#, "hash in (1)"),
            (
                r#""labelSelector":{"matchLabels":{"app":"w"}},"matchLabelKeys":["hash"],"mismatchLabelKeys":["team"]"#,
                "app=w,hash in (1),team notin (a)",
            ),
            (r#""matchLabelKeys":["hash"]"#, "<none>"),
        ] {
            let json = format!(
                r#"{{"spec":{{"containers":[],"affinity":{{"podAntiAffinity":{{
                    "requiredDuringSchedulingIgnoredDuringExecution":[{{"topologyKey":"z",{keys}}}]}}}}}}}}"#
            );
            let pod: Pod = serde_json::from_str(&json).expect("a pod");
            let mut spec = pod.spec.expect("a spec");
            merge(&mut spec, &labels);
            let far = spec.affinity.and_then(|affinity| affinity.pod_anti_affinity).expect("it stays");
            let terms = far.required_during_scheduling_ignored_during_execution.expect("it stays");
            assert_eq!(format_labels(terms[0].label_selector.as_ref()), expected, "{keys}");
        }
    }
}
