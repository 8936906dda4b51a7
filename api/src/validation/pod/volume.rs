//! Volumes: each has a name of its own and exactly one source.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection};

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
                    let check: &dyn Fn(&_, &Path<'_>, &mut Errors) = &$check;
                    check(source, &path, errors);
                }
            }
        )*};
    }
    sources! {
        empty_dir "emptyDir" |s: &k8s_openapi::api::core::v1::EmptyDirVolumeSource, path: &Path<'_>, e: &mut Errors| {
            if quantity::parse_or_zero(s.size_limit.as_ref()).is_negative() {
                e.forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
            }
        };
        host_path "hostPath" |s: &k8s_openapi::api::core::v1::HostPathVolumeSource, path: &Path<'_>, e: &mut Errors| {
            required(&s.path, &path.child("path"), e);
            no_backsteps(&s.path, &path.child("path"), e);
            one_of_if_set(s.type_.as_ref(), &HOST_PATH_TYPES, &path.child("type"), e);
        };
        secret "secret" |s: &k8s_openapi::api::core::v1::SecretVolumeSource, path: &Path<'_>, e: &mut Errors| {
            required(text(s.secret_name.as_ref()), &path.child("secretName"), e);
            mode(s.default_mode, &path.child("defaultMode"), e);
            items(s.items.as_deref(), &path.child("items"), e);
        };
        nfs "nfs" |s: &k8s_openapi::api::core::v1::NFSVolumeSource, path: &Path<'_>, e: &mut Errors| {
            required(&s.server, &path.child("server"), e);
            required(&s.path, &path.child("path"), e);
            if !s.path.is_empty() && !s.path.starts_with('/') {
                e.invalid(&path.child("path"), &s.path, "must be an absolute path");
            }
        };
        persistent_volume_claim "persistentVolumeClaim"
            |s: &k8s_openapi::api::core::v1::PersistentVolumeClaimVolumeSource, path: &Path<'_>, e: &mut Errors| {
                required(&s.claim_name, &path.child("claimName"), e);
            };
        downward_api "downwardAPI" |s: &k8s_openapi::api::core::v1::DownwardAPIVolumeSource, path: &Path<'_>, e: &mut Errors| {
            mode(s.default_mode, &path.child("defaultMode"), e);
            downward(s.items.as_deref(), &path.child("items"), e);
        };
        config_map "configMap" |s: &k8s_openapi::api::core::v1::ConfigMapVolumeSource, path: &Path<'_>, e: &mut Errors| {
            required(&s.name, &path.child("name"), e);
            mode(s.default_mode, &path.child("defaultMode"), e);
            items(s.items.as_deref(), &path.child("items"), e);
        };
        projected "projected" projected;
        csi "csi" |s: &k8s_openapi::api::core::v1::CSIVolumeSource, path: &Path<'_>, e: &mut Errors| {
            required(&s.driver, &path.child("driver"), e);
        };
        ephemeral "ephemeral" |s: &k8s_openapi::api::core::v1::EphemeralVolumeSource, path: &Path<'_>, e: &mut Errors| {
            if s.volume_claim_template.is_none() {
                e.required(&path.child("volumeClaimTemplate"), "");
            }
        };
        image "image" |s: &k8s_openapi::api::core::v1::ImageVolumeSource, path: &Path<'_>, e: &mut Errors| {
            required(text(s.reference.as_ref()), &path.child("reference"), e);
            one_of_if_set(s.pull_policy.as_ref(), &["Always", "IfNotPresent", "Never"], &path.child("pullPolicy"), e);
        };
        aws_elastic_block_store "awsElasticBlockStore" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        azure_disk "azureDisk" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        azure_file "azureFile" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        cephfs "cephfs" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        cinder "cinder" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        fc "fc" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        flex_volume "flexVolume" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        flocker "flocker" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        gce_persistent_disk "gcePersistentDisk" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        git_repo "gitRepo" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        glusterfs "glusterfs" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        iscsi "iscsi" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        photon_persistent_disk "photonPersistentDisk" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        portworx_volume "portworxVolume" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        quobyte "quobyte" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        rbd "rbd" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        scale_io "scaleIO" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        storageos "storageos" |_: &_, _: &Path<'_>, _: &mut Errors| {};
        vsphere_volume "vsphereVolume" |_: &_, _: &Path<'_>, _: &mut Errors| {};
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
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
    if let Some(secret) = &source.secret {
        if first("secret", errors) {
            let path = path.child("secret");
            required(&secret.name, &path.child("name"), errors);
            items(secret.items.as_deref(), &path.child("items"), errors);
        }
    }
    if let Some(map) = &source.config_map {
        if first("configMap", errors) {
            let path = path.child("configMap");
            required(&map.name, &path.child("name"), errors);
            items(map.items.as_deref(), &path.child("items"), errors);
        }
    }
    if let Some(api) = &source.downward_api {
        if first("downwardAPI", errors) {
            let path = path.child("downwardAPI");
            downward(api.items.as_deref(), &path.child("items"), errors);
        }
    }
    if let Some(token) = &source.service_account_token {
        if first("serviceAccountToken", errors) {
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
    }
    if let Some(bundle) = &source.cluster_trust_bundle {
        if first("clusterTrustBundle", errors) {
            let path = path.child("clusterTrustBundle");
            file(&bundle.path, &path.child("path"), errors);
        }
    }
    if source.pod_certificate.is_some() {
        first("podCertificate", errors);
    }
    if count == 0 {
        errors.required(path, "must specify a projection type");
    }
}
