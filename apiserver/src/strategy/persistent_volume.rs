//! Volumes: pending until a controller binds them. Source: `pkg/registry/core/persistentvolume/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Strategy, typed, typed_mut};
use crate::clock;

pub(super) struct PersistentVolumeStrategy;

impl Strategy for PersistentVolumeStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        typed_mut::<PersistentVolume>(object).status = Some(PersistentVolumeStatus {
            phase: Some("Pending".to_owned()),
            last_phase_transition_time: Some(Time(clock::now())),
            ..PersistentVolumeStatus::default()
        });
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<PersistentVolume>(object).status.clone_from(&typed::<PersistentVolume>(old).status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (volume, old) = (typed_mut::<PersistentVolume>(object), typed::<PersistentVolume>(old));
        volume.spec.clone_from(&old.spec);
        let default = PersistentVolumeStatus::default();
        let was = old.status.as_ref().unwrap_or(&default);
        let status = volume.status.get_or_insert_default();
        let untold = status.last_phase_transition_time.is_none()
            || status.last_phase_transition_time == was.last_phase_transition_time;
        if status.phase != was.phase && untold {
            status.last_phase_transition_time = Some(Time(clock::now()));
        }
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}
