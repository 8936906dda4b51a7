//! Volumes: each has a name of its own and exactly one source.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    EphemeralVolumeSource, HostPathVolumeSource, ImageVolumeSource, KeyToPath, NFSVolumeSource,
    PersistentVolumeClaimVolumeSource, ProjectedVolumeSource, SecretVolumeSource, Volume, VolumeProjection,
};

use super::env;
use crate::field::{Errors, Path};
use crate::names;
use crate::quantity;
use crate::validation::rules::{between, named, no_backsteps, one_of_if_set, relative_path, required, text, unique};

const MODE_MAX: i32 = 0o777;
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
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
        git_repo "gitRepo" of_other_systems;
        gce_persistent_disk "gcePersistentDisk" of_other_systems;
        aws_elastic_block_store "awsElasticBlockStore" of_other_systems;
        secret "secret" secret;
        nfs "nfs" nfs;
        iscsi "iscsi" of_other_systems;
        glusterfs "glusterfs" of_other_systems;
        persistent_volume_claim "persistentVolumeClaim" claim;
        rbd "rbd" of_other_systems;
        cinder "cinder" of_other_systems;
        cephfs "cephfs" of_other_systems;
        flocker "flocker" of_other_systems;
        downward_api "downwardAPI" downward_api;
        fc "fc" of_other_systems;
        flex_volume "flexVolume" of_other_systems;
        azure_file "azureFile" of_other_systems;
        config_map "configMap" config_map;
        vsphere_volume "vsphereVolume" of_other_systems;
        quobyte "quobyte" of_other_systems;
        azure_disk "azureDisk" of_other_systems;
        storageos "storageos" of_other_systems;
        photon_persistent_disk "photonPersistentDisk" of_other_systems;
        portworx_volume "portworxVolume" of_other_systems;
        scale_io "scaleIO" of_other_systems;
        projected "projected" projected;
        csi "csi" csi;
        ephemeral "ephemeral" ephemeral;
        image "image" image;
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

/// Volumes of storage systems that no node here has are taken as they are.
fn of_other_systems<T>(_: &T, _: &Path<'_>, _: &mut Errors) {}

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

fn claim(volume: &PersistentVolumeClaimVolumeSource, path: &Path<'_>, errors: &mut Errors) {
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
    required(&volume.driver, &path.child("driver"), errors);
}

fn ephemeral(volume: &EphemeralVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if volume.volume_claim_template.is_none() {
        errors.required(&path.child("volumeClaimTemplate"), "");
    }
}

fn image(volume: &ImageVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(text(volume.reference.as_ref()), &path.child("reference"), errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of_if_set(volume.pull_policy.as_ref(), &policies, &path.child("pullPolicy"), errors);
}

fn mode(mode: Option<i32>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = mode.filter(|m| !(0..=MODE_MAX).contains(m)) {
        errors.invalid(path, &mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// A file stays in its volume and is none of the volume's own.
fn file(value: &str, path: &Path<'_>, errors: &mut Errors) {
    if value.is_empty() {
        return errors.required(path, "");
    }
    relative_path(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

fn items(items: Option<&[KeyToPath]>, list: &Path<'_>, errors: &mut Errors) {
    for (i, item) in items.unwrap_or_default().iter().enumerate() {
        let path = list.index(i);
        required(&item.key, &path.child("key"), errors);
        file(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
}

fn downward(items: Option<&[DownwardAPIVolumeFile]>, list: &Path<'_>, errors: &mut Errors) {
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

fn projected(volume: &ProjectedVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    mode(volume.default_mode, &path.child("defaultMode"), errors);
    let list = path.child("sources");
    for (i, source) in volume.sources.iter().flatten().enumerate() {
        projection(source, &list.index(i), errors);
    }
}

fn projection(source: &VolumeProjection, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    let mut first = |name: &str, errors: &mut Errors| {
        count += 1;
        if count > 1 {
            errors.forbidden(&path.child(name), "may not specify more than 1 volume type per source");
        }
        count == 1
    };
    if let Some(secret) = &source.secret
        && first("secret", errors)
    {
        let path = path.child("secret");
        required(&secret.name, &path.child("name"), errors);
        items(secret.items.as_deref(), &path.child("items"), errors);
    }
    if let Some(map) = &source.config_map
        && first("configMap", errors)
    {
        let path = path.child("configMap");
        required(&map.name, &path.child("name"), errors);
        items(map.items.as_deref(), &path.child("items"), errors);
    }
    if let Some(api) = &source.downward_api
        && first("downwardAPI", errors)
    {
        let path = path.child("downwardAPI");
        downward(api.items.as_deref(), &path.child("items"), errors);
    }
    if let Some(token) = &source.service_account_token
        && first("serviceAccountToken", errors)
    {
        let path = path.child("serviceAccountToken");
        if let Some(seconds) = token.expiration_seconds {
            let path = path.child("expirationSeconds");
            if seconds < TOKEN_SECONDS_MIN {
                errors.invalid(&path, &seconds, "may not specify a duration less than 10 minutes");
            } else {
                between(seconds, TOKEN_SECONDS_MIN, TOKEN_SECONDS_MAX, &path, errors);
            }
        }
        file(&token.path, &path.child("path"), errors);
    }
    if let Some(bundle) = &source.cluster_trust_bundle
        && first("clusterTrustBundle", errors)
    {
        let path = path.child("clusterTrustBundle");
        file(&bundle.path, &path.child("path"), errors);
    }
    if source.pod_certificate.is_some() {
        first("podCertificate", errors);
    }
    if count == 0 {
        errors.required(path, "must specify a projection type");
    }
}
