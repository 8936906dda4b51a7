//! Namespaces.

use k8s_openapi::api::core::v1::Namespace;

use super::Validate;
use super::meta::{self, Naming};
use crate::field::{Errors, Path};
use crate::names;

impl Validate for Namespace {
    fn validate(&self, errors: &mut Errors) {
        create(self, errors);
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        status(self, errors);
    }
}

pub(super) fn create(namespace: &Namespace, errors: &mut Errors) {
    meta::create(&namespace.metadata, Naming { name: names::dns_label, namespaced: false }, errors);
    for finalizer in finalizers(namespace) {
        // Kubernetes does not say which of them it is.
        one_finalizer(finalizer, &Path::new("spec").child("finalizers"), errors);
    }
}

fn finalizers(namespace: &Namespace) -> &[String] {
    namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default()
}

fn one_finalizer(finalizer: &str, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(path, finalizer, names::qualified(finalizer));
    if !finalizer.contains('/') && !meta::STANDARD_FINALIZERS.contains(&finalizer) {
        errors.invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

/// What is wrong with a namespace that is to replace another through its subresource `finalize`.
#[must_use]
pub fn update_finalizers(new: &Namespace) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let list = path.child("finalizers");
    for (i, finalizer) in finalizers(new).iter().enumerate() {
        one_finalizer(finalizer, &list.index(i), &mut errors);
    }
    errors
}

pub(super) fn status(namespace: &Namespace, errors: &mut Errors) {
    let phase = namespace.status.as_ref().and_then(|s| s.phase.as_ref());
    let deleting = namespace.metadata.deletion_timestamp.is_some();
    let message = match phase.map(String::as_str) {
        Some("Terminating") if deleting => return,
        Some("Active") if !deleting => return,
        _ if deleting => "may only be 'Terminating' if `deletionTimestamp` is not empty",
        _ => "may only be 'Active' if `deletionTimestamp` is empty",
    };
    errors.invalid(&Path::new("status").child("Phase"), &phase, message);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;

    use crate::validation::tests::refused;

    #[test]
    fn namespaces_are_labels() {
        assert_eq!(refused::<Namespace>(r#"{"metadata":{"name":"a"}}"#), [""; 0]);
        let holding = r#"{"metadata":{"name":"a"},"spec":{"finalizers":["kubernetes","odd"]}}"#;
        assert_eq!(refused::<Namespace>(holding), ["spec.finalizers Invalid"]);
        let both = ["metadata.name Invalid", "metadata.labels Invalid"];
        assert_eq!(refused::<Namespace>(r#"{"metadata":{"name":"Not_A_Name!"}}"#), both);
    }
}
