//! Volumes of storage systems, as pods name them: what each needs to be found.

use k8s_openapi::api::core::v1::{
    AzureFileVolumeSource, CephFSVolumeSource, CinderVolumeSource, FlexVolumeSource, GitRepoVolumeSource,
    GlusterfsVolumeSource, ISCSIVolumeSource, RBDVolumeSource, ScaleIOVolumeSource, StorageOSVolumeSource,
};

use crate::field::{Errors, Path};
use crate::names;
use crate::validation::rules::{between, named, relative_path, required, text};
use crate::validation::volume_source;

const LUN_MAX: i64 = 255;

pub(super) fn git_repo(volume: &GitRepoVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.repository, &path.child("repository"), errors);
    relative_path(text(volume.directory.as_ref()), &path.child("directory"), errors);
}

pub(super) fn glusterfs(volume: &GlusterfsVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.endpoints, &path.child("endpoints"), errors);
    required(&volume.path, &path.child("path"), errors);
}

pub(super) fn iscsi(volume: &ISCSIVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.target_portal, &path.child("targetPortal"), errors);
    required(&volume.iqn, &path.child("iqn"), errors);
    volume_source::initiator(&volume.iqn, &path.child("iqn"), errors);
    between(volume.lun, 0, LUN_MAX, &path.child("lun"), errors);
    let with_secret = volume.chap_auth_discovery == Some(true) || volume.chap_auth_session == Some(true);
    if with_secret && volume.secret_ref.is_none() {
        errors.required(&path.child("secretRef"), "");
    }
    if let Some(name) = &volume.initiator_name {
        volume_source::initiator(name, &path.child("initiatorname"), errors);
    }
}

pub(super) fn rbd(volume: &RBDVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if volume.monitors.is_empty() {
        errors.required(&path.child("monitors"), "");
    }
    required(&volume.image, &path.child("image"), errors);
}

pub(super) fn cinder(volume: &CinderVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.volume_id, &path.child("volumeID"), errors);
    if let Some(reference) = &volume.secret_ref {
        let path = path.child("secretRef");
        required(&reference.name, &path.child("name"), errors);
    }
}

pub(super) fn cephfs(volume: &CephFSVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if volume.monitors.is_empty() {
        errors.required(&path.child("monitors"), "");
    }
}

pub(super) fn flex(volume: &FlexVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.driver, &path.child("driver"), errors);
    volume_source::options(volume.options.as_ref(), &path.child("options"), errors);
}

pub(super) fn azure_file(volume: &AzureFileVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.secret_name, &path.child("secretName"), errors);
    required(&volume.share_name, &path.child("shareName"), errors);
}

pub(super) fn scale_io(volume: &ScaleIOVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.gateway, &path.child("gateway"), errors);
    required(&volume.system, &path.child("system"), errors);
    required(text(volume.volume_name.as_ref()), &path.child("volumeName"), errors);
}

pub(super) fn storageos(volume: &StorageOSVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    named(text(volume.volume_name.as_ref()), names::dns_label, &path.child("volumeName"), errors);
    let namespace = text(volume.volume_namespace.as_ref());
    if !namespace.is_empty() {
        errors.invalid_each(&path.child("volumeNamespace"), namespace, names::dns_label(namespace));
    }
    if let Some(reference) = &volume.secret_ref {
        let path = path.child("secretRef");
        required(&reference.name, &path.child("name"), errors);
    }
}
