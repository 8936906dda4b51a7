//! What a job makes of the ends of its pods: when it fails, when it has succeeded, when it replaces them.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};

use super::indexes;
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{not_negative, one_of, one_of_if_set, required_one_of, text, unique};

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const INDEXES_BYTES_MAX: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

pub(super) fn failure(policy: &PodFailurePolicy, spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("rules");
    if policy.rules.len() > RULES_MAX {
        errors.too_many(&list, policy.rules.len(), RULES_MAX);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        failure_rule(rule, spec, &list.index(i), errors);
    }
}

fn failure_rule(rule: &PodFailurePolicyRule, spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let action = path.child("action");
    required_one_of(&rule.action, &ACTIONS, &action, errors);
    if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        errors.invalid(&action, &rule.action, "requires the backoffLimitPerIndex to be set");
    }
    let conditions = rule.on_pod_conditions.as_deref().unwrap_or_default();
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(codes, spec, &path.child("onExitCodes"), errors);
    }
    pod_conditions(conditions, &path.child("onPodConditions"), errors);
    match (rule.on_exit_codes.is_some(), conditions.is_empty()) {
        (true, false) => errors.invalid(path, "", "specifying both OnExitCodes and OnPodConditions is not supported"),
        (false, true) => errors.invalid(path, "", "specifying one of OnExitCodes and OnPodConditions is required"),
        _ => {}
    }
}

fn pod_conditions(patterns: &[PodFailurePolicyOnPodConditionsPattern], list: &Path<'_>, errors: &mut Errors) {
    if patterns.len() > CONDITIONS_MAX {
        errors.too_many(list, patterns.len(), CONDITIONS_MAX);
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let path = list.index(i);
        errors.invalid_each(&path.child("type"), &pattern.type_, names::qualified(&pattern.type_));
        let status = text(pattern.status.as_ref());
        required_one_of(status, &["False", "True", "Unknown"], &path.child("status"), errors);
    }
}

fn exit_codes(codes: &PodFailurePolicyOnExitCodesRequirement, spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    required_one_of(&codes.operator, &["In", "NotIn"], &path.child("operator"), errors);
    if let Some(name) = &codes.container_name {
        let pod = spec.template.spec.as_ref();
        let init = pod.and_then(|pod| pod.init_containers.as_ref());
        let mut all = pod.into_iter().flat_map(|pod| &pod.containers).chain(init.into_iter().flatten());
        if all.all(|container| container.name != *name) {
            let rule = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&path.child("containerName"), name, rule);
        }
    }
    let (list, values) = (path.child("values"), &codes.values);
    if values.is_empty() {
        errors.invalid(&list, values, "at least one value is required");
    } else if values.len() > EXIT_CODES_MAX {
        errors.too_many(&list, values.len(), EXIT_CODES_MAX);
    }
    for (i, value) in values.iter().enumerate().filter(|(_, value)| codes.operator == "In" && **value == 0) {
        errors.invalid(&list.index(i), value, "must not be 0 for the In operator");
    }
    unique(values, |value| Some(*value), &list, None, errors);
    if !values.is_sorted() {
        errors.invalid(&list, values, "must be ordered");
    }
}

/// When pods that end are replaced: with a policy of failures only once they have failed.
pub(super) fn replacement(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    let supported: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    one_of_if_set(spec.pod_replacement_policy.as_ref(), supported, path, errors);
}

/// Only a job whose pods have indexes can succeed before all have.
pub(super) fn success(policy: &SuccessPolicy, spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    if text(spec.completion_mode.as_ref()) != super::INDEXED {
        return errors.invalid(path, policy, "requires indexed completion mode");
    }
    let list = path.child("rules");
    if policy.rules.is_empty() {
        errors.required(&list, "at least one rules must be specified when the successPolicy is specified");
    } else if policy.rules.len() > RULES_MAX {
        errors.too_many(&list, policy.rules.len(), RULES_MAX);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        success_rule(rule, spec.completions.unwrap_or(0), &list.index(i), errors);
    }
}

fn success_rule(rule: &SuccessPolicyRule, completions: i32, path: &Path<'_>, errors: &mut Errors) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        errors.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if let Some(text) = &rule.succeeded_indexes {
        let path = path.child("succeededIndexes");
        if text.len() > INDEXES_BYTES_MAX {
            errors.too_long(&path, INDEXES_BYTES_MAX);
        }
        match indexes::parse(text, completions) {
            Ok(intervals) => total = indexes::count(&intervals),
            Err(why) => errors.invalid(&path, text, &format!("error parsing succeededIndexes: {why}")),
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let path = path.child("succeededCount");
    not_negative(Some(count), &path, errors);
    if count > completions {
        let rule = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&path, &count, &rule);
    }
    if rule.succeeded_indexes.is_some() && i64::from(count) > total {
        let rule = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&path, &count, &rule);
    }
}

/// The name of who runs a job in the place of Kubernetes: `example.com/name`.
pub(super) fn manager(name: &str, path: &Path<'_>, errors: &mut Errors) {
    const BYTES_MAX: usize = 63;
    match name.split_once('/') {
        _ if name.is_empty() => errors.required(path, ""),
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            errors.invalid_each(path, domain, names::dns_subdomain(domain));
            if !rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b)) {
                errors.invalid(
                    path,
                    rest,
                    "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
                );
            }
        }
        _ => errors.invalid(path, name, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
    if name.len() > BYTES_MAX {
        errors.too_long(path, BYTES_MAX);
    }
}

/// One of the modes in which a job counts what is complete.
pub(super) fn mode(spec: &JobSpec, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = &spec.completion_mode {
        one_of(mode, &["NonIndexed", super::INDEXED], path, errors);
    }
}
