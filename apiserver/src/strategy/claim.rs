//! Claims to volumes: pending until a controller binds them. Source:
//! `pkg/registry/core/persistentvolumeclaim/strategy.go` and `pkg/api/persistentvolumeclaim`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, TypedLocalObjectReference,
    TypedObjectReference,
};

use super::{Strategy, typed, typed_mut};

pub(super) struct ClaimStrategy;

impl Strategy for ClaimStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let claim = typed_mut::<PersistentVolumeClaim>(object);
        claim.status = Some(PersistentVolumeClaimStatus { phase: Some("Pending".to_owned()), ..Default::default() });
        sources(claim.spec.get_or_insert_default(), &PersistentVolumeClaimSpec::default());
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (claim, old) = (typed_mut::<PersistentVolumeClaim>(object), typed::<PersistentVolumeClaim>(old));
        claim.status.clone_from(&old.status);
        let default = PersistentVolumeClaimSpec::default();
        sources(claim.spec.get_or_insert_default(), old.spec.as_ref().unwrap_or(&default));
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<PersistentVolumeClaim>(object).spec.clone_from(&typed::<PersistentVolumeClaim>(old).spec);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

/// The two fields that say what a volume is filled from say the same. One that cannot be honoured is dropped, unless it
/// was there before.
fn sources(spec: &mut PersistentVolumeClaimSpec, old: &PersistentVolumeClaimSpec) {
    let elsewhere = |source: &TypedObjectReference| source.namespace.as_ref().is_some_and(|own| !own.is_empty());
    if old.data_source_ref.is_none() && spec.data_source_ref.as_ref().is_some_and(elsewhere) {
        spec.data_source_ref = None;
    }
    let had_some = old.data_source.is_some() || old.data_source_ref.is_some();
    if !had_some && spec.data_source_ref.is_none() && !spec.data_source.as_ref().is_some_and(is_filled_from) {
        spec.data_source = None;
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
                namespace: None,
            });
        }
        (None, Some(source)) if !elsewhere(source) => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
            });
        }
        _ => {}
    }
}

/// Whether it is another claim or a snapshot of one.
fn is_filled_from(source: &TypedLocalObjectReference) -> bool {
    matches!(
        (source.api_group.as_deref().unwrap_or_default(), source.kind.as_str()),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}
