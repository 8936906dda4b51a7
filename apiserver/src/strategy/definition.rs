//! Definitions of custom kinds: there until the last object of the kind is gone.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/registry/customresourcedefinition/{strategy,etcd}.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionStatus,
};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};
use crate::custom::status::{self, CLEANUP};

pub(super) struct DefinitionStrategy;

impl Strategy for DefinitionStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let definition = typed_mut::<CustomResourceDefinition>(object);
        first_generation(&mut definition.metadata);
        definition.status = Some(CustomResourceDefinitionStatus::default());
        note_stored_version(definition);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (definition, old) = (typed_mut::<CustomResourceDefinition>(object), typed(old));
        let CustomResourceDefinition { spec, status, .. } = old;
        definition.status.clone_from(status);
        let changed = definition.spec != *spec;
        next_generation(&mut definition.metadata, changed);
        note_stored_version(definition);
    }

    /// The metadata is written, too: so the finalizer goes when all objects have gone.
    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (definition, old) = (typed_mut::<CustomResourceDefinition>(object), typed::<CustomResourceDefinition>(old));
        definition.spec.clone_from(&old.spec);
    }

    fn deletion_finalizer(&self) -> Option<&'static str> {
        Some(CLEANUP)
    }

    fn begin_deletion(&self, object: &mut AnyObject) {
        let definition = typed_mut::<CustomResourceDefinition>(object);
        // It waits for no time, and what is wanted of it has not changed.
        definition.metadata.deletion_grace_period_seconds = None;
        definition.metadata.generation = definition.metadata.generation.map(|generation| generation - 1);
        status::set(definition, &status::DELETION_PENDING);
    }
}

/// Remembers the version in which objects are stored from now on among those in which some may be.
fn note_stored_version(definition: &mut CustomResourceDefinition) {
    let Some(storage) = definition.spec.versions.iter().find(|version| version.storage) else { return };
    let stored = definition.status.get_or_insert_default().stored_versions.get_or_insert_default();
    if !stored.contains(&storage.name) {
        stored.push(storage.name.clone());
    }
}
