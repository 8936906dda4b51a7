//! Classes of volumes, their drivers, and attachments. Source: `pkg/registry/storage`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment, VolumeAttachmentStatus};

use super::{Strategy, first_generation, keep_metadata, next_generation, typed, typed_mut};

/// Classes of storage and of its attributes, and what nodes have of drivers.
pub(super) struct ShownWhenDeleted;

impl Strategy for ShownWhenDeleted {
    fn shows_deleted(&self) -> bool {
        true
    }
}

pub(super) struct DriverStrategy;

impl Strategy for DriverStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        typed_mut::<CSIDriver>(object).spec.prevent_pod_scheduling_if_missing = None;
        first_generation(object.meta_mut());
    }

    /// That pods wait for drivers is off, as it is by default: it is kept where it was said before.
    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (driver, old) = (typed_mut::<CSIDriver>(object), typed::<CSIDriver>(old));
        if old.spec.prevent_pod_scheduling_if_missing.is_none() {
            driver.spec.prevent_pod_scheduling_if_missing = None;
        }
        next_generation(&mut driver.metadata, driver.spec != old.spec);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}

pub(super) struct AttachmentStrategy;

impl Strategy for AttachmentStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        typed_mut::<VolumeAttachment>(object).status = Some(VolumeAttachmentStatus::default());
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        typed_mut::<VolumeAttachment>(object).status.clone_from(&typed::<VolumeAttachment>(old).status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (attachment, old) = (typed_mut::<VolumeAttachment>(object), typed::<VolumeAttachment>(old));
        attachment.spec.clone_from(&old.spec);
        keep_metadata(&mut attachment.metadata, &old.metadata);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}
