//! Volumes: each has a name of its own and exactly one source.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    EphemeralVolumeSource, HostPathVolumeSource, ImageVolumeSource, KeyToPath, NFSVolumeSource,
    PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{env, projected, storage};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity;
use crate::validation::rules::{named, no_backsteps, one_of_if_set, relative_path, required, text, unique};
use crate::validation::{claim, labels, meta, volume_source};

const MODE_MAX: i32 = 0o777;
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

pub(super) fn volumes(volumes: &[Volume], list: &Path<'_>, errors: &mut Errors) {
    for (i, volume) in volumes.iter().enumerate() {
        let path = list.index(i);
        named(&volume.name, names::dns_label, &path.child("name"), errors);
        source(volume, &path, errors);
    }
    unique(volumes, |v| Some(v.name.clone()).filter(|n| !n.is_empty()), list, Some("name"), errors);
}

/// The first source is looked into; any other is one too many.
fn source(volume: &Volume, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    macro_rules! sources {
        ($($field:ident $name:literal $check:expr;)*) => {$(
            if let Some(source) = &volume.$field {
                count += 1;
                let path = path.child($name);
                if count > 1 {
                    errors.forbidden(&path, "may not specify more than 1 volume type");
                } else {
                    $check(source, &path, errors);
                }
            }
        )*};
    }
    sources! {
        empty_dir "emptyDir" empty_dir;
        host_path "hostPath" host_path;
        git_repo "gitRepo" storage::git_repo;
        gce_persistent_disk "gcePersistentDisk" volume_source::gce;
        aws_elastic_block_store "awsElasticBlockStore" volume_source::aws;
        secret "secret" secret;
        nfs "nfs" nfs;
        iscsi "iscsi" storage::iscsi;
        glusterfs "glusterfs" storage::glusterfs;
        persistent_volume_claim "persistentVolumeClaim" claimed;
        rbd "rbd" storage::rbd;
        cinder "cinder" storage::cinder;
        cephfs "cephfs" storage::cephfs;
        flocker "flocker" volume_source::flocker;
        downward_api "downwardAPI" downward_api;
        fc "fc" volume_source::fibre_channel;
        flex_volume "flexVolume" storage::flex;
        azure_file "azureFile" storage::azure_file;
        config_map "configMap" config_map;
        vsphere_volume "vsphereVolume" volume_source::vsphere;
        quobyte "quobyte" volume_source::quobyte;
        azure_disk "azureDisk" volume_source::azure_disk;
        storageos "storageos" storage::storageos;
        photon_persistent_disk "photonPersistentDisk" volume_source::photon;
        portworx_volume "portworxVolume" volume_source::portworx;
        scale_io "scaleIO" storage::scale_io;
        projected "projected" projected::volume;
        csi "csi" csi;
        ephemeral "ephemeral" ephemeral;
        image "image" image;
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

fn empty_dir(volume: &EmptyDirVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if quantity::parse_or_zero(volume.size_limit.as_ref()).is_negative() {
        errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(volume: &HostPathVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.path, &path.child("path"), errors);
    no_backsteps(&volume.path, &path.child("path"), errors);
    one_of_if_set(volume.type_.as_ref(), &HOST_PATH_TYPES, &path.child("type"), errors);
}

fn secret(volume: &SecretVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(text(volume.secret_name.as_ref()), &path.child("secretName"), errors);
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    items(volume.items.as_deref(), &path.child("items"), errors);
}

fn nfs(volume: &NFSVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.server, &path.child("server"), errors);
    required(&volume.path, &path.child("path"), errors);
    if !volume.path.is_empty() && !volume.path.starts_with('/') {
        errors.invalid(&path.child("path"), &volume.path, "must be an absolute path");
    }
}

fn claimed(volume: &PersistentVolumeClaimVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.claim_name, &path.child("claimName"), errors);
}

fn downward_api(volume: &DownwardAPIVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    downward(volume.items.as_deref(), &path.child("items"), errors);
}

fn config_map(volume: &ConfigMapVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.name, &path.child("name"), errors);
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    items(volume.items.as_deref(), &path.child("items"), errors);
}

fn csi(volume: &CSIVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    volume_source::driver_name(&volume.driver, &path.child("driver"), errors);
    if let Some(reference) = &volume.node_publish_secret_ref {
        let path = path.child("nodePublishSecretRef");
        named(&reference.name, names::dns_subdomain, &path.child("name"), errors);
    }
}

/// The claim is made with the pod, and named after it: its template says neither name nor namespace.
fn ephemeral(volume: &EphemeralVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &volume.volume_claim_template else { return errors.required(&path, "") };
    let given = template.metadata.clone().unwrap_or_default();
    let metadata = path.child("metadata");
    labels::labels(given.labels.as_ref(), &metadata.child("labels"), errors);
    meta::annotations(given.annotations.as_ref(), &metadata.child("annotations"), errors);
    let allowed =
        ObjectMeta { labels: given.labels.clone(), annotations: given.annotations.clone(), ..ObjectMeta::default() };
    if given != allowed {
        errors.forbidden(&metadata, "cannot be set");
    }
    claim::spec(&template.spec, &path.child("spec"), errors);
}

fn image(volume: &ImageVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(text(volume.reference.as_ref()), &path.child("reference"), errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of_if_set(volume.pull_policy.as_ref(), &policies, &path.child("pullPolicy"), errors);
}

pub(super) fn mode(mode: Option<i32>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|m| !(0..=MODE_MAX).contains(m)) {
        errors.invalid(path, &mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// A file stays in its volume and is none of the volume's own.
pub(super) fn file(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        return errors.required(path, "");
    }
    relative_path(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

pub(super) fn items(items: Option<&[KeyToPath]>, list: &Path<'_>, errors: &mut Errors) {
    for (i, item) in items.unwrap_or_default().iter().enumerate() {
        let path = list.index(i);
        required(&item.key, &path.child("key"), errors);
        file(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
}

pub(super) fn downward(items: Option<&[DownwardAPIVolumeFile]>, list: &Path<'_>, errors: &mut Errors) {
    for (i, item) in items.unwrap_or_default().iter().enumerate() {
        let path = list.index(i);
        file(&item.path, &path.child("path"), errors);
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), None) => env::file_field_ref(field, &path.child("fieldRef"), errors),
            (None, Some(resource)) => env::resource_ref(resource, true, &path.child("resourceFieldRef"), errors),
            (None, None) => errors.required(&path, "one of fieldRef and resourceFieldRef is required"),
            (Some(_), Some(_)) => {
                errors.invalid(&path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
        }
        mode(item.mode, &path.child("mode"), errors);
    }
}
