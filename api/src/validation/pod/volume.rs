//! Volumes: each has a name of its own and exactly one source.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    EphemeralVolumeSource, ImageVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource, SecretVolumeSource, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{env, projected, storage};
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity;
use crate::validation::rules::{named, relative_path, required, required_one_of, text};
use crate::validation::{claim, labels, meta, volume_source};

const MODE_MAX: i32 = 0o777;

/// The volumes of a pod, of which `pod` is the metadata, or of a template. Gives those that are as they must be: no other
/// is there for a container to use.
pub(super) fn volumes<'v>(
    volumes: &'v [Volume],
    pod: Option<&ObjectMeta>,
    list: &Path<'_>,
    errors: &mut Errors,
) -> Vec<&'v Volume> {
    let pod_name = pod.map(|meta| text(meta.name.as_ref())).filter(|name| !name.is_empty());
    let mut right: Vec<&Volume> = Vec::new();
    for (i, volume) in volumes.iter().enumerate() {
        let path = list.index(i);
        let before = errors.len();
        source(volume, pod_name, &path, errors);
        named(&volume.name, names::dns_label, &path.child("name"), errors);
        if right.iter().any(|other| other.name == volume.name) {
            errors.duplicate(&path.child("name"), &volume.name);
        }
        if errors.len() == before {
            right.push(volume);
        }
        if let (Some(claimed), Some(pod_name)) = (&volume.persistent_volume_claim, pod_name)
            && volumes.iter().any(|v| v.ephemeral.is_some() && claimed.claim_name == format!("{pod_name}-{}", v.name))
        {
            let rule = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&path.child("persistentVolumeClaim").child("claimName"), &claimed.claim_name, rule);
        }
    }
    right
}

/// The first source is looked into; any other is one too many. Some of them Kubernetes tells of under other names.
fn source(volume: &Volume, pod_name: Option<&str>, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    macro_rules! sources {
        ($($field:ident $name:literal $(as $shown:literal)? $check:expr;)*) => {$(
            if let Some(source) = &volume.$field {
                count += 1;
                if count > 1 {
                    errors.forbidden(&path.child($name), "may not specify more than 1 volume type");
                } else {
                    let shown: &str = [$name $(, $shown)?].last().copied().unwrap_or($name);
                    $check(source, &path.child(shown), errors);
                }
            }
        )*};
    }
    sources! {
        empty_dir "emptyDir" empty_dir;
        host_path "hostPath" volume_source::host_path;
        git_repo "gitRepo" storage::git_repo;
        gce_persistent_disk "gcePersistentDisk" as "persistentDisk" volume_source::gce;
        aws_elastic_block_store "awsElasticBlockStore" volume_source::aws;
        secret "secret" secret;
        nfs "nfs" volume_source::nfs;
        iscsi "iscsi" storage::iscsi;
        glusterfs "glusterfs" storage::glusterfs;
        flocker "flocker" volume_source::flocker;
        persistent_volume_claim "persistentVolumeClaim" claimed;
        rbd "rbd" storage::rbd;
        cinder "cinder" storage::cinder;
        cephfs "cephFS" as "cephfs" storage::cephfs;
        quobyte "quobyte" volume_source::quobyte;
        downward_api "downwarAPI" as "downwardAPI" downward_api;
        fc "fc" volume_source::fibre_channel;
        flex_volume "flexVolume" storage::flex;
        config_map "configMap" config_map;
        azure_file "azureFile" storage::azure_file;
        vsphere_volume "vsphereVolume" volume_source::vsphere;
        photon_persistent_disk "photonPersistentDisk" volume_source::photon;
        portworx_volume "portworxVolume" volume_source::portworx;
        azure_disk "azureDisk" volume_source::azure_disk;
        storageos "storageos" storage::storageos;
        projected "projected" projected::volume;
        scale_io "scaleIO" storage::scale_io;
        csi "csi" csi;
        ephemeral "ephemeral" ephemeral;
        image "image" image;
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
    named_after(volume, pod_name, path, errors);
}

/// What is made for a volume is named after it and its pod, which the name must leave room for.
fn named_after(volume: &Volume, pod_name: Option<&str>, path: &Path<'_>, errors: &mut Errors) {
    let name = &path.child("name");
    if let Some(iscsi) = &volume.iscsi
        && iscsi.initiator_name.is_some()
        && volume.name.len() + 1 + iscsi.target_portal.len() > volume_source::INITIATOR_BYTES_MAX
    {
        errors.invalid(name, &volume.name, volume_source::INITIATOR_TOO_LONG);
    }
    if let Some(pod_name) = pod_name.filter(|_| volume.ephemeral.is_some() && !volume.name.is_empty()) {
        let claim = format!("{pod_name}-{}", volume.name);
        let wrong = names::dns_subdomain(&claim).into_iter().map(|wrong| format!("PVC name {claim:?}: {wrong}"));
        errors.invalid_each(name, &volume.name, wrong.collect());
    }
}

fn empty_dir(volume: &EmptyDirVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if quantity::parse_or_zero(volume.size_limit.as_ref()).is_negative() {
        errors.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn secret(volume: &SecretVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(text(volume.secret_name.as_ref()), &path.child("secretName"), errors);
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    items(volume.items.as_deref(), &path.child("items"), errors);
}

fn claimed(volume: &PersistentVolumeClaimVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.claim_name, &path.child("claimName"), errors);
}

fn downward_api(volume: &DownwardAPIVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    downward(volume.items.as_deref(), path, errors);
}

fn config_map(volume: &ConfigMapVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.name, &path.child("name"), errors);
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    items(volume.items.as_deref(), &path.child("items"), errors);
}

/// Kubernetes leaves the reference out of the path when its name is not one.
fn csi(volume: &CSIVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    volume_source::driver_name(&volume.driver, &path.child("driver"), errors);
    match volume.node_publish_secret_ref.as_ref().map(|reference| reference.name.as_str()) {
        Some("") => errors.required(&path.child("nodePublishSecretRef").child("name"), ""),
        Some(name) => errors.invalid_each(&path.child("name"), name, names::dns_subdomain(name)),
        None => {}
    }
}

/// The claim is made with the pod, and named after it: its template says neither name nor namespace.
fn ephemeral(volume: &EphemeralVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &volume.volume_claim_template else { return errors.required(&path, "") };
    template_metadata(&template.metadata.clone().unwrap_or_default(), &path.child("metadata"), errors);
    claim::spec(&template.spec, &path.child("spec"), errors);
}

/// Of the metadata of what will be named later only labels and annotations are said.
fn template_metadata(meta: &ObjectMeta, path: &Path<'_>, errors: &mut Errors) {
    meta::annotations(meta.annotations.as_ref(), &path.child("annotations"), errors);
    labels::labels(meta.labels.as_ref(), &path.child("labels"), errors);
    let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    for (field, set) in [
        ("name", said(&meta.name)),
        ("generateName", said(&meta.generate_name)),
        ("namespace", said(&meta.namespace)),
        ("selfLink", said(&meta.self_link)),
        ("uID", said(&meta.uid)),
        ("resourceVersion", said(&meta.resource_version)),
        ("generation", meta.generation.is_some_and(|generation| generation != 0)),
        ("creationTimestamp", meta.creation_timestamp.is_some()),
        ("deletionTimestamp", meta.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", meta.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", meta.owner_references.is_some()),
        ("finalizers", meta.finalizers.is_some()),
        ("managedFields", meta.managed_fields.is_some()),
    ] {
        if set {
            errors.forbidden(&path.child(field), "cannot be set");
        }
    }
}

fn image(volume: &ImageVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(text(volume.reference.as_ref()), &path.child("reference"), errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    required_one_of(text(volume.pull_policy.as_ref()), &policies, &path.child("pullPolicy"), errors);
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

/// The files of fields of the pod: Kubernetes does not say which of them is wrong.
pub(super) fn downward(items: Option<&[DownwardAPIVolumeFile]>, path: &Path<'_>, errors: &mut Errors) {
    for item in items.unwrap_or_default() {
        file(&item.path, &path.child("path"), errors);
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), resource) => {
                env::file_field_ref(field, &path.child("fieldRef"), errors);
                if resource.is_some() {
                    let rule = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errors.invalid(path, "resource", rule);
                }
            }
            (None, Some(resource)) => env::resource_ref(resource, true, &path.child("resourceFieldRef"), errors),
            (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
        }
        mode(item.mode, &path.child("mode"), errors);
    }
}
