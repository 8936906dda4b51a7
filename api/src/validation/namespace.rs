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
    let path = Path::new("spec");
    let path = path.child("finalizers");
    for (i, finalizer) in namespace.spec.iter().flat_map(|s| s.finalizers.iter().flatten()).enumerate() {
        errors.invalid_each(&path.index(i), finalizer, names::qualified(finalizer));
    }
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
        let both = ["metadata.name Invalid", "metadata.labels Invalid"];
        assert_eq!(refused::<Namespace>(r#"{"metadata":{"name":"Not_A_Name!"}}"#), both);
    }
}
