//! Classes of volumes, their drivers, and attachments. Source: `pkg/registry/storage`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment, VolumeAttachmentStatus};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

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
        first_generation(object.meta_mut());
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let changed = typed::<CSIDriver>(object).spec != typed::<CSIDriver>(old).spec;
        next_generation(object.meta_mut(), changed);
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
        let (meta, was) = (&mut attachment.metadata, &old.metadata);
        meta.labels.clone_from(&was.labels);
        meta.annotations.clone_from(&was.annotations);
        meta.finalizers.clone_from(&was.finalizers);
        meta.owner_references.clone_from(&was.owner_references);
    }

    fn shows_deleted(&self) -> bool {
        true
    }
}
