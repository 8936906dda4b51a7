//! Volumes, claims, their classes and their drivers.

use k8s_openapi::api::{core::v1 as core, storage::v1 as storage};

use super::{Defaults, set, set_text};

/// A volume is kept when its claim goes, and holds files.
impl Defaults for core::PersistentVolume {
    fn set_defaults(&mut self) {
        set_text(&mut self.status.get_or_insert_default().phase, "Pending");
        if let Some(spec) = &mut self.spec {
            set_text(&mut spec.persistent_volume_reclaim_policy, "Retain");
            volume(spec);
        }
    }
}

/// What is so of any volume, in the cluster or in an attachment.
fn volume(spec: &mut core::PersistentVolumeSpec) {
    set(&mut spec.volume_mode, "Filesystem".to_owned());
    if let Some(volume) = &mut spec.host_path {
        set(&mut volume.type_, String::new());
    }
    if let Some(volume) = &mut spec.iscsi {
        set_text(&mut volume.iscsi_interface, "default");
    }
    if let Some(volume) = &mut spec.rbd {
        set_text(&mut volume.pool, "rbd");
        set_text(&mut volume.user, "admin");
        set_text(&mut volume.keyring, "/etc/ceph/keyring");
    }
    if let Some(volume) = &mut spec.azure_disk {
        set(&mut volume.caching_mode, "ReadWrite".to_owned());
        set(&mut volume.kind, "Shared".to_owned());
        set(&mut volume.fs_type, "ext4".to_owned());
        set(&mut volume.read_only, false);
    }
    if let Some(volume) = &mut spec.scale_io {
        set_text(&mut volume.storage_mode, "ThinProvisioned");
        set_text(&mut volume.fs_type, "xfs");
    }
}

/// A claim waits for a volume that holds files.
impl Defaults for core::PersistentVolumeClaim {
    fn set_defaults(&mut self) {
        set_text(&mut self.status.get_or_insert_default().phase, "Pending");
        set(&mut self.spec.get_or_insert_default().volume_mode, "Filesystem".to_owned());
    }
}

/// What is made of a class goes with its claim, and is made at once.
impl Defaults for storage::StorageClass {
    fn set_defaults(&mut self) {
        set(&mut self.reclaim_policy, "Delete".to_owned());
        set(&mut self.volume_binding_mode, "Immediate".to_owned());
    }
}

/// An attachment may hold the volume itself.
impl Defaults for storage::VolumeAttachment {
    fn set_defaults(&mut self) {
        if let Some(spec) = &mut self.spec.source.inline_volume_spec {
            volume(spec);
        }
    }
}

/// A driver attaches, and asks to be told of nothing.
impl Defaults for storage::CSIDriver {
    fn set_defaults(&mut self) {
        let spec = &mut self.spec;
        set(&mut spec.attach_required, true);
        set(&mut spec.pod_info_on_mount, false);
        set(&mut spec.storage_capacity, false);
        set(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType".to_owned());
        set(&mut spec.requires_republish, false);
        set(&mut spec.se_linux_mount, false);
        if spec.volume_lifecycle_modes.as_ref().is_none_or(Vec::is_empty) {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }
}
