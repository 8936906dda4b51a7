//! Claims: which folder of this host a `persistentVolumeClaim` or an `ephemeral` volume stands for.
//!
//! Source: kubelet, the desired state of world populator, with its messages.

use std::path::PathBuf;

use coracle_client::Client;
use k8s_openapi::api::core::v1 as core;

use super::host_path::Refusal;
use crate::pod::execute::chain;

/// Where a claim's volume lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub path: PathBuf,
    /// As a `hostPath` has it; what is `local` must be there.
    pub type_: String,
    pub read_only: bool,
}

/// The claim that a volume names, and whether it may only read.
pub fn named(volume: &core::Volume, pod_name: &str) -> Option<(String, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.clone(), source.read_only == Some(true)));
    }
    volume.ephemeral.as_ref().map(|_| (format!("{pod_name}-{}", volume.name), false))
}

/// Follows a volume's claim to the folder that it is bound to.
///
/// # Errors
/// Why it cannot be used: now, or ever by this node.
pub async fn resolve(volume: &core::Volume, pod: &core::Pod, client: &Client) -> Result<Claim, Refusal> {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let Some((name, read_only)) = named(volume, meta.name.as_deref().unwrap_or_default()) else {
        return Err(Refusal::Ever("the volume names no claim".into()));
    };
    let failed = |why: String| Refusal::Now(format!("error processing PVC {namespace}/{name}: {why}"));
    let claim = client.namespaced::<core::PersistentVolumeClaim>(namespace).get(&name).await;
    let claim = claim.map_err(|error| failed(format!("failed to fetch PVC from API server: {}", chain(&error))))?;
    if volume.ephemeral.is_some() && !is_controlled_by(&claim, pod) {
        return Err(failed("not the ephemeral PVC for the pod".into()));
    }
    let bound_to = bound(&claim).map_err(|why| failed(why.into()))?;
    let found = client.all::<core::PersistentVolume>().get(bound_to).await;
    let found =
        found.map_err(|error| failed(format!("failed to fetch PV {bound_to} from API server: {}", chain(&error))))?;
    check_bound(&found, &claim).map_err(failed)?;
    folder(&found, &volume.name, read_only)
}

fn bound(claim: &core::PersistentVolumeClaim) -> Result<&str, &'static str> {
    if claim.metadata.deletion_timestamp.is_some() {
        return Err("PVC is being deleted");
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        return Err("PVC is not bound");
    }
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    name.filter(|name| !name.is_empty()).ok_or("PVC has empty pvc.Spec.VolumeName")
}

fn check_bound(volume: &core::PersistentVolume, claim: &core::PersistentVolumeClaim) -> Result<(), String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else {
        return Err(format!(
            "found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        ));
    };
    if reference.uid != claim.metadata.uid {
        let uid = |uid: &Option<String>| uid.clone().unwrap_or_default();
        return Err(format!(
            "found PV object {name} but its pv.Spec.ClaimRef.UID {} does not point to claim.UID {}",
            uid(&reference.uid),
            uid(&claim.metadata.uid)
        ));
    }
    Ok(())
}

fn folder(volume: &core::PersistentVolume, own_name: &str, read_only: bool) -> Result<Claim, Refusal> {
    let empty = core::PersistentVolumeSpec::default();
    let spec = volume.spec.as_ref().unwrap_or(&empty);
    if spec.volume_mode.as_deref() == Some("Block") {
        let message = format!("volume {own_name} has volumeMode Block, but is specified in volumeMounts");
        return Err(Refusal::Ever(message));
    }
    if let Some(local) = &spec.local {
        return Ok(Claim { path: local.path.clone().into(), type_: "Directory".into(), read_only });
    }
    if let Some(host) = &spec.host_path {
        let type_ = host.type_.clone().unwrap_or_default();
        return Ok(Claim { path: host.path.clone().into(), type_, read_only });
    }
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    Err(Refusal::Ever(format!("PersistentVolume {name:?} is neither local nor hostPath, which this node has alone")))
}

/// Source: `metav1.IsControlledBy`.
fn is_controlled_by(claim: &core::PersistentVolumeClaim, pod: &core::Pod) -> bool {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == pod.metadata.uid.as_ref())
}
