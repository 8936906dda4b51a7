//! Every pod speaks for a service account, and finds its token where clients look for it.
//!
//! Source: the admission plugin `ServiceAccount`.

use async_trait::async_trait;
use coracle_api::names;
use coracle_api::status::ApiError;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, Pod, PodSpec,
    ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};

use super::{Plugin, Review, is_mirror, secrets};
use crate::strategy::typed;

/// Where a container finds the token of its service account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const VOLUME_PREFIX: &str = "kube-api-access-";

/// Seconds that a token is asked for: an hour and the time to notice that it is over.
const TOKEN_SECONDS: i64 = 3607;

/// The account of pods that name none.
const DEFAULT: &str = "default";

pub(super) struct ServiceAccounts;

#[async_trait]
impl Plugin for ServiceAccounts {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.creates::<Pod>()
    }

    async fn admit(&self, review: &mut Review<'_>) -> Result<(), ApiError> {
        if is_mirror(review.object()) {
            return Ok(());
        }
        let Some(spec) = &mut review.object_mut::<Pod>().spec else { return Ok(()) };
        let named = spec.service_account_name.clone().filter(|name| !name.is_empty());
        let account = named.unwrap_or_else(|| DEFAULT.to_owned());
        spec.service_account_name = Some(account.clone());
        spec.service_account = Some(account.clone());
        if !review.api.config.require_service_accounts {
            return Ok(());
        }
        let namespace = review.object.namespace().to_owned();
        let Some(found) = review.api.service_account(&namespace, &account).await else {
            return Err(review.forbidden(format!(
                "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
            )));
        };
        let found = typed::<ServiceAccount>(&found);
        let Some(spec) = &mut review.object_mut::<Pod>().spec else { return Ok(()) };
        if mounts_token(spec, found) {
            mount_token(spec);
        }
        if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
            spec.image_pull_secrets.clone_from(&found.image_pull_secrets);
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        let pod = review.object::<Pod>();
        let Some(spec) = &pod.spec else { return Ok(()) };
        if is_mirror(pod) {
            return secrets::of_mirror(spec).map_or(Ok(()), |why| Err(review.forbidden(why)));
        }
        if !review.api.config.require_service_accounts {
            return Ok(());
        }
        let name = spec.service_account_name.as_deref().unwrap_or(DEFAULT);
        let Some(found) = review.api.service_account(review.object.namespace(), name).await else { return Ok(()) };
        let account = typed::<ServiceAccount>(&found);
        match keeps_to_its_secrets(account).then(|| secrets::foreign(spec, account)).flatten() {
            Some(why) => Err(review.forbidden(why)),
            None => Ok(()),
        }
    }
}

/// Whether pods of the account may have its own secrets only.
fn keeps_to_its_secrets(account: &ServiceAccount) -> bool {
    const ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";
    let annotations = account.metadata.annotations.as_ref();
    let value = annotations.and_then(|annotations| annotations.get(ANNOTATION));
    value.is_some_and(|value| ["1", "t", "T", "TRUE", "true", "True"].contains(&value.as_str()))
}

fn mounts_token(spec: &PodSpec, account: &ServiceAccount) -> bool {
    spec.automount_service_account_token.or(account.automount_service_account_token).unwrap_or(true)
}

/// Mounts the token, the cluster's certificate and the namespace's name where clients look for them.
fn mount_token(spec: &mut PodSpec) {
    let has_path = |mounts: &Option<Vec<VolumeMount>>| {
        mounts.as_ref().is_some_and(|mounts| mounts.iter().any(|mount| mount.mount_path == TOKEN_PATH))
    };
    // A pod that is made of another's description has that one's volume.
    let own = spec.volumes.iter().flatten().find(|volume| volume.name.starts_with(VOLUME_PREFIX));
    let volume = own.map(|volume| volume.name.clone());
    let (has_volume, volume) =
        (volume.is_some(), volume.unwrap_or_else(|| names::generate(VOLUME_PREFIX, crate::handler::random())));
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
    if mounted && !has_volume {
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
