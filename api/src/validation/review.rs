//! Questions about who somebody is and what they may do: nothing of them is stored.

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenReview};
use k8s_openapi::api::authorization::v1::{
    FieldSelectorAttributes, LabelSelectorAttributes, LocalSubjectAccessReview, NonResourceAttributes,
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::rules::text;
use super::{Validate, labels};
use crate::field::{Errors, Path};
use crate::names;

const SPEC: Path<'static> = Path::new("spec");

impl Validate for SelfSubjectReview {
    fn validate(&self, _: &mut Errors) {}
}

impl Validate for TokenReview {
    fn validate(&self, _: &mut Errors) {}
}

impl Validate for SelfSubjectRulesReview {
    fn validate(&self, _: &mut Errors) {}
}

impl Validate for SelfSubjectAccessReview {
    fn validate(&self, errors: &mut Errors) {
        let spec = &self.spec;
        asked(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref(), errors);
        selectors(spec.resource_attributes.as_ref(), errors);
        nameless(&self.metadata, "must be empty", errors);
    }
}

impl Validate for SubjectAccessReview {
    fn validate(&self, errors: &mut Errors) {
        subject(&self.spec, errors);
        nameless(&self.metadata, "must be empty", errors);
    }
}

impl Validate for LocalSubjectAccessReview {
    fn validate(&self, errors: &mut Errors) {
        subject(&self.spec, errors);
        let metadata = ObjectMeta { namespace: None, ..self.metadata.clone() };
        nameless(&metadata, "must be empty except for namespace", errors);
        let own = text(self.metadata.namespace.as_ref());
        let asked = self.spec.resource_attributes.as_ref().map(|a| text(a.namespace.as_ref()));
        if let Some(asked) = asked.filter(|asked| *asked != own) {
            let path = SPEC.child("resourceAttributes");
            errors.invalid(&path.child("namespace"), asked, "must match metadata.namespace");
        }
        if self.spec.non_resource_attributes.is_some() {
            let path = SPEC.child("nonResourceAttributes");
            errors.invalid(&path, &self.spec.non_resource_attributes, "disallowed on this kind of request");
        }
    }
}

fn subject(spec: &SubjectAccessReviewSpec, errors: &mut Errors) {
    asked(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref(), errors);
    if text(spec.user.as_ref()).is_empty() && spec.groups.as_ref().is_none_or(Vec::is_empty) {
        errors.invalid(&SPEC.child("user"), "", "at least one of user or group must be specified");
    }
    selectors(spec.resource_attributes.as_ref(), errors);
}

/// What is asked about is a resource or a path.
fn asked(resource: Option<&ResourceAttributes>, path: Option<&NonResourceAttributes>, errors: &mut Errors) {
    match (resource, path) {
        (Some(_), Some(path)) => {
            let rule = "cannot be specified in combination with resourceAttributes";
            errors.invalid(&SPEC.child("nonResourceAttributes"), path, rule);
        }
        (None, None) => {
            let rule = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.invalid(&SPEC.child("resourceAttributes"), &path, rule);
        }
        _ => {}
    }
}

fn selectors(attributes: Option<&ResourceAttributes>, errors: &mut Errors) {
    let Some(attributes) = attributes else { return };
    let path = SPEC.child("resourceAttributes");
    if let Some(selector) = &attributes.field_selector {
        fields(selector, &path.child("fieldSelector"), errors);
    }
    if let Some(selector) = &attributes.label_selector {
        self::labels(selector, &path.child("labelSelector"), errors);
    }
}

fn fields(selector: &FieldSelectorAttributes, path: &Path<'_>, errors: &mut Errors) {
    let requirements = selector.requirements.as_deref().unwrap_or_default();
    one_form(text(selector.raw_selector.as_ref()), requirements.is_empty(), path, errors);
    let list = path.child("requirements");
    for (i, requirement) in requirements.iter().enumerate() {
        let path = list.index(i);
        if requirement.key.is_empty() {
            errors.required(&path.child("key"), "must be specified");
        }
        let count = requirement.values.as_ref().map_or(0, Vec::len);
        values_fit(&requirement.operator, count, &path, errors);
    }
}

fn labels(selector: &LabelSelectorAttributes, path: &Path<'_>, errors: &mut Errors) {
    let requirements = selector.requirements.as_deref().unwrap_or_default();
    one_form(text(selector.raw_selector.as_ref()), requirements.is_empty(), path, errors);
    let list = path.child("requirements");
    for (i, requirement) in requirements.iter().enumerate() {
        let path = list.index(i);
        let values = requirement.values.as_deref().unwrap_or_default();
        values_fit(&requirement.operator, values.len(), &path, errors);
        errors.invalid_each(&path.child("key"), &requirement.key, names::qualified(&requirement.key));
        let list = path.child("values");
        for (i, value) in values.iter().enumerate() {
            errors.invalid_each(&list.index(i), value, names::label_value(value));
        }
    }
}

/// An operator that is not known here may be known to whoever asks.
fn values_fit(operator: &str, count: usize, path: &Path<'_>, errors: &mut Errors) {
    if matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist") {
        labels::values_fit(operator, count, path, errors);
    }
}

/// A selector is given as text or in parts.
fn one_form(raw: &str, no_parts: bool, path: &Path<'_>, errors: &mut Errors) {
    if !raw.is_empty() && !no_parts {
        errors.invalid(&path.child("rawSelector"), raw, "may not specified at the same time as requirements");
    }
    if raw.is_empty() && no_parts {
        let rule = format!("when {path} is specified, requirements or rawSelector is required");
        errors.required(&path.child("requirements"), &rule);
    }
}

fn nameless(metadata: &ObjectMeta, rule: &str, errors: &mut Errors) {
    let metadata = ObjectMeta { managed_fields: None, ..metadata.clone() };
    if metadata != ObjectMeta::default() {
        errors.invalid(&Path::new("metadata"), &metadata, rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::refused;

    #[test]
    fn a_question_is_about_one_thing() {
        const BOTH: &str = r#""resourceAttributes":{},"nonResourceAttributes":{}"#;
        for (spec, expected) in [
            (r#""user":"u","resourceAttributes":{}"#.to_owned(), &[][..]),
            (String::new(), &["spec.resourceAttributes Invalid", "spec.user Invalid"]),
            (format!(r#""groups":["g"],{BOTH}"#), &["spec.nonResourceAttributes Invalid"]),
            (
                r#""user":"u","resourceAttributes":{"fieldSelector":{},"labelSelector":{"rawSelector":"a","requirements":[{"key":"a b","operator":"In"},{"key":"a","operator":"Gt"}]}}"#.to_owned(),
                &[
                    "spec.resourceAttributes.fieldSelector.requirements Required",
                    "spec.resourceAttributes.labelSelector.rawSelector Invalid",
                    "spec.resourceAttributes.labelSelector.requirements[0].values Required",
                    "spec.resourceAttributes.labelSelector.requirements[0].key Invalid",
                ],
            ),
        ] {
            assert_eq!(refused::<SubjectAccessReview>(&format!(r#"{{"spec":{{{spec}}}}}"#)), expected, "{spec}");
        }
        assert_eq!(
            refused::<SelfSubjectAccessReview>(r#"{"metadata":{"name":"a"},"spec":{}}"#),
            ["spec.resourceAttributes Invalid", "metadata Invalid"]
        );
        assert_eq!(
            refused::<LocalSubjectAccessReview>(
                r#"{"metadata":{"namespace":"n"},"spec":{"user":"u","resourceAttributes":{"namespace":"m"}}}"#
            ),
            ["spec.resourceAttributes.namespace Invalid"]
        );
    }
}
