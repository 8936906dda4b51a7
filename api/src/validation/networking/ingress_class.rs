//! Ingress classes.

use k8s_openapi::api::networking::v1::{IngressClass, IngressClassParametersReference, IngressClassSpec};

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{immutable, named, text};
use crate::validation::{Validate, meta};

const CONTROLLER_BYTES_MAX: usize = 250;

impl Validate for IngressClass {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_CLUSTER, errors);
        spec(self.spec.as_ref(), errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let controller = |class: &Self| class.spec.as_ref().and_then(|s| s.controller.clone()).unwrap_or_default();
        immutable(&controller(self), &controller(old), &Path::new("spec").child("controller"), errors);
        spec(self.spec.as_ref(), errors);
    }
}

fn spec(spec: Option<&IngressClassSpec>, errors: &mut Errors) {
    let path = Path::new("spec");
    let at = path.child("controller");
    let controller = text(spec.and_then(|s| s.controller.as_ref()));
    if controller.len() > CONTROLLER_BYTES_MAX {
        errors.too_long(&at, CONTROLLER_BYTES_MAX);
    }
    named(controller, names::domain_prefixed_path, &at, errors);
    if let Some(parameters) = spec.and_then(|s| s.parameters.as_ref()) {
        self::parameters(parameters, &path.child("parameters"), errors);
    }
}

fn parameters(parameters: &IngressClassParametersReference, path: &Path<'_>, errors: &mut Errors) {
    if let Some(group) = &parameters.api_group {
        errors.invalid_each(&path.child("apiGroup"), group, names::dns_subdomain(group));
    }
    named(&parameters.kind, names::path_segment, &path.child("kind"), errors);
    named(&parameters.name, names::path_segment, &path.child("name"), errors);
    let at = path.child("namespace");
    match (parameters.scope.as_deref(), &parameters.namespace) {
        (None, _) => errors.required(&path.child("scope"), ""),
        (Some("Namespace"), None) => errors.required(&at, "`parameters.scope` is set to 'Namespace'"),
        (Some("Namespace"), Some(namespace)) => errors.invalid_each(&at, namespace, names::dns_label(namespace)),
        (Some("Cluster"), None) => {}
        (Some("Cluster"), Some(_)) => errors.forbidden(&at, "`parameters.scope` is set to 'Cluster'"),
        (Some(other), _) => errors.not_supported(&path.child("scope"), other, &["Cluster", "Namespace"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::{refused, refused_update};

    fn class(spec: &str) -> String {
        format!(r#"{{"metadata":{{"name":"c"}},"spec":{spec}}}"#)
    }

    #[test]
    fn classes_name_a_controller() {
        for (spec, expected) in [
            (r#"{"controller":"a.b/c"}"#, &[][..]),
            ("{}", &["spec.controller Required"]),
            (r#"{"controller":"a.b"}"#, &["spec.controller Invalid"]),
            (
                r#"{"controller":"a.b/c","parameters":{"apiGroup":"A","kind":"","name":"a/b"}}"#,
                &["spec.parameters.apiGroup Invalid", "spec.parameters.kind Required", "spec.parameters.name Invalid"],
            ),
            (
                r#"{"controller":"a.b/c","parameters":{"kind":"K","name":"n","scope":"Namespace"}}"#,
                &["spec.parameters.namespace Required"],
            ),
            (
                r#"{"controller":"a.b/c","parameters":{"kind":"K","name":"n","namespace":"n"}}"#,
                &["spec.parameters.namespace Forbidden"],
            ),
            (
                r#"{"controller":"a.b/c","parameters":{"kind":"K","name":"n","scope":"X"}}"#,
                &["spec.parameters.scope NotSupported"],
            ),
        ] {
            assert_eq!(refused::<IngressClass>(&class(spec)), expected, "{spec}");
        }
        let (old, new) = (class(r#"{"controller":"a.b/c"}"#), class(r#"{"controller":"a.b/d"}"#));
        assert_eq!(refused_update::<IngressClass>(&old, &new), ["spec.controller Invalid"]);
    }
}
