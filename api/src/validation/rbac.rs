//! Roles and their bindings.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::meta::Naming;
use super::rules::{named, one_of, text};
use super::{Validate, labels, meta};
use crate::field::{Errors, Path};
use crate::names;

const GROUP: &str = "rbac.authorization.k8s.io";
/// Whatever can be part of a path names a role.
const IN_NAMESPACE: Naming = Naming { name: names::path_segment, namespaced: true };
const IN_CLUSTER: Naming = Naming { name: names::path_segment, namespaced: false };

impl Validate for Role {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, IN_NAMESPACE, errors);
        rules(self.rules.as_deref(), true, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        rules(self.rules.as_deref(), true, errors);
    }
}

impl Validate for ClusterRole {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, IN_CLUSTER, errors);
        cluster_role(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        cluster_role(self, errors);
    }
}

impl Validate for RoleBinding {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, IN_NAMESPACE, errors);
        role_ref(&self.role_ref, &["Role", "ClusterRole"], errors);
        subjects(self.subjects.as_deref(), true, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        role_ref(&self.role_ref, &["Role", "ClusterRole"], errors);
        subjects(self.subjects.as_deref(), true, errors);
        same_role(&self.role_ref, &old.role_ref, errors);
    }
}

impl Validate for ClusterRoleBinding {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, IN_CLUSTER, errors);
        role_ref(&self.role_ref, &["ClusterRole"], errors);
        subjects(self.subjects.as_deref(), false, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        role_ref(&self.role_ref, &["ClusterRole"], errors);
        subjects(self.subjects.as_deref(), false, errors);
        same_role(&self.role_ref, &old.role_ref, errors);
    }
}

fn cluster_role(role: &ClusterRole, errors: &mut Errors) {
    rules(role.rules.as_deref(), false, errors);
    let Some(aggregation) = &role.aggregation_rule else { return };
    let path = Path::new("aggregationRule");
    let list = path.child("clusterRoleSelectors");
    let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
    if selectors.is_empty() {
        errors.required(&list, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for (i, selector) in selectors.iter().enumerate() {
        labels::selector(Some(selector), &list.index(i), errors);
    }
}

fn rules(rules: Option<&[PolicyRule]>, namespaced: bool, errors: &mut Errors) {
    let list = Path::new("rules");
    for (i, rule) in rules.unwrap_or_default().iter().enumerate() {
        self::rule(rule, namespaced, &list.index(i), errors);
    }
}

fn rule(rule: &PolicyRule, namespaced: bool, path: &Path<'_>, errors: &mut Errors) {
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|l| !l.is_empty());
    if rule.verbs.is_empty() {
        errors.required(&path.child("verbs"), "verbs must contain at least one value");
    }
    if has(&rule.non_resource_urls) {
        let at = path.child("nonResourceURLs");
        if namespaced {
            errors.invalid(&at, &rule.non_resource_urls, "namespaced rules cannot apply to non-resource URLs");
        }
        if has(&rule.api_groups) || has(&rule.resources) || has(&rule.resource_names) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(&at, &rule.non_resource_urls, why);
        }
        return;
    }
    if !has(&rule.api_groups) {
        errors.required(&path.child("apiGroups"), "resource rules must supply at least one api group");
    }
    if !has(&rule.resources) {
        errors.required(&path.child("resources"), "resource rules must supply at least one resource");
    }
}

fn role_ref(role: &RoleRef, kinds: &[&str], errors: &mut Errors) {
    let path = Path::new("roleRef");
    one_of(text(role.api_group.as_ref()), &[GROUP], &path.child("apiGroup"), errors);
    one_of(&role.kind, kinds, &path.child("kind"), errors);
    named(&role.name, names::path_segment, &path.child("name"), errors);
}

fn same_role(new: &RoleRef, old: &RoleRef, errors: &mut Errors) {
    if new != old {
        errors.invalid(&Path::new("roleRef"), new, "cannot change roleRef");
    }
}

fn subjects(subjects: Option<&[Subject]>, namespaced: bool, errors: &mut Errors) {
    let list = Path::new("subjects");
    for (i, subject) in subjects.unwrap_or_default().iter().enumerate() {
        self::subject(subject, namespaced, &list.index(i), errors);
    }
}

fn subject(subject: &Subject, namespaced: bool, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("name");
    if subject.name.is_empty() {
        errors.required(&at, "");
    }
    let group = text(subject.api_group.as_ref());
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                errors.invalid_each(&at, &subject.name, names::dns_subdomain(&subject.name));
            }
            one_of(group, &[""], &path.child("apiGroup"), errors);
            if !namespaced && text(subject.namespace.as_ref()).is_empty() {
                errors.required(&path.child("namespace"), "");
            }
        }
        kind @ ("User" | "Group") => {
            if subject.name.is_empty() {
                errors.invalid(&at, "", &format!("{} name cannot be empty", kind.to_lowercase()));
            }
            one_of(group, &[GROUP], &path.child("apiGroup"), errors);
        }
        other => errors.not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn rules_allow_something() {
        for (rule, of_role, of_cluster_role) in [
            (r#"{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}"#, &[][..], &[][..]),
            (
                "{}",
                &["rules[0].verbs Required", "rules[0].apiGroups Required", "rules[0].resources Required"],
                &["rules[0].verbs Required", "rules[0].apiGroups Required", "rules[0].resources Required"],
            ),
            (r#"{"nonResourceURLs":["/x"],"verbs":["get"]}"#, &["rules[0].nonResourceURLs Invalid"], &[]),
            (
                r#"{"nonResourceURLs":["/x"],"resources":["pods"],"verbs":["get"]}"#,
                &["rules[0].nonResourceURLs Invalid", "rules[0].nonResourceURLs Invalid"],
                &["rules[0].nonResourceURLs Invalid"],
            ),
        ] {
            let role = |meta: &str| format!(r#"{{"metadata":{{"name":"A:b"{meta}}},"rules":[{rule}]}}"#);
            assert_eq!(refused::<Role>(&role(r#","namespace":"n""#)), of_role, "{rule}");
            assert_eq!(refused::<ClusterRole>(&role("")), of_cluster_role, "{rule}");
        }
        let json = r#"{"metadata":{"name":"a/b"},"aggregationRule":{}}"#;
        let expected = ["metadata.name Invalid", "aggregationRule.clusterRoleSelectors Required"];
        assert_eq!(refused::<ClusterRole>(json), expected);
    }

    #[test]
    fn bindings_bind_somebody() {
        let binding = |role: &str, subject: &str| {
            format!(r#"{{"metadata":{{"name":"b","namespace":"n"}},"roleRef":{role},"subjects":[{subject}]}}"#)
        };
        const ROLE: &str = r#"{"kind":"Role","name":"r"}"#;
        for (role, subject, expected) in [
            (ROLE, r#"{"kind":"User","name":"u"}"#, &[][..]),
            (ROLE, r#"{"kind":"ServiceAccount","name":"A"}"#, &["subjects[0].name Invalid"]),
            (ROLE, r#"{"kind":"Group","name":""}"#, &["subjects[0].name Required", "subjects[0].name Invalid"]),
            (ROLE, r#"{"kind":"User","name":"u","apiGroup":"x"}"#, &["subjects[0].apiGroup NotSupported"]),
            (
                r#"{"apiGroup":"x","kind":"Y","name":""}"#,
                r#"{"kind":"Robot","name":"r"}"#,
                &[
                    "roleRef.apiGroup NotSupported",
                    "roleRef.kind NotSupported",
                    "roleRef.name Required",
                    "subjects[0].kind NotSupported",
                ],
            ),
        ] {
            assert_eq!(refused::<RoleBinding>(&binding(role, subject)), expected, "{subject}");
        }
        let (old, new) = (binding(ROLE, ""), binding(r#"{"kind":"ClusterRole","name":"r"}"#, ""));
        assert_eq!(refused_update::<RoleBinding>(&old, &new), ["roleRef Invalid"]);
        let json = r#"{"metadata":{"name":"b"},"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"ServiceAccount","name":"s"}]}"#;
        let expected = ["roleRef.kind NotSupported", "subjects[0].namespace Required"];
        assert_eq!(refused::<ClusterRoleBinding>(json), expected);
    }
}
