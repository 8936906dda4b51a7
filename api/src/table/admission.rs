//! The rows of `admissionregistration.k8s.io`.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration, ParamKind, ParamRef,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for ValidatingWebhookConfiguration {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        counted(&self.metadata, self.webhooks.as_ref().map_or(0, Vec::len), now)
    }
}

impl Cells for MutatingWebhookConfiguration {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        counted(&self.metadata, self.webhooks.as_ref().map_or(0, Vec::len), now)
    }
}

impl Cells for ValidatingAdmissionPolicy {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.as_ref();
        let count = spec.and_then(|s| s.validations.as_ref()).map_or(0, Vec::len);
        policy(&self.metadata, count, spec.and_then(|s| s.param_kind.as_ref()), now)
    }
}

impl Cells for MutatingAdmissionPolicy {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.as_ref();
        let count = spec.and_then(|s| s.mutations.as_ref()).map_or(0, Vec::len);
        policy(&self.metadata, count, spec.and_then(|s| s.param_kind.as_ref()), now)
    }
}

impl Cells for ValidatingAdmissionPolicyBinding {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        binding(&self.metadata, &self.spec.policy_name, self.spec.param_ref.as_ref(), now)
    }
}

impl Cells for MutatingAdmissionPolicyBinding {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = self.spec.as_ref();
        let policy = cells::text(spec.and_then(|s| s.policy_name.as_ref()));
        binding(&self.metadata, policy, spec.and_then(|s| s.param_ref.as_ref()), now)
    }
}

fn counted(meta: &ObjectMeta, count: usize, now: Timestamp) -> Vec<Value> {
    vec![cells::text(meta.name.as_ref()).into(), count.into(), age(meta, now).into()]
}

fn policy(meta: &ObjectMeta, count: usize, params: Option<&ParamKind>, now: Timestamp) -> Vec<Value> {
    let params = params.map(|p| format!("{}/{}", cells::text(p.api_version.as_ref()), cells::text(p.kind.as_ref())));
    vec![
        cells::text(meta.name.as_ref()).into(),
        count.into(),
        params.unwrap_or_else(|| cells::UNSET.to_owned()).into(),
        age(meta, now).into(),
    ]
}

fn binding(meta: &ObjectMeta, policy: &str, params: Option<&ParamRef>, now: Timestamp) -> Vec<Value> {
    let params = params.map(|p| match (cells::text(p.name.as_ref()), &p.selector) {
        ("", Some(selector)) => in_gos_words(selector),
        ("", None) => cells::UNSET.to_owned(),
        (name, _) => format!("{}/{name}", cells::text_or(p.namespace.as_ref(), "*")),
    });
    vec![
        cells::text(meta.name.as_ref()).into(),
        policy.into(),
        params.unwrap_or_else(|| cells::UNSET.to_owned()).into(),
        age(meta, now).into(),
    ]
}

/// A selector as Go prints the message that it is, which is what upstream shows of it.
fn in_gos_words(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let requirements = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
    });
    let (labels, requirements): (String, String) = (labels.collect(), requirements.collect());
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    #[test]
    fn what_kubectl_shows() {
        let hooks = r#"{"metadata":{"name":"h"},"webhooks":[{"name":"a"},{"name":"b"}]}"#;
        assert_eq!(line::<ValidatingWebhookConfiguration>(hooks), "h | 2 | <unknown>");
        let policy =
            r#"{"metadata":{"name":"p"},"spec":{"paramKind":{"apiVersion":"v1","kind":"K"},"validations":[{}]}}"#;
        assert_eq!(line::<ValidatingAdmissionPolicy>(policy), "p | 1 | v1/K | <unknown>");
        let policy = r#"{"metadata":{"name":"p"},"spec":{}}"#;
        assert_eq!(line::<MutatingAdmissionPolicy>(policy), "p | 0 | <unset> | <unknown>");
        for (params, expected) in [
            ("{}", "<unset>"),
            (r#"{"name":"x"}"#, "*/x"),
            (r#"{"name":"x","namespace":"n"}"#, "n/x"),
            (
                r#"{"selector":{"matchLabels":{"b":"2","a":"1"},"matchExpressions":[{"key":"c","operator":"In","values":["x","y"]}]}}"#,
                "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:c,Operator:In,Values:[x y],},},}",
            ),
        ] {
            let binding = format!(r#"{{"metadata":{{"name":"b"}},"spec":{{"policyName":"p","paramRef":{params}}}}}"#);
            let expected = format!("b | p | {expected} | <unknown>");
            assert_eq!(line::<ValidatingAdmissionPolicyBinding>(&binding), expected);
            assert_eq!(line::<MutatingAdmissionPolicyBinding>(&binding), expected);
        }
    }
}
