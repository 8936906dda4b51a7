//! The rows of `admissionregistration.k8s.io`.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration, ParamKind, ParamRef,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Cells, age, cells};
use crate::selector::format_labels;

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
        ("", Some(selector)) => format_labels(Some(selector)),
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
        let binding = r#"{"metadata":{"name":"b"},"spec":{"policyName":"p","paramRef":{"name":"x"}}}"#;
        assert_eq!(line::<ValidatingAdmissionPolicyBinding>(binding), "b | p | */x | <unknown>");
    }
}
