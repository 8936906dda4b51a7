//! Webhooks: where they are, and what they are asked about.

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, conditions, rule};
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{named, one_of, one_of_if_set, required, unique};
use crate::validation::{Validate, labels, meta};

/// The versions of `AdmissionReview` that this server speaks.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const URL_FORM: &str = "; desired format: https://host[/path]";

impl Validate for ValidatingWebhookConfiguration {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        webhooks(self.webhooks.iter().flatten().map(Webhook::from), errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        webhooks(self.webhooks.iter().flatten().map(Webhook::from), errors);
    }
}

impl Validate for MutatingWebhookConfiguration {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        webhooks(self.webhooks.iter().flatten().map(Webhook::from), errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        webhooks(self.webhooks.iter().flatten().map(Webhook::from), errors);
    }
}

/// What both kinds of webhooks have.
struct Webhook<'a> {
    name: &'a str,
    rules: &'a [RuleWithOperations],
    failure_policy: Option<&'a String>,
    match_policy: Option<&'a String>,
    reinvocation_policy: Option<&'a String>,
    side_effects: &'a str,
    timeout_seconds: Option<i32>,
    namespaces: Option<&'a LabelSelector>,
    objects: Option<&'a LabelSelector>,
    client: &'a WebhookClientConfig,
    conditions: &'a [MatchCondition],
    versions: &'a [String],
}

impl<'a> From<&'a ValidatingWebhook> for Webhook<'a> {
    fn from(hook: &'a ValidatingWebhook) -> Self {
        Self {
            name: &hook.name,
            rules: hook.rules.as_deref().unwrap_or_default(),
            failure_policy: hook.failure_policy.as_ref(),
            match_policy: hook.match_policy.as_ref(),
            reinvocation_policy: None,
            side_effects: &hook.side_effects,
            timeout_seconds: hook.timeout_seconds,
            namespaces: hook.namespace_selector.as_ref(),
            objects: hook.object_selector.as_ref(),
            client: &hook.client_config,
            conditions: hook.match_conditions.as_deref().unwrap_or_default(),
            versions: &hook.admission_review_versions,
        }
    }
}

impl<'a> From<&'a MutatingWebhook> for Webhook<'a> {
    fn from(hook: &'a MutatingWebhook) -> Self {
        Self {
            name: &hook.name,
            rules: hook.rules.as_deref().unwrap_or_default(),
            failure_policy: hook.failure_policy.as_ref(),
            match_policy: hook.match_policy.as_ref(),
            reinvocation_policy: hook.reinvocation_policy.as_ref(),
            side_effects: &hook.side_effects,
            timeout_seconds: hook.timeout_seconds,
            namespaces: hook.namespace_selector.as_ref(),
            objects: hook.object_selector.as_ref(),
            client: &hook.client_config,
            conditions: hook.match_conditions.as_deref().unwrap_or_default(),
            versions: &hook.admission_review_versions,
        }
    }
}

fn webhooks<'a>(hooks: impl Iterator<Item = Webhook<'a>>, errors: &mut Errors) {
    let list = Path::new("webhooks");
    let hooks: Vec<Webhook<'_>> = hooks.collect();
    for (i, hook) in hooks.iter().enumerate() {
        webhook(hook, &list.index(i), errors);
    }
    unique(&hooks, |hook| Some(hook.name).filter(|name| !name.is_empty()), &list, Some("name"), errors);
}

fn webhook(hook: &Webhook<'_>, path: &Path<'_>, errors: &mut Errors) {
    named(hook.name, |name| joined(names::fully_qualified(name)), &path.child("name"), errors);
    rule::rules(hook.rules, &path.child("rules"), errors);
    one_of_if_set(hook.failure_policy, &FAILURE_POLICIES, &path.child("failurePolicy"), errors);
    one_of_if_set(hook.match_policy, &MATCH_POLICIES, &path.child("matchPolicy"), errors);
    let at = path.child("sideEffects");
    match hook.side_effects {
        "" => errors.required(&at, "must specify one of None, NoneOnDryRun"),
        effects => one_of(effects, &SIDE_EFFECTS, &at, errors),
    }
    if let Some(seconds) = hook.timeout_seconds.filter(|s| !(1..=30).contains(s)) {
        let rule = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), &seconds, rule);
    }
    labels::selector(hook.namespaces, &path.child("namespaceSelector"), errors);
    labels::selector(hook.objects, &path.child("objectSelector"), errors);
    one_of_if_set(hook.reinvocation_policy, &REINVOCATION_POLICIES, &path.child("reinvocationPolicy"), errors);
    client(hook.client, &path.child("clientConfig"), errors);
    conditions(hook.conditions, false, &path.child("matchConditions"), errors);
    review_versions(hook.versions, &path.child("admissionReviewVersions"), errors);
}

fn joined(wrong: Vec<String>) -> Vec<String> {
    if wrong.is_empty() { wrong } else { vec![wrong.join(",")] }
}

fn review_versions(versions: &[String], list: &Path<'_>, errors: &mut Errors) {
    if versions.is_empty() {
        return errors.required(list, "must specify one of v1, v1beta1");
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.invalid(&list.index(i), version, "duplicate version");
        } else {
            errors.invalid_each(&list.index(i), version, names::dns_1035_label(version));
        }
    }
    if !versions.iter().any(|v| REVIEW_VERSIONS.contains(&v.as_str())) {
        errors.invalid(list, versions, "must include at least one of v1, v1beta1");
    }
}

fn client(client: &WebhookClientConfig, path: &Path<'_>, errors: &mut Errors) {
    match (&client.url, &client.service) {
        (Some(url), None) => self::url(url, &path.child("url"), errors),
        (None, Some(service)) => self::service(service, &path.child("service"), errors),
        _ => errors.required(path, "exactly one of url or service is required"),
    }
}

pub(in crate::validation) fn url(url: &str, path: &Path<'_>, errors: &mut Errors) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = if scheme.is_empty() { "" } else { rest.split('/').next().unwrap_or_default() };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if url.contains(|c: char| c.is_control() || c == ' ') {
        return errors.required(path, &format!("url must be a valid URL{URL_FORM}"));
    }
    if scheme != "https" {
        errors.invalid(path, scheme, &format!("'https' is the only allowed URL scheme{URL_FORM}"));
    }
    if host.is_empty() {
        errors.invalid(path, host, &format!("host must be specified{URL_FORM}"));
    }
    for (value, what) in [(user, "user information is"), (fragment, "fragments are"), (query, "query parameters are")] {
        if !value.is_empty() {
            errors.invalid(path, value, &format!("{what} not permitted in the URL"));
        }
    }
}

pub(in crate::validation) fn service(service: &ServiceReference, path: &Path<'_>, errors: &mut Errors) {
    required(&service.name, &path.child("name"), errors);
    required(&service.namespace, &path.child("namespace"), errors);
    let port = service.port.unwrap_or_default();
    let wrong = names::port_number(port).into_iter().map(|w| format!("port is not valid: {w}"));
    errors.invalid_each(&path.child("port"), &port, wrong.collect());
    let at = path.child("path");
    let Some(value) = service.path.as_deref().filter(|p| !matches!(*p, "" | "/")) else { return };
    if value == "//" {
        return errors.invalid(&at, value, "segment[0] may not be empty");
    }
    if !value.starts_with('/') {
        errors.invalid(&at, value, "must start with a '/'");
    }
    let segments = value.strip_prefix('/').unwrap_or(value);
    for (i, segment) in segments.strip_suffix('/').unwrap_or(segments).split('/').enumerate() {
        if segment.is_empty() {
            errors.invalid(&at, value, &format!("segment[{i}] may not be empty"));
            continue;
        }
        let wrong = names::dns_subdomain(segment).into_iter().map(|w| format!("segment[{i}]: {w}"));
        errors.invalid_each(&at, value, wrong.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::refused;

    fn hook(fields: &str) -> String {
        format!(r#"{{"metadata":{{"name":"h"}},"webhooks":[{{{fields}}}]}}"#)
    }

    const REST: &str = r#""sideEffects":"None","admissionReviewVersions":["v1"]"#;

    #[test]
    fn webhooks_are_found_and_asked_something() {
        let client = |client: &str| format!(r#""name":"a.b.c","clientConfig":{client},{REST}"#);
        let at = |field: &str, reasons: &[&str]| -> Vec<String> {
            reasons.iter().map(|reason| format!("webhooks[0].{field} {reason}")).collect()
        };
        for (fields, expected) in [
            (client(r#"{"url":"https://a/b"}"#), vec![]),
            (client("{}"), at("clientConfig", &["Required"])),
            (client(r#"{"url":"http://u@a/b?c#d"}"#), at("clientConfig.url", &["Invalid"; 4])),
            (client(r#"{"url":"a"}"#), at("clientConfig.url", &["Invalid"; 2])),
            (
                client(r#"{"service":{"name":"s","port":0,"path":"a//B"}}"#),
                [
                    at("clientConfig.service.namespace", &["Required"]),
                    at("clientConfig.service.port", &["Invalid"]),
                    at("clientConfig.service.path", &["Invalid"; 3]),
                ]
                .concat(),
            ),
            (
                r#""name":"a.b","clientConfig":{"url":"https://a"},"sideEffects":"Some","timeoutSeconds":31,"failurePolicy":"X","matchPolicy":"Y","admissionReviewVersions":["v9","v9"]"#.to_owned(),
                [
                    at("name", &["Invalid"]),
                    at("failurePolicy", &["NotSupported"]),
                    at("matchPolicy", &["NotSupported"]),
                    at("sideEffects", &["NotSupported"]),
                    at("timeoutSeconds", &["Invalid"]),
                    at("admissionReviewVersions[1]", &["Invalid"]),
                    at("admissionReviewVersions", &["Invalid"]),
                ]
                .concat(),
            ),
            (
                format!(
                    r#""name":"a.b.c","clientConfig":{{"url":"https://a"}},"rules":[{{"operations":["*","FLY"],"apiVersions":["v1",""],"resources":["pods/*","pods/log","*","a"],"scope":"X"}}],{REST}"#
                ),
                [
                    at("rules[0].operations", &["Invalid"]),
                    at("rules[0].operations[1]", &["NotSupported"]),
                    at("rules[0].apiGroups", &["Required"]),
                    at("rules[0].apiVersions[1]", &["Required"]),
                    at("rules[0].resources[1]", &["Invalid"]),
                    at("rules[0].resources", &["Invalid"]),
                    at("rules[0].scope", &["NotSupported"]),
                ]
                .concat(),
            ),
            (
                format!(
                    r#""name":"a.b.c","clientConfig":{{"url":"https://a"}},"matchConditions":[{{"name":"a b","expression":" "}},{{"name":"c","expression":"true"}},{{"name":"c","expression":"true"}}],{REST}"#
                ),
                [
                    at("matchConditions[0].expression", &["Required"]),
                    at("matchConditions[0].name", &["Invalid"]),
                    at("matchConditions[2].name", &["Duplicate"]),
                ]
                .concat(),
            ),
        ] {
            assert_eq!(refused::<ValidatingWebhookConfiguration>(&hook(&fields)), expected, "{fields}");
            assert_eq!(refused::<MutatingWebhookConfiguration>(&hook(&fields)), expected, "{fields}");
        }
        let again = format!(r#""name":"a.b.c","clientConfig":{{"url":"https://a"}},"reinvocationPolicy":"X",{REST}"#);
        let twice = hook(&format!("{again}}},{{{again}"));
        let of_mutating =
            ["webhooks[0].reinvocationPolicy NotSupported", "webhooks[1].reinvocationPolicy NotSupported"];
        let both = [of_mutating[0], of_mutating[1], "webhooks[1].name Duplicate"];
        assert_eq!(refused::<MutatingWebhookConfiguration>(&twice), both);
    }
}
