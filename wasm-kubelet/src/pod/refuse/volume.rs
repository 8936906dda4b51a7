//! The volumes that this node has not.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1 as core;

use crate::pod::volumes::host_path::{is_granted, not_granted};

/// What of a volume is refused, as fields of it and why.
pub fn refusals(volume: &core::Volume, host_paths: &[PathBuf]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> =
        foreign(volume).into_iter().map(|(field, why)| (field.to_owned(), why.to_owned())).collect();
    if let Some(host) = &volume.host_path
        && !is_granted(Path::new(&host.path), host_paths)
    {
        found.push(("hostPath".into(), not_granted(Path::new(&host.path))));
    }
    let medium = volume.empty_dir.as_ref().and_then(|dir| dir.medium.as_deref());
    if !matches!(medium, None | Some("" | "Memory")) {
        found.push(("emptyDir.medium".into(), "this node has the disk and memory only".into()));
    }
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    for (at, source) in sources.enumerate() {
        let why = "this node projects config maps, secrets, the downward API and tokens only";
        let name =
            |is_there: bool, name: &str| is_there.then(|| (format!("projected.sources[{at}].{name}"), why.into()));
        found.extend(name(source.cluster_trust_bundle.is_some(), "clusterTrustBundle"));
        found.extend(name(source.pod_certificate.is_some(), "podCertificate"));
    }
    found
}

const NO_NETWORK_STORAGE: &str = "this node has no network storage, and cannot mount";
const NO_CLOUD: &str = "this node has no disks of a cloud, and cannot mount";
const NO_DRIVERS: &str = "this node has no storage drivers";

fn foreign(volume: &core::Volume) -> Option<(&'static str, &'static str)> {
    let all = [
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore", NO_CLOUD),
        (volume.azure_disk.is_some(), "azureDisk", NO_CLOUD),
        (volume.azure_file.is_some(), "azureFile", NO_CLOUD),
        (volume.cephfs.is_some(), "cephfs", NO_NETWORK_STORAGE),
        (volume.cinder.is_some(), "cinder", NO_CLOUD),
        (volume.csi.is_some(), "csi", NO_DRIVERS),
        (volume.fc.is_some(), "fc", NO_NETWORK_STORAGE),
        (volume.flex_volume.is_some(), "flexVolume", NO_DRIVERS),
        (volume.flocker.is_some(), "flocker", NO_NETWORK_STORAGE),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk", NO_CLOUD),
        (volume.git_repo.is_some(), "gitRepo", "an init container fetches a repository into an emptyDir"),
        (volume.glusterfs.is_some(), "glusterfs", NO_NETWORK_STORAGE),
        (volume.image.is_some(), "image", "an image here is one program, not a tree of files"),
        (volume.iscsi.is_some(), "iscsi", NO_NETWORK_STORAGE),
        (volume.nfs.is_some(), "nfs", NO_NETWORK_STORAGE),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk", NO_CLOUD),
        (volume.portworx_volume.is_some(), "portworxVolume", NO_NETWORK_STORAGE),
        (volume.quobyte.is_some(), "quobyte", NO_NETWORK_STORAGE),
        (volume.rbd.is_some(), "rbd", NO_NETWORK_STORAGE),
        (volume.scale_io.is_some(), "scaleIO", NO_NETWORK_STORAGE),
        (volume.storageos.is_some(), "storageos", NO_NETWORK_STORAGE),
        (volume.vsphere_volume.is_some(), "vsphereVolume", NO_CLOUD),
    ];
    all.into_iter().find(|(is_there, ..)| *is_there).map(|(_, field, why)| (field, why))
}
