//! Admission policies, and what binds them.

use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
    MutatingAdmissionPolicySpec, Mutation, ParamKind, ParamRef, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicySpec, Validation, Variable,
};

use super::{FAILURE_POLICIES, REINVOCATION_POLICIES, conditions, expression, rule};
use crate::custom::cel::{Gives, Scope};
use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{named, one_of, one_of_if_set, required, required_one_of, text, unique};
use crate::validation::{Validate, conditions as status_conditions, labels, meta};

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
const ANNOTATIONS_MAX: usize = 20;
const ANNOTATION_EXPRESSION_BYTES_MAX: usize = 5 * 1024;
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
/// The words that CEL keeps for itself.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

impl Validate for ValidatingAdmissionPolicy {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        validating(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        validating(self, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        let Some(status) = &self.status else { return };
        let path = STATUS.child("typeChecking");
        let list = path.child("expressionWarnings");
        let warnings = status.type_checking.iter().flat_map(|t| t.expression_warnings.iter().flatten());
        for (i, warning) in warnings.enumerate() {
            required(&warning.warning, &list.index(i).child("warning"), errors);
            required(warning.field_ref.trim(), &list.index(i).child("fieldRef"), errors);
        }
        let list = STATUS.child("conditions");
        status_conditions::conditions(status.conditions.as_deref().unwrap_or_default(), &list, errors);
    }
}

impl Validate for MutatingAdmissionPolicy {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        mutating(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        mutating(self, errors);
    }
}

impl Validate for ValidatingAdmissionPolicyBinding {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        validating_binding(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        validating_binding(self, errors);
    }
}

impl Validate for MutatingAdmissionPolicyBinding {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        mutating_binding(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        mutating_binding(self, errors);
    }
}

fn validating(policy: &ValidatingAdmissionPolicy, errors: &mut Errors) {
    let none = ValidatingAdmissionPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&none);
    required_one_of(text(spec.failure_policy.as_ref()), &FAILURE_POLICIES, &SPEC.child("failurePolicy"), errors);
    if let Some(kind) = &spec.param_kind {
        param_kind(kind, &SPEC.child("paramKind"), errors);
    }
    constraints(spec.match_constraints.as_ref(), errors);
    let has_params = spec.param_kind.is_some();
    let list = SPEC.child("matchConditions");
    conditions(spec.match_conditions.as_deref().unwrap_or_default(), has_params, &list, errors);
    let mut scope = Scope::of_request(has_params).with_authorizer().with_variables();
    variables(spec.variables.as_deref().unwrap_or_default(), &mut scope, errors);
    // What is said does not depend on what the asker may do.
    let message_scope = Scope::of_request(has_params).with_variables_of(&scope);
    let validations = spec.validations.as_deref().unwrap_or_default();
    let annotations = spec.audit_annotations.as_deref().unwrap_or_default();
    if validations.is_empty() && annotations.is_empty() {
        let rule = "validations or auditAnnotations must contain at least one item";
        errors.required(&SPEC.child("validations"), rule);
        errors.required(&SPEC.child("auditAnnotations"), rule);
    }
    let list = SPEC.child("validations");
    for (i, validation) in validations.iter().enumerate() {
        self::validation(validation, &scope, &message_scope, &list.index(i), errors);
    }
    self::annotations(text(policy.metadata.name.as_ref()), annotations, &scope, errors);
}

fn mutating(policy: &MutatingAdmissionPolicy, errors: &mut Errors) {
    let none = MutatingAdmissionPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&none);
    required_one_of(text(spec.failure_policy.as_ref()), &FAILURE_POLICIES, &SPEC.child("failurePolicy"), errors);
    if let Some(kind) = &spec.param_kind {
        param_kind(kind, &SPEC.child("paramKind"), errors);
    }
    constraints(spec.match_constraints.as_ref(), errors);
    if let Some(resources) = &spec.match_constraints {
        rule::mutating_operations(resources, &SPEC.child("matchConstraints"), errors);
    }
    let has_params = spec.param_kind.is_some();
    let list = SPEC.child("matchConditions");
    conditions(spec.match_conditions.as_deref().unwrap_or_default(), has_params, &list, errors);
    let mut scope = Scope::of_request(has_params).with_authorizer().with_variables().with_messages();
    variables(spec.variables.as_deref().unwrap_or_default(), &mut scope, errors);
    let mutations = spec.mutations.as_deref().unwrap_or_default();
    let list = SPEC.child("mutations");
    if mutations.is_empty() {
        errors.required(&list, "mutations must contain at least one item");
    }
    for (i, mutation) in mutations.iter().enumerate() {
        self::mutation(mutation, &scope, &list.index(i), errors);
    }
    let at = SPEC.child("reinvocationPolicy");
    required_one_of(text(spec.reinvocation_policy.as_ref()), &REINVOCATION_POLICIES, &at, errors);
}

fn constraints(resources: Option<&MatchResources>, errors: &mut Errors) {
    let path = SPEC.child("matchConstraints");
    let Some(resources) = resources else { return errors.required(&path, "") };
    rule::matches(resources, &path, errors);
    if resources.resource_rules.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&path.child("resourceRules"), "");
    }
}

fn param_kind(kind: &ParamKind, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("apiVersion");
    let api_version = text(kind.api_version.as_ref());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if api_version.is_empty() {
        errors.required(&at, "");
    } else if version.contains('/') {
        errors.invalid(&at, api_version, &format!("unexpected GroupVersion string: {api_version}"));
    } else {
        if !group.is_empty() {
            one(&at, group, names::dns_subdomain(group), "", errors);
        }
        if version.is_empty() {
            errors.invalid(&at, api_version, "version must be specified");
        } else {
            one(&at, version, names::dns_1035_label(version), "", errors);
        }
    }
    let at = path.child("kind");
    match text(kind.kind.as_ref()) {
        "" => errors.required(&at, ""),
        kind => {
            let wrong = names::dns_1035_label(&kind.to_lowercase());
            one(&at, kind, wrong, "may have mixed case, but should otherwise match: ", errors);
        }
    }
}

/// Several things that are wrong, told as one.
fn one(path: &Path<'_>, value: &str, wrong: Vec<String>, before: &str, errors: &mut Errors) {
    if !wrong.is_empty() {
        errors.invalid(path, value, &format!("{before}{}", wrong.join(",")));
    }
}

/// Each variable may name those before it.
fn variables(variables: &[Variable], scope: &mut Scope, errors: &mut Errors) {
    let list = SPEC.child("variables");
    for (i, variable) in variables.iter().enumerate() {
        let path = list.index(i);
        if variable.name.trim().is_empty() {
            errors.required(&path.child("name"), "name is not specified");
        } else if !is_identifier(&variable.name) {
            errors.invalid(&path.child("name"), &variable.name, "name is not a valid CEL identifier");
        }
        let at = path.child("expression");
        if variable.expression.trim().is_empty() {
            errors.required(&at, "expression is not specified");
        } else if let Err(wrong) = scope.declare(&variable.name, &variable.expression) {
            errors.invalid(&at, &variable.expression, &wrong);
        }
    }
}

fn is_identifier(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && !RESERVED.contains(&text)
}

fn validation(validation: &Validation, scope: &Scope, message_scope: &Scope, path: &Path<'_>, errors: &mut Errors) {
    expression(&validation.expression, scope, Gives::Bool, &path.child("expression"), errors);
    let blank = |value: &Option<String>| value.as_ref().is_some_and(|v| !v.is_empty() && v.trim().is_empty());
    if blank(&validation.message_expression) {
        let at = path.child("messageExpression");
        errors.invalid(&at, &validation.message_expression, "must be non-empty if specified");
    } else if let Some(text) = validation.message_expression.as_ref().filter(|text| !text.is_empty()) {
        expression(text, message_scope, Gives::String, &path.child("messageExpression"), errors);
    }
    let at = path.child("message");
    if blank(&validation.message) {
        errors.invalid(&at, &validation.message, "message must be non-empty if specified");
    } else if text(validation.message.as_ref()).trim().contains(['\n', '\r']) {
        errors.invalid(&at, &validation.message, "message must not contain line breaks");
    }
    one_of_if_set(validation.reason.as_ref(), &REASONS, &path.child("reason"), errors);
}

fn annotations(policy: &str, annotations: &[AuditAnnotation], scope: &Scope, errors: &mut Errors) {
    let list = SPEC.child("auditAnnotations");
    if annotations.len() > ANNOTATIONS_MAX {
        let rule = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        errors.invalid(&list, annotations, &rule);
    }
    for (i, annotation) in annotations.iter().enumerate() {
        let path = list.index(i);
        let at = path.child("key");
        if policy.is_empty() {
            errors.invalid(&at, &annotation.key, "requires metadata.name be non-empty");
        } else {
            let key = format!("{policy}/{}", annotation.key);
            errors.invalid_each(&at, &key, names::qualified(&key));
        }
        let at = path.child("valueExpression");
        let value = annotation.value_expression.trim();
        if value.len() > ANNOTATION_EXPRESSION_BYTES_MAX {
            errors.required(&at, &format!("must not exceed {ANNOTATION_EXPRESSION_BYTES_MAX} bytes in length"));
        } else {
            expression(value, scope, Gives::StringOrNull, &at, errors);
        }
    }
    unique(annotations, |a| Some(a.key.clone()), &list, Some("key"), errors);
}

fn mutation(mutation: &Mutation, scope: &Scope, path: &Path<'_>, errors: &mut Errors) {
    let patch = mutation.json_patch.as_ref().map(|p| text(p.expression.as_ref()));
    let apply = mutation.apply_configuration.as_ref().map(|a| text(a.expression.as_ref()));
    let (field, wanted, other, unwanted, gives) = match mutation.patch_type.as_str() {
        "" => return errors.required(&path.child("patchType"), ""),
        "JSONPatch" => ("jsonPatch", patch, "applyConfiguration", apply, Gives::JsonPatches),
        "ApplyConfiguration" => ("applyConfiguration", apply, "jsonPatch", patch, Gives::Object),
        type_ => {
            return errors.not_supported(&path.child("patchType"), type_, &["ApplyConfiguration", "JSONPatch"]);
        }
    };
    let at = path.child(field);
    match wanted {
        None => errors.required(&at, &format!("must be specified when patchType is {}", mutation.patch_type)),
        Some(text) => expression(text, scope, gives, &at.child("expression"), errors),
    }
    if unwanted.is_some() {
        let rule = format!("must not be specified when patchType is {}", mutation.patch_type);
        errors.invalid(&path.child(other), &format!("{{{other}}}"), &rule);
    }
}

fn validating_binding(binding: &ValidatingAdmissionPolicyBinding, errors: &mut Errors) {
    let spec = &binding.spec;
    bound(&spec.policy_name, spec.param_ref.as_ref(), spec.match_resources.as_ref(), errors);
    let list = SPEC.child("validationActions");
    for (i, action) in spec.validation_actions.iter().enumerate() {
        one_of(action, &ACTIONS, &list.index(i), errors);
    }
    unique(&spec.validation_actions, |action| Some(action.clone()), &list, None, errors);
    let has = |action: &str| spec.validation_actions.iter().any(|a| a == action);
    if has("Deny") && has("Warn") {
        let rule = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(&list, &spec.validation_actions, rule);
    }
    if spec.validation_actions.is_empty() {
        errors.required(&list, "at least one validation action is required");
    }
}

fn mutating_binding(binding: &MutatingAdmissionPolicyBinding, errors: &mut Errors) {
    let spec = binding.spec.as_ref();
    let resources = spec.and_then(|s| s.match_resources.as_ref());
    let policy = text(spec.and_then(|s| s.policy_name.as_ref()));
    bound(policy, spec.and_then(|s| s.param_ref.as_ref()), resources, errors);
    if let Some(resources) = resources {
        rule::mutating_operations(resources, &SPEC.child("matchResources"), errors);
    }
}

fn bound(policy: &str, params: Option<&ParamRef>, resources: Option<&MatchResources>, errors: &mut Errors) {
    named(policy, names::dns_subdomain, &SPEC.child("policyName"), errors);
    if let Some(params) = params {
        param_ref(params, &SPEC.child("paramRef"), errors);
    }
    if let Some(resources) = resources {
        rule::matches(resources, &SPEC.child("matchResources"), errors);
    }
}

fn param_ref(params: &ParamRef, path: &Path<'_>, errors: &mut Errors) {
    let name = text(params.name.as_ref());
    errors.invalid_each(&path.child("name"), name, names::path_segment(name));
    labels::selector(params.selector.as_ref(), &path.child("selector"), errors);
    match (name, &params.selector) {
        ("", None) => errors.required(path, "one of name or selector must be specified"),
        ("", Some(_)) | (_, None) => {}
        _ => {
            for field in ["name", "selector"] {
                errors.forbidden(&path.child(field), "name and selector are mutually exclusive");
            }
        }
    }
    let action = text(params.parameter_not_found_action.as_ref());
    required_one_of(action, &["Deny", "Allow"], &path.child("parameterNotFoundAction"), errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_status};

    const MATCH: &str = r#""matchConstraints":{"resourceRules":[{"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"]}]}"#;

    fn object(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"p"}},"spec":{{{spec}}}}}"#)
    }

    #[test]
    fn policies_that_validate() {
        for (spec, expected) in [
            (format!(r#"{MATCH},"validations":[{{"expression":"true"}}]"#), &[][..]),
            (
                format!(r#"{MATCH},"validations":[{{"expression":"object.spec.x in ["}}]"#),
                &["spec.validations[0].expression Invalid"],
            ),
            (
                format!(
                    r#"{MATCH},"variables":[{{"name":"a","expression":"variables.b"}},{{"name":"b","expression":"object.x"}}],"matchConditions":[{{"name":"c","expression":"variables.b"}}],"validations":[{{"expression":"variables.b","messageExpression":"1"}},{{"expression":"params.x == variables.b"}}]"#
                ),
                &[
                    "spec.matchConditions[0].expression Invalid",
                    "spec.variables[0].expression Invalid",
                    "spec.validations[0].expression Invalid",
                    "spec.validations[0].messageExpression Invalid",
                    "spec.validations[1].expression Invalid",
                ],
            ),
            (
                format!(
                    r#"{MATCH},"paramKind":{{"apiVersion":"v1","kind":"ConfigMap"}},"validations":[{{"expression":"params.x == object.y"}}]"#
                ),
                &[],
            ),
            (
                String::new(),
                &["spec.matchConstraints Required", "spec.validations Required", "spec.auditAnnotations Required"],
            ),
            (
                format!(
                    r#"{MATCH},"failurePolicy":"X","paramKind":{{"apiVersion":"a/b/c"}},"variables":[{{"name":"while","expression":""}}],"validations":[{{"expression":"","message":" ","messageExpression":" ","reason":"X"}}],"auditAnnotations":[{{"key":"a b"}},{{"key":"a b","valueExpression":"x"}}]"#
                ),
                &[
                    "spec.failurePolicy NotSupported",
                    "spec.paramKind.apiVersion Invalid",
                    "spec.paramKind.kind Required",
                    "spec.variables[0].name Invalid",
                    "spec.variables[0].expression Required",
                    "spec.validations[0].expression Required",
                    "spec.validations[0].messageExpression Invalid",
                    "spec.validations[0].message Invalid",
                    "spec.validations[0].reason NotSupported",
                    "spec.auditAnnotations[0].key Invalid",
                    "spec.auditAnnotations[0].valueExpression Required",
                    "spec.auditAnnotations[1].key Invalid",
                    "spec.auditAnnotations[1].valueExpression Invalid",
                    "spec.auditAnnotations[1].key Duplicate",
                ],
            ),
        ] {
            assert_eq!(refused::<ValidatingAdmissionPolicy>(&object(&spec)), expected, "{spec}");
        }
        let status = r#"{"metadata":{"name":"p"},"status":{"typeChecking":{"expressionWarnings":[{}]},"conditions":[{"type":"A","status":"X","reason":"","message":"","lastTransitionTime":"1970-01-01T00:00:00Z"}]}}"#;
        assert_eq!(
            refused_status::<ValidatingAdmissionPolicy>(&object(""), status),
            [
                "status.typeChecking.expressionWarnings[0].warning Required",
                "status.typeChecking.expressionWarnings[0].fieldRef Required",
                "status.conditions[0].status NotSupported",
                "status.conditions[0].lastTransitionTime Required",
                "status.conditions[0].reason Required",
            ]
        );
    }

    #[test]
    fn policies_that_mutate() {
        for (spec, expected) in [
            (
                format!(
                    r#"{MATCH},"reinvocationPolicy":"Never","mutations":[{{"patchType":"JSONPatch","jsonPatch":{{"expression":"[JSONPatch{{op: 'remove', path: '/a'}}]"}}}}]"#
                ),
                &[][..],
            ),
            (MATCH.to_owned(), &["spec.mutations Required", "spec.reinvocationPolicy Required"]),
            (
                format!(
                    r#"{},"reinvocationPolicy":"X","mutations":[{{"patchType":"JSONPatch","applyConfiguration":{{}}}},{{"patchType":"X"}},{{}}]"#,
                    MATCH.replace("CREATE", "DELETE")
                ),
                &[
                    "spec.matchConstraints.resourceRules.operations NotSupported",
                    "spec.mutations[0].jsonPatch Required",
                    "spec.mutations[0].applyConfiguration Invalid",
                    "spec.mutations[1].patchType NotSupported",
                    "spec.mutations[2].patchType Required",
                    "spec.reinvocationPolicy NotSupported",
                ],
            ),
        ] {
            assert_eq!(refused::<MutatingAdmissionPolicy>(&object(&spec)), expected, "{spec}");
        }
    }

    #[test]
    fn bindings_name_a_policy() {
        let actions = "spec.validationActions";
        for (spec, of_both, of_validating) in [
            (r#""policyName":"p","validationActions":["Deny"]"#, &[][..], vec![]),
            ("", &["spec.policyName Required"], vec![format!("{actions} Required")]),
            (
                r#""policyName":"p","paramRef":{"name":"a/b","selector":{}},"validationActions":["Deny","Warn","X","X"]"#,
                &[
                    "spec.paramRef.name Invalid",
                    "spec.paramRef.name Forbidden",
                    "spec.paramRef.selector Forbidden",
                    "spec.paramRef.parameterNotFoundAction Required",
                ],
                vec![
                    format!("{actions}[2] NotSupported"),
                    format!("{actions}[3] NotSupported"),
                    format!("{actions}[3] Duplicate"),
                    format!("{actions} Invalid"),
                ],
            ),
            (
                r#""policyName":"p","matchResources":{"matchPolicy":"X"},"validationActions":["Audit"]"#,
                &["spec.matchResources.matchPolicy NotSupported"],
                vec![],
            ),
        ] {
            assert_eq!(refused::<MutatingAdmissionPolicyBinding>(&object(spec)), of_both, "{spec}");
            let all = [of_both.iter().map(|e| (*e).to_owned()).collect(), of_validating].concat();
            assert_eq!(refused::<ValidatingAdmissionPolicyBinding>(&object(spec)), all, "{spec}");
        }
    }
}
