//! The defaults of volumes.

use k8s_openapi::api::core::v1 as core;

use super::{container, set, set_text};

/// The mode of files made of configuration: `rw-r--r--`.
const FILE_MODE: i32 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

pub(super) fn volume(volume: &mut core::Volume) {
    let name_only = core::Volume { name: volume.name.clone(), ..core::Volume::default() };
    if *volume == name_only {
        volume.empty_dir = Some(core::EmptyDirVolumeSource::default());
    }
    volume.secret.iter_mut().for_each(|v| set(&mut v.default_mode, FILE_MODE));
    volume.config_map.iter_mut().for_each(|v| set(&mut v.default_mode, FILE_MODE));
    volume.host_path.iter_mut().for_each(|v| set(&mut v.type_, String::new()));
    volume.image.iter_mut().for_each(|v| {
        let policy = container::pull_policy(v.reference.as_deref().unwrap_or_default());
        set_text(&mut v.pull_policy, policy);
    });
    volume.iscsi.iter_mut().for_each(|v| set_text(&mut v.iscsi_interface, "default"));
    if let Some(v) = &mut volume.downward_api {
        set(&mut v.default_mode, FILE_MODE);
        downward(v.items.as_mut());
    }
    volume.projected.iter_mut().for_each(projected);
    volume.rbd.iter_mut().for_each(|v| {
        set_text(&mut v.pool, "rbd");
        set_text(&mut v.user, "admin");
        set_text(&mut v.keyring, "/etc/ceph/keyring");
    });
    volume.azure_disk.iter_mut().for_each(|v| {
        set_text(&mut v.caching_mode, "ReadWrite");
        set_text(&mut v.fs_type, "ext4");
        set_text(&mut v.kind, "Shared");
        set(&mut v.read_only, false);
    });
    volume.scale_io.iter_mut().for_each(|v| {
        set_text(&mut v.storage_mode, "ThinProvisioned");
        set_text(&mut v.fs_type, "xfs");
    });
    let claim = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut());
    claim.into_iter().for_each(|c| set(&mut c.spec.volume_mode, "Filesystem".to_owned()));
}

fn projected(volume: &mut core::ProjectedVolumeSource) {
    set(&mut volume.default_mode, FILE_MODE);
    for source in volume.sources.iter_mut().flatten() {
        source.service_account_token.iter_mut().for_each(|t| set(&mut t.expiration_seconds, TOKEN_SECONDS));
        downward(source.downward_api.as_mut().and_then(|d| d.items.as_mut()));
    }
}

fn downward(items: Option<&mut Vec<core::DownwardAPIVolumeFile>>) {
    items.into_iter().flatten().filter_map(|i| i.field_ref.as_mut()).for_each(container::field_ref);
}
