//! What a volume of the cluster is made of: exactly one source, each with the fields that it needs.

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

/// The first source is looked into; any other is one too many.
pub(super) fn check(spec: &PersistentVolumeSpec, path: &Path<'_>, errors: &mut Errors) {
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
    if spec.local.is_some() && spec.node_affinity.is_none() {
        errors.required(&path.child("nodeAffinity"), "Local volume requires node affinity");
    }
    if count == 0 {
        errors.required(path, "must specify a volume type");
    }
}

/// The name of a driver, which nodes register it by.
pub(super) fn driver_name(name: &str, path: &Path<'_>, errors: &mut Errors) {
    required(name, path, errors);
    if name.len() > DRIVER_BYTES_MAX {
        errors.too_long(path, DRIVER_BYTES_MAX);
    }
    errors.invalid_each(path, name, names::dns_subdomain(&name.to_lowercase()));
}

fn host_path(volume: &HostPathVolumeSource, path: &Path<'_>, errors: &mut Errors) {
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

fn nfs(volume: &NFSVolumeSource, path: &Path<'_>, errors: &mut Errors) {
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
    } else if volume.registry.len() >= QUOBYTE_BYTES_MAX {
        errors.invalid(&registry, &volume.registry, "length must be less than or equal to 65");
    } else {
        for _ in volume.registry.split(',').filter(|pair| pair.matches(':').count() != 1) {
            errors.invalid(
                &registry,
                &volume.registry,
                "must be a host:port pair or multiple pairs separated by commas",
            );
        }
    }
    if volume.tenant.as_ref().is_some_and(|tenant| tenant.len() >= QUOBYTE_BYTES_MAX) {
        errors.invalid(&path.child("tenant"), &volume.tenant, "length must be less than or equal to 65");
    }
    required(&volume.volume, &path.child("volume"), errors);
    if volume.volume.len() >= QUOBYTE_BYTES_MAX {
        errors.invalid(&path.child("volume"), &volume.volume, "length must be less than or equal to 65");
    }
}

fn iscsi(volume: &ISCSIPersistentVolumeSource, path: &Path<'_>, errors: &mut Errors) {
    required(&volume.target_portal, &path.child("targetPortal"), errors);
    if volume.iqn.is_empty() {
        errors.required(&path.child("iqn"), "");
    } else if !["iqn", "eui", "naa"].iter().any(|prefix| volume.iqn.starts_with(prefix)) {
        errors.invalid(&path.child("iqn"), &volume.iqn, "must be valid format starting with iqn, eui, or naa");
    }
    between(volume.lun, 0, 255, &path.child("lun"), errors);
    let chap = volume.chap_auth_discovery == Some(true) || volume.chap_auth_session == Some(true);
    let path = path.child("secretRef");
    match &volume.secret_ref {
        Some(secret) => named_secret(secret, &path, errors),
        None if chap => errors.required(&path, ""),
        None => {}
    }
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
    let options = path.child("options");
    for (key, value) in volume.options.iter().flatten() {
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        let reserved = |own: &str| domain == own || domain.ends_with(&format!(".{own}"));
        if reserved("kubernetes.io") || reserved("k8s.io") {
            errors.invalid(&options.key(key), value, "kubernetes.io and k8s.io namespaces are reserved");
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
