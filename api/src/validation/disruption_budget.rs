//! Disruption budgets.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};

use super::conditions::conditions;
use super::rules::{at_most_all, int_or_percent, not_negative, one_of_if_set};
use super::{Validate, labels, meta};
use crate::field::{Errors, Path};
use crate::names;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
/// Upstream never asked for more of a budget's name.
const NAMING: meta::Naming = meta::Naming { name: names::path_segment, namespaced: true };

impl Validate for PodDisruptionBudget {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, NAMING, errors);
        check(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        check(self, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        conditions(status.conditions.as_deref().unwrap_or_default(), &STATUS.child("conditions"), errors);
        for (field, count) in [
            ("disruptionsAllowed", status.disruptions_allowed),
            ("currentHealthy", status.current_healthy),
            ("desiredHealthy", status.desired_healthy),
            ("expectedPods", status.expected_pods),
        ] {
            not_negative(count, &STATUS.child(field), errors);
        }
    }
}

fn check(budget: &PodDisruptionBudget, errors: &mut Errors) {
    let default = PodDisruptionBudgetSpec::default();
    let spec = budget.spec.as_ref().unwrap_or(&default);
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        errors.invalid(&SPEC, spec, "minAvailable and maxUnavailable cannot be both set");
    }
    for (field, bound) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
        if let Some(bound) = bound {
            int_or_percent(bound, &SPEC.child(field), errors);
            at_most_all(bound, &SPEC.child(field), errors);
        }
    }
    labels::selector(spec.selector.as_ref(), &SPEC.child("selector"), errors);
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    let policy = spec.unhealthy_pod_eviction_policy.as_ref();
    one_of_if_set(policy, &policies, &SPEC.child("unhealthyPodEvictionPolicy"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{object, refused};
    use crate::validation::update_status;

    #[test]
    fn budgets_are_held_to_their_rules() {
        for (name, spec, expected) in [
            ("Any_Name!", r#""minAvailable":1"#, &[][..]),
            ("a/b", r#""minAvailable":1"#, &["metadata.name Invalid"]),
            ("b", r#""minAvailable":1,"maxUnavailable":1"#, &["spec Invalid"]),
            ("b", r#""minAvailable":-1"#, &["spec.minAvailable Invalid"]),
            ("b", r#""maxUnavailable":"101%""#, &["spec.maxUnavailable Invalid"]),
            ("b", r#""maxUnavailable":"x""#, &["spec.maxUnavailable Invalid"]),
            ("b", r#""unhealthyPodEvictionPolicy":"X""#, &["spec.unhealthyPodEvictionPolicy NotSupported"]),
            ("b", r#""selector":{"matchLabels":{"a":"!"}}"#, &["spec.selector.matchLabels Invalid"]),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"{name}","namespace":"n"}},"spec":{{{spec}}}}}"#);
            assert_eq!(refused::<PodDisruptionBudget>(&json), expected, "{spec}");
        }
    }

    #[test]
    fn a_status_counts_from_nothing() {
        let budget = |status: &str| object::<PodDisruptionBudget>(&format!(r#"{{"status":{{{status}}}}}"#));
        let condition =
            r#"{"type":"A","status":"X","reason":"1","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}"#;
        let counts = r#""currentHealthy":-1,"desiredHealthy":0,"disruptionsAllowed":0,"expectedPods":0"#;
        let new = budget(&format!(r#"{counts},"conditions":[{condition},{condition}]"#));
        assert_eq!(update_status(&new, &new).len(), 6);
    }
}
