//! The defaults of `admissionregistration.k8s.io`.

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhook,
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};

use super::{Defaults, set};

const TIMEOUT_SECONDS: i32 = 10;
const HTTPS_PORT: i32 = 443;

impl Defaults for ValidatingWebhookConfiguration {
    fn set_defaults(&mut self) {
        for webhook in self.webhooks.iter_mut().flatten() {
            let ValidatingWebhook { failure_policy, match_policy, timeout_seconds, .. } = webhook;
            set(failure_policy, "Fail".to_owned());
            set(match_policy, "Equivalent".to_owned());
            set(timeout_seconds, TIMEOUT_SECONDS);
            webhook.namespace_selector.get_or_insert_default();
            webhook.object_selector.get_or_insert_default();
            all_scopes(webhook.rules.as_deref_mut());
            https(&mut webhook.client_config);
        }
    }
}

impl Defaults for MutatingWebhookConfiguration {
    fn set_defaults(&mut self) {
        for webhook in self.webhooks.iter_mut().flatten() {
            let MutatingWebhook { failure_policy, match_policy, timeout_seconds, reinvocation_policy, .. } = webhook;
            set(failure_policy, "Fail".to_owned());
            set(match_policy, "Equivalent".to_owned());
            set(timeout_seconds, TIMEOUT_SECONDS);
            set(reinvocation_policy, "Never".to_owned());
            webhook.namespace_selector.get_or_insert_default();
            webhook.object_selector.get_or_insert_default();
            all_scopes(webhook.rules.as_deref_mut());
            https(&mut webhook.client_config);
        }
    }
}

impl Defaults for ValidatingAdmissionPolicy {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.failure_policy, "Fail".to_owned());
        matches(spec.match_constraints.as_mut());
    }
}

impl Defaults for MutatingAdmissionPolicy {
    fn set_defaults(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.failure_policy, "Fail".to_owned());
        matches(spec.match_constraints.as_mut());
    }
}

impl Defaults for ValidatingAdmissionPolicyBinding {
    fn set_defaults(&mut self) {
        matches(self.spec.match_resources.as_mut());
    }
}

impl Defaults for MutatingAdmissionPolicyBinding {
    fn set_defaults(&mut self) {
        matches(self.spec.as_mut().and_then(|s| s.match_resources.as_mut()));
    }
}

fn all_scopes(rules: Option<&mut [RuleWithOperations]>) {
    rules.into_iter().flatten().for_each(|rule| set(&mut rule.scope, "*".to_owned()));
}

fn https(config: &mut WebhookClientConfig) {
    if let Some(service) = &mut config.service {
        set(&mut service.port, HTTPS_PORT);
    }
}

/// What a policy is about: everything that its rules name, in whichever version it is asked for.
fn matches(resources: Option<&mut MatchResources>) {
    let Some(resources) = resources else { return };
    set(&mut resources.match_policy, "Equivalent".to_owned());
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let rules = resources.resource_rules.iter_mut().chain(&mut resources.exclude_resource_rules);
    rules.flatten().for_each(|rule| set(&mut rule.scope, "*".to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::tests::completed;

    #[test]
    fn webhooks_and_policies() {
        let hook = r#"{"webhooks":[{"name":"a.b.c","clientConfig":{"service":{"name":"s","namespace":"n"}},"rules":[{"operations":["*"]}]}]}"#;
        let (validating, mutating) =
            (completed::<ValidatingWebhookConfiguration>(hook), completed::<MutatingWebhookConfiguration>(hook));
        for expected in [
            r#""failurePolicy":"Fail","matchPolicy":"Equivalent","name":"a.b.c","namespaceSelector":{},"objectSelector":{}"#,
            r#""port":443"#,
            r#""scope":"*""#,
            r#""timeoutSeconds":10"#,
        ] {
            assert!(validating.contains(expected) && mutating.contains(expected), "{validating} {mutating}");
        }
        assert!(mutating.contains(r#""reinvocationPolicy":"Never""#) && !validating.contains("reinvocation"));
        let policy = completed::<ValidatingAdmissionPolicy>(
            r#"{"spec":{"matchConstraints":{"resourceRules":[{"operations":["*"]}]}}}"#,
        );
        assert!(policy.contains(
            r#""failurePolicy":"Fail","matchConstraints":{"matchPolicy":"Equivalent","namespaceSelector":{},"objectSelector":{},"resourceRules":[{"operations":["*"],"scope":"*"}]}"#
        ), "{policy}");
    }
}
