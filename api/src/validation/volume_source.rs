//! What a volume of the cluster is made of: exactly one source, each with the fields that it needs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    AWSElasticBlockStoreVolumeSource, AzureDiskVolumeSource, AzureFilePersistentVolumeSource,
    CSIPersistentVolumeSource, CephFSPersistentVolumeSource, CinderPersistentVolumeSource, FCVolumeSource,
    FlexPersistentVolumeSource, FlockerVolumeSource, GCEPersistentDiskVolumeSource, GlusterfsPersistentVolumeSource,
    HostPathVolumeSource, ISCSIPersistentVolumeSource, LocalVolumeSource, NFSVolumeSource, PersistentVolumeSpec,
    PhotonPersistentDiskVolumeSource, PortworxVolumeSource, QuobyteVolumeSource, RBDPersistentVolumeSource,
    ScaleIOPersistentVolumeSource, SecretReference, StorageOSPersistentVolumeSource, VsphereVirtualDiskVolumeSource,
};

use super::rules::{between, named, no_backsteps, one_of_if_set, required, text};
use crate::field::{Errors, Path};
use crate::names;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const QUOBYTE_BYTES_MAX: usize = 65;
const DRIVER_BYTES_MAX: usize = 63;
/// How long the name of a volume and that of its portal may be together, where both make the name of who asks.
pub(super) const INITIATOR_BYTES_MAX: usize = 64;
pub(super) const INITIATOR_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";

/// The first source is looked into; any other is one too many.
pub(super) fn check(spec: &PersistentVolumeSpec, name: &str, path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    macro_rules! sources {
        ($($field:ident $name:literal $(as $shown:literal)? $check:expr;)*) => {$(
            if let Some(source) = &spec.$field {
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
        host_path "hostPath" host_path;
        gce_persistent_disk "gcePersistentDisk" as "persistentDisk" gce;
        aws_elastic_block_store "awsElasticBlockStore" aws;
        glusterfs "glusterfs" glusterfs;
        flocker "flocker" flocker;
        nfs "nfs" nfs;
        rbd "rbd" rbd;
        quobyte "quobyte" quobyte;
        cephfs "cephFS" as "cephfs" cephfs;
        iscsi "iscsi" iscsi;
        cinder "cinder" cinder;
        fc "fc" fibre_channel;
        flex_volume "flexVolume" flex;
        azure_file "azureFile" azure_file;
        vsphere_volume "vsphereVolume" vsphere;
        photon_persistent_disk "photonPersistentDisk" photon;
        portworx_volume "portworxVolume" portworx;
        azure_disk "azureDisk" azure_disk;
        scale_io "scaleIO" scale_io;
        local "local" local;
        storageos "storageos" storageos;
        csi "csi" csi;
    }
    if let Some(iscsi) = &spec.iscsi
        && iscsi.initiator_name.is_some()
        && name.len() + 1 + iscsi.target_portal.len() > INITIATOR_BYTES_MAX
    {
        errors.invalid(&path.child("iscsi").child("targetportal"), &iscsi.target_portal, INITIATOR_TOO_LONG);
    }
    if spec.local.is_some() && spec.node_affinity.is_none() {
        errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

/// The name of a driver, which nodes register it by.
pub(super) fn driver_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > DRIVER_BYTES_MAX {
        errors.too_long(path, DRIVER_BYTES_MAX);
    }
    errors.invalid_each(path, name, names::dns_subdomain(&name.to_lowercase()));
}

pub(super) fn host_path(volume: &HostPathVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    if volume.path.is_empty() {
        return errors.required(&path.child("path"), "");
    }
    no_backsteps(&volume.path, &path.child("path"), errors);
    one_of_if_set(volume.type_.as_ref(), &HOST_PATH_TYPES, &path.child("type"), errors);
}

fn partition(partition: Option<i32>, path: &Path<'_>, errors: &mut Errors) {
    between(partition.unwrap_or_default(), 0, 255, &path.child("partition"), errors);
}

pub(super) fn gce(volume: &GCEPersistentDiskVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.pd_name, &path.child("pdName"), errors);
    partition(volume.partition, path, errors);
}

pub(super) fn aws(volume: &AWSElasticBlockStoreVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.volume_id, &path.child("volumeID"), errors);
    partition(volume.partition, path, errors);
}

fn glusterfs(volume: &GlusterfsPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.endpoints, &path.child("endpoints"), errors);
    required(&volume.path, &path.child("path"), errors);
    if let Some(namespace) = &volume.endpoints_namespace {
        errors.invalid_each(&path.child("endpointsNamespace"), namespace, names::dns_label(namespace));
    }
}

pub(super) fn flocker(volume: &FlockerVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    let (name, uuid) = (text(volume.dataset_name.as_ref()), text(volume.dataset_uuid.as_ref()));
    if name.is_empty() && uuid.is_empty() {
        errors.required(path, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.contains('/') {
        errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
    }
}

pub(super) fn nfs(volume: &NFSVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.server, &path.child("server"), errors);
    required(&volume.path, &path.child("path"), errors);
    if !volume.path.starts_with('/') {
        errors.invalid(&path.child("path"), &volume.path, "must be an absolute path");
    }
}

fn some_of(list: &[String], path: &Path<'_>, errors: &mut Errors) {
    if list.is_empty() {
        errors.required(path, "");
    }
}

fn rbd(volume: &RBDPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    some_of(&volume.monitors, &path.child("monitors"), errors);
    required(&volume.image, &path.child("image"), errors);
}

fn cephfs(volume: &CephFSPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    some_of(&volume.monitors, &path.child("monitors"), errors);
}

pub(super) fn quobyte(volume: &QuobyteVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    let registry = path.child("registry");
    if volume.registry.is_empty() {
        errors.required(&registry, "must be a host:port pair or multiple pairs separated by commas");
    } else if volume.tenant.as_ref().is_some_and(|tenant| tenant.len() >= QUOBYTE_BYTES_MAX) {
        errors.required(&path.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for _ in volume.registry.split(',').filter(|pair| pair.matches(':').count() != 1) {
            let rule = "must be a host:port pair or multiple pairs separated by commas";
            errors.invalid(&registry, &volume.registry, rule);
        }
    }
    required(&volume.volume, &path.child("volume"), errors);
}

fn iscsi(volume: &ISCSIPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.target_portal, &path.child("targetPortal"), errors);
    required(&volume.iqn, &path.child("iqn"), errors);
    initiator(&volume.iqn, &path.child("iqn"), errors);
    between(volume.lun, 0, 255, &path.child("lun"), errors);
    let chap = volume.chap_auth_discovery == Some(true) || volume.chap_auth_session == Some(true);
    let secret_path = path.child("secretRef");
    match &volume.secret_ref {
        Some(secret) => required(text(secret.name.as_ref()), &secret_path.child("name"), errors),
        None if chap => errors.required(&secret_path, ""),
        None => {}
    }
    if let Some(name) = &volume.initiator_name {
        initiator(name, &path.child("initiatorname"), errors);
    }
}

/// `iqn.2001-04.com.example:disk`, `eui.…` or `naa.…`
pub(super) fn initiator(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let letters = |rest: &str, count: usize| {
        let mut rest = rest.chars();
        rest.next().is_some() && rest.clone().count() == count && rest.all(|c| c.is_ascii_alphanumeric())
    };
    let right = match name.get(..3).map(|prefix| (prefix, &name[3..])) {
        _ if name.is_empty() => true,
        Some(("iqn", rest)) => is_dated(rest),
        Some(("eui", rest)) => letters(rest, 16),
        Some(("naa", rest)) => letters(rest, 32),
        _ => false,
    };
    if !right {
        errors.invalid(path, name, "must be valid format");
    }
}

/// `.2001-04.com.example:disk`
fn is_dated(name: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let Some((date, rest)) = name.strip_prefix('.').and_then(|name| name.split_once('.')) else { return false };
    let dated = date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2));
    dated
        && rest.split_once(':').is_some_and(|(domain, own)| {
            let of_domain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            let of_own = |c: char| !c.is_whitespace() && !",;*&$|".contains(c);
            !domain.is_empty() && domain.bytes().all(of_domain) && !own.is_empty() && own.chars().all(of_own)
        })
}

fn named_secret(secret: &SecretReference, path: &Path<'_>, errors: &mut Errors) {
    required(text(secret.name.as_ref()), &path.child("name"), errors);
    required(text(secret.namespace.as_ref()), &path.child("namespace"), errors);
}

fn cinder(volume: &CinderPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.volume_id, &path.child("volumeID"), errors);
    if let Some(secret) = &volume.secret_ref {
        named_secret(secret, &path.child("secretRef"), errors);
    }
}

pub(super) fn fibre_channel(volume: &FCVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let (names, ids) = (some(&volume.target_wwns), some(&volume.wwids));
    let names_path = path.child("targetWWNs");
    match (names, ids) {
        (false, false) => errors.required(&names_path, "must specify either targetWWNs or wwids, but not both"),
        (true, true) => {
            errors.invalid(
                &names_path,
                &volume.target_wwns,
                "targetWWNs and wwids can not be specified simultaneously",
            );
        }
        _ => {}
    }
    if names && !ids {
        match volume.lun {
            Some(lun) => between(lun, 0, 255, &path.child("lun"), errors),
            None => errors.required(&path.child("lun"), "lun is required if targetWWNs is specified"),
        }
    }
}

fn flex(volume: &FlexPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.driver, &path.child("driver"), errors);
    options(volume.options.as_ref(), &path.child("options"), errors);
}

/// What a driver is told is in its own words, not in Kubernetes'.
pub(super) fn options(options: Option<&BTreeMap<String, String>>, path: &Path<'_>, errors: &mut Errors) {
    for key in options.into_iter().flatten().map(|(key, _)| key) {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            errors.invalid(&path.key(key), key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn azure_file(volume: &AzureFilePersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.secret_name, &path.child("secretName"), errors);
    required(&volume.share_name, &path.child("shareName"), errors);
    if volume.secret_namespace.as_ref().is_some_and(String::is_empty) {
        errors.required(&path.child("secretNamespace"), "");
    }
}

pub(super) fn vsphere(volume: &VsphereVirtualDiskVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.volume_path, &path.child("volumePath"), errors);
}

pub(super) fn photon(volume: &PhotonPersistentDiskVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.pd_id, &path.child("pdID"), errors);
}

pub(super) fn portworx(volume: &PortworxVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.volume_id, &path.child("volumeID"), errors);
}

pub(super) fn azure_disk(volume: &AzureDiskVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.disk_name, &path.child("diskName"), errors);
    required(&volume.disk_uri, &path.child("diskURI"), errors);
    let modes = ["None", "ReadOnly", "ReadWrite"];
    one_of_if_set(volume.caching_mode.as_ref(), &modes, &path.child("cachingMode"), errors);
    one_of_if_set(volume.kind.as_ref(), &["Dedicated", "Managed", "Shared"], &path.child("kind"), errors);
    let managed = volume.kind.as_deref() == Some("Managed");
    let prefix = if managed { "/subscriptions/" } else { "https://" };
    if !volume.disk_uri.starts_with(prefix) {
        let forms = if managed {
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
        } else {
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
        };
        errors.not_supported(&path.child("diskURI"), &volume.disk_uri, &[forms]);
    }
}

fn scale_io(volume: &ScaleIOPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.gateway, &path.child("gateway"), errors);
    required(&volume.system, &path.child("system"), errors);
    required(text(volume.volume_name.as_ref()), &path.child("volumeName"), errors);
}

fn local(volume: &LocalVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.path, &path.child("path"), errors);
    no_backsteps(&volume.path, &path.child("path"), errors);
}

fn storageos(volume: &StorageOSPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    named(text(volume.volume_name.as_ref()), names::dns_label, &path.child("volumeName"), errors);
    let namespace = text(volume.volume_namespace.as_ref());
    if !namespace.is_empty() {
        errors.invalid_each(&path.child("volumeNamespace"), namespace, names::dns_label(namespace));
    }
    if let Some(secret) = &volume.secret_ref {
        let path = path.child("secretRef");
        required(text(secret.name.as_ref()), &path.child("name"), errors);
        required(text(secret.namespace.as_ref()), &path.child("namespace"), errors);
    }
}

fn csi(volume: &CSIPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    driver_name(&volume.driver, &path.child("driver"), errors);
    required(&volume.volume_handle, &path.child("volumeHandle"), errors);
    for (field, secret) in [
        ("controllerPublishSecretRef", &volume.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &volume.controller_expand_secret_ref),
        ("nodePublishSecretRef", &volume.node_publish_secret_ref),
        ("nodeExpandSecretRef", &volume.node_expand_secret_ref),
    ] {
        let Some(secret) = secret else { continue };
        let path = path.child(field);
        named(text(secret.name.as_ref()), names::dns_subdomain, &path.child("name"), errors);
        named(text(secret.namespace.as_ref()), names::dns_label, &path.child("namespace"), errors);
    }
}
