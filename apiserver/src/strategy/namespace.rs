//! Namespaces: active until their deletion begins, and there until what is in them is gone.
//!
//! Source: `pkg/registry/core/namespace/strategy.go` and `storage.go`.

use async_trait::async_trait;
use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};

use super::{Part, Strategy, typed, typed_mut};

/// The finalizer by which the namespace controller holds a namespace until it is empty.
const KUBERNETES: &str = "kubernetes";

/// The label by which selectors find a namespace by its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) struct NamespaceStrategy;

#[async_trait]
impl Strategy for NamespaceStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let namespace = typed_mut::<Namespace>(object);
        namespace.status = Some(NamespaceStatus { phase: Some("Active".to_owned()), conditions: None });
        let finalizers =
            namespace.spec.get_or_insert_with(NamespaceSpec::default).finalizers.get_or_insert_with(Vec::new);
        if !finalizers.iter().any(|finalizer| finalizer == KUBERNETES) {
            finalizers.push(KUBERNETES.to_owned());
        }
        label_with_name(namespace);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (namespace, old) = (typed_mut::<Namespace>(object), typed::<Namespace>(old));
        namespace.spec.clone_from(&old.spec);
        namespace.status.clone_from(&old.status);
        label_with_name(namespace);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<Namespace>(object).spec.clone_from(&typed::<Namespace>(old).spec);
    }

    fn prepare_for_part(&self, part: Part, object: &mut AnyObject, old: &AnyObject) {
        if part == Part::Finalize {
            let (namespace, old) = (typed_mut::<Namespace>(object), typed::<Namespace>(old));
            namespace.status.clone_from(&old.status);
            let asked = namespace.metadata.resource_version.take();
            namespace.metadata = old.metadata.clone();
            namespace.metadata.resource_version = asked;
        }
    }

    fn begin_deletion(&self, object: &mut AnyObject) {
        typed_mut::<Namespace>(object).status.get_or_insert_with(NamespaceStatus::default).phase =
            Some("Terminating".to_owned());
    }

    fn held_beyond_finalizers(&self, object: &AnyObject) -> bool {
        let spec = typed::<Namespace>(object).spec.as_ref();
        spec.and_then(|spec| spec.finalizers.as_ref()).is_some_and(|finalizers| !finalizers.is_empty())
    }
}

fn label_with_name(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|name| !name.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_owned(), name);
    }
}
