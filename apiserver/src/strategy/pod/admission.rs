//! What the cluster gives every pod before it is validated: a service account, tolerations, a priority.
//!
//! Source: the admission plugins `ServiceAccount`, `DefaultTolerationSeconds` and `Priority`.

use coracle_api::kinds;
use coracle_api::names;
use coracle_api::status::{ApiError, GroupResource};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, Pod, PodSpec,
    ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection, Toleration, Volume, VolumeMount,
    VolumeProjection,
};

use super::typed;
use crate::api::Api;

/// Where a container finds the token of its service account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Seconds that a pod stays on a node that is gone.
const TOLERATION_SECONDS: i64 = 300;

/// Seconds that a token is asked for: an hour and the time to notice that it is over.
const TOKEN_SECONDS: i64 = 3607;

/// An annotation by which a kubelet shows a pod that it runs by itself.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Completes a pod that is to be created.
pub(super) async fn admit(api: &Api, pod: &mut Pod) -> Result<(), ApiError> {
    let is_mirror = pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR));
    let (namespace, name) = (pod.metadata.namespace.clone().unwrap_or_default(), pod_name(pod));
    let Some(spec) = &mut pod.spec else { return Ok(()) };
    if !is_mirror {
        service_account(api, &namespace, &name, spec).await?;
    }
    tolerations(spec);
    priority(&name, spec)
}

fn pod_name(pod: &Pod) -> String {
    pod.metadata
        .name
        .clone()
        .filter(|name| !name.is_empty())
        .or_else(|| pod.metadata.generate_name.clone())
        .unwrap_or_default()
}

fn forbidden(name: &str, reason: impl Into<String>) -> ApiError {
    let resource = GroupResource::of(kinds::of::<Pod>());
    ApiError::Forbidden { resource, name: name.to_owned(), reason: reason.into() }
}

async fn service_account(api: &Api, namespace: &str, name: &str, spec: &mut PodSpec) -> Result<(), ApiError> {
    let account =
        spec.service_account_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    spec.service_account_name = Some(account.clone());
    spec.service_account = Some(account.clone());
    if !api.config.require_service_accounts {
        return Ok(());
    }
    let found = api.service_account(namespace, &account).await;
    let Some(found) = found else {
        let reason =
            format!("error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found");
        return Err(forbidden(name, reason));
    };
    let found = typed::<ServiceAccount>(&found);
    if mounts_token(spec, found) {
        mount_token(spec);
    }
    if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
        spec.image_pull_secrets.clone_from(&found.image_pull_secrets);
    }
    Ok(())
}

fn mounts_token(spec: &PodSpec, account: &ServiceAccount) -> bool {
    spec.automount_service_account_token.or(account.automount_service_account_token).unwrap_or(true)
}

/// Mounts the token, the cluster's certificate and the namespace's name where clients look for them.
fn mount_token(spec: &mut PodSpec) {
    let has_path = |mounts: &Option<Vec<VolumeMount>>| {
        mounts.as_ref().is_some_and(|mounts| mounts.iter().any(|mount| mount.mount_path == TOKEN_PATH))
    };
    let volume = names::generate("kube-api-access-", crate::handler::random());
    let mut mounted = false;
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        if !has_path(&container.volume_mounts) {
            mounted = true;
            container.volume_mounts.get_or_insert_default().push(VolumeMount {
                name: volume.clone(),
                mount_path: TOKEN_PATH.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            });
        }
    }
    if mounted {
        spec.volumes.get_or_insert_default().push(token_volume(volume));
    }
}

fn token_volume(name: String) -> Volume {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".to_owned(),
            ..ServiceAccountTokenProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let certificate = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: "kube-root-ca.crt".to_owned(),
            items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    let namespace = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: "namespace".to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.namespace".to_owned(),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name,
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o644),
            sources: Some(vec![token, certificate, namespace]),
        }),
        ..Volume::default()
    }
}

/// A pod leaves a node that is gone after a time, unless it says otherwise.
fn tolerations(spec: &mut PodSpec) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let own = |toleration: &Toleration| {
            toleration.key.as_deref().is_none_or(|own| own.is_empty() || own == key)
                && toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoExecute")
        };
        if !spec.tolerations.as_ref().is_some_and(|tolerations| tolerations.iter().any(own)) {
            spec.tolerations.get_or_insert_default().push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(TOLERATION_SECONDS),
                ..Toleration::default()
            });
        }
    }
}

/// The priority of a class. Beyond none there are the two that every cluster has.
fn priority(name: &str, spec: &mut PodSpec) -> Result<(), ApiError> {
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    let value = match class {
        "" => 0,
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        other => return Err(forbidden(name, format!("no PriorityClass with name {other} was found"))),
    };
    if spec.priority.is_some_and(|priority| priority != value) {
        let own = spec.priority.unwrap_or_default();
        return Err(forbidden(
            name,
            format!(
                "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            ),
        ));
    }
    spec.priority = Some(value);
    spec.preemption_policy.get_or_insert_with(|| "PreemptLowerPriority".to_owned());
    Ok(())
}
