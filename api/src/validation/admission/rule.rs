//! What of the API a webhook or a policy is about.

use std::collections::HashSet;

use k8s_openapi::api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations, RuleWithOperations};

use super::MATCH_POLICIES;
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::labels;
use crate::validation::rules::{one_of, one_of_if_set, unique};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const MUTATING_OPERATIONS: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

pub(super) fn rules(rules: &[RuleWithOperations], list: &Path<'_>, errors: &mut Errors) {
    for (i, rule) in rules.iter().enumerate() {
        let rule = Rule {
            groups: rule.api_groups.as_deref(),
            versions: rule.api_versions.as_deref(),
            operations: rule.operations.as_deref(),
            resources: rule.resources.as_deref(),
            scope: rule.scope.as_ref(),
        };
        rule.check(&list.index(i), errors);
    }
}

/// The part of a rule that those with names and those without have in common.
#[derive(Clone, Copy)]
struct Rule<'a> {
    groups: Option<&'a [String]>,
    versions: Option<&'a [String]>,
    operations: Option<&'a [String]>,
    resources: Option<&'a [String]>,
    scope: Option<&'a String>,
}

impl Rule<'_> {
    fn check(self, path: &Path<'_>, errors: &mut Errors) {
        let list = path.child("operations");
        let operations = some_or_all(self.operations, "operations", &list, errors);
        for (i, operation) in operations.iter().enumerate() {
            one_of(operation, &OPERATIONS, &list.index(i), errors);
        }
        some_or_all(self.groups, "API groups", &path.child("apiGroups"), errors);
        let list = path.child("apiVersions");
        let versions = some_or_all(self.versions, "API versions", &list, errors);
        for (i, _) in versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
            errors.required(&list.index(i), "");
        }
        resources(self.resources.unwrap_or_default(), &path.child("resources"), errors);
        one_of_if_set(self.scope, &SCOPES, &path.child("scope"), errors);
    }
}

/// A list must name something, and nothing else beside `*`.
fn some_or_all<'a>(values: Option<&'a [String]>, what: &str, path: &Path<'_>, errors: &mut Errors) -> &'a [String] {
    let values = values.unwrap_or_default();
    if values.is_empty() {
        errors.required(path, "");
    }
    if values.len() > 1 && values.iter().any(|v| v == "*") {
        errors.invalid(path, values, &format!("if '*' is present, must not specify other {what}"));
    }
    values
}

/// Resources as `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`.
fn resources(resources: &[String], list: &Path<'_>, errors: &mut Errors) {
    if resources.is_empty() {
        errors.required(list, "");
    }
    let (mut all_of_resource, mut all_of_subresource) = (HashSet::new(), HashSet::new());
    for (i, resource) in resources.iter().enumerate() {
        let path = list.index(i);
        if resource.is_empty() {
            errors.required(&path, "");
        }
        let Some((name, subresource)) = resource.split_once('/') else { continue };
        if all_of_resource.contains(name) {
            errors.invalid(&path, resource, &format!("if '{name}/*' is present, must not specify {resource}"));
        }
        if all_of_subresource.contains(subresource) {
            errors.invalid(&path, resource, &format!("if '*/{subresource}' is present, must not specify {resource}"));
        }
        if subresource == "*" {
            all_of_resource.insert(name);
        }
        if name == "*" {
            all_of_subresource.insert(subresource);
        }
    }
    if resources.len() > 1 && resources.iter().any(|r| r == "*/*") {
        errors.invalid(list, resources, "if '*/*' is present, must not specify other resources");
    }
    // Only the last of those without a subresource counts, as upstream has it.
    let last = resources.iter().rfind(|r| !r.is_empty() && !r.contains('/'));
    if resources.iter().any(|r| r == "*") && last.is_some_and(|last| last != "*") {
        let rule = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(list, resources, rule);
    }
}

pub(super) fn matches(resources: &MatchResources, path: &Path<'_>, errors: &mut Errors) {
    match &resources.match_policy {
        None => errors.required(&path.child("matchPolicy"), ""),
        Some(policy) => one_of(policy, &MATCH_POLICIES, &path.child("matchPolicy"), errors),
    }
    for (field, selector) in
        [("namespaceSelector", &resources.namespace_selector), ("objectSelector", &resources.object_selector)]
    {
        match selector {
            None => errors.required(&path.child(field), ""),
            Some(selector) => labels::selector(Some(selector), &path.child(field), errors),
        }
    }
    named_rules(resources.resource_rules.as_deref(), &path.child("resourceRules"), errors);
    named_rules(resources.exclude_resource_rules.as_deref(), &path.child("excludeResourceRules"), errors);
}

fn named_rules(rules: Option<&[NamedRuleWithOperations]>, list: &Path<'_>, errors: &mut Errors) {
    for (i, rule) in rules.unwrap_or_default().iter().enumerate() {
        let path = list.index(i);
        let list = path.child("resourceNames");
        let resource_names = rule.resource_names.as_deref().unwrap_or_default();
        for (i, name) in resource_names.iter().enumerate() {
            errors.invalid_each(&list.index(i), name, names::path_segment(name));
        }
        unique(resource_names, |name| Some(name.clone()), &list, None, errors);
        let rule = Rule {
            groups: rule.api_groups.as_deref(),
            versions: rule.api_versions.as_deref(),
            operations: rule.operations.as_deref(),
            resources: rule.resources.as_deref(),
            scope: rule.scope.as_ref(),
        };
        rule.check(&path, errors);
    }
}

/// What is deleted can't be changed any more.
pub(super) fn mutating_operations(resources: &MatchResources, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("resourceRules");
    let rules = resources.resource_rules.iter().flatten();
    for operation in rules.flat_map(|rule| rule.operations.iter().flatten()) {
        one_of(operation, &MUTATING_OPERATIONS, &path.child("operations"), errors);
    }
}
