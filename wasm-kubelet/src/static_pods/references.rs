//! What a static pod names of the API: it may name nothing, since it runs without one. Pure.
//! Source: `podutil.HasAPIObjectReference`.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, PodSpec, Volume, VolumeProjection};

/// The first kind of object that a pod names, in upstream's words and order.
pub fn first(spec: &PodSpec) -> Option<&'static str> {
    let has = |is_there: bool, what| is_there.then_some(what);
    let account = [&spec.service_account_name, &spec.service_account];
    has(account.into_iter().flatten().any(|name| !name.is_empty()), "serviceaccounts")
        .or_else(|| has(names_secrets(spec), "secrets"))
        .or_else(|| has(names_config_maps(spec), "configmaps"))
        .or_else(|| has(spec.resource_claims.iter().flatten().next().is_some(), "resourceclaims"))
        .or_else(|| spec.volumes.iter().flatten().find_map(of_volume))
}

/// The environments of all containers.
fn environments(spec: &PodSpec) -> impl Iterator<Item = (&[EnvVar], &[EnvFromSource])> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    containers.map(|it| (it.env.as_deref().unwrap_or_default(), it.env_from.as_deref().unwrap_or_default()))
}

fn names_secrets(spec: &PodSpec) -> bool {
    let of_variable = |it: &EnvVar| it.value_from.as_ref().is_some_and(|from| from.secret_key_ref.is_some());
    spec.image_pull_secrets.iter().flatten().next().is_some()
        || environments(spec)
            .any(|(env, from)| env.iter().any(of_variable) || from.iter().any(|it| it.secret_ref.is_some()))
        || spec.volumes.iter().flatten().any(needs_secret)
}

/// Volumes of other systems that log in by a secret; those that are one are told more exactly by [`of_volume`].
fn needs_secret(volume: &Volume) -> bool {
    volume.secret.as_ref().is_some_and(|secret| secret.secret_name.is_some())
        || volume.azure_file.is_some()
        || volume.cephfs.as_ref().is_some_and(|it| it.secret_ref.is_some())
        || volume.cinder.as_ref().is_some_and(|it| it.secret_ref.is_some())
        || volume.flex_volume.as_ref().is_some_and(|it| it.secret_ref.is_some())
        || volume.rbd.as_ref().is_some_and(|it| it.secret_ref.is_some())
        || volume.scale_io.is_some()
        || volume.iscsi.as_ref().is_some_and(|it| it.secret_ref.is_some())
        || volume.storageos.as_ref().is_some_and(|it| it.secret_ref.is_some())
        || volume.csi.as_ref().is_some_and(|it| it.node_publish_secret_ref.is_some())
        || sources(volume).any(|source| source.secret.is_some())
}

fn names_config_maps(spec: &PodSpec) -> bool {
    let of_variable = |it: &EnvVar| it.value_from.as_ref().is_some_and(|from| from.config_map_key_ref.is_some());
    environments(spec)
        .any(|(env, from)| env.iter().any(of_variable) || from.iter().any(|it| it.config_map_ref.is_some()))
        || spec
            .volumes
            .iter()
            .flatten()
            .any(|volume| volume.config_map.is_some() || sources(volume).any(|source| source.config_map.is_some()))
}

fn sources(volume: &Volume) -> impl Iterator<Item = &VolumeProjection> {
    volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten())
}

fn of_volume(volume: &Volume) -> Option<&'static str> {
    let kinds = [
        (volume.config_map.is_some(), "configmaps (via configmap volumes)"),
        (volume.secret.is_some(), "secrets (via secret volumes)"),
        (volume.csi.is_some(), "csidrivers (via CSI volumes)"),
        (volume.glusterfs.is_some(), "endpoints (via glusterFS volumes)"),
        (volume.persistent_volume_claim.is_some(), "persistentvolumeclaims"),
        (volume.ephemeral.is_some(), "persistentvolumeclaims (via ephemeral volumes)"),
        (volume.azure_file.is_some(), "secrets (via azureFile volumes)"),
    ];
    let own = kinds.into_iter().find(|(is_there, _)| *is_there).map(|(_, what)| what);
    own.or_else(|| sources(volume).find_map(of_source))
}

fn of_source(source: &VolumeProjection) -> Option<&'static str> {
    let kinds = [
        (source.config_map.is_some(), "configmaps (via projected volumes)"),
        (source.secret.is_some(), "secrets (via projected volumes)"),
        (source.service_account_token.is_some(), "serviceaccounts (via projected volumes)"),
        (source.cluster_trust_bundle.is_some(), "clustertrustbundles"),
        (source.pod_certificate.is_some(), "podcertificates"),
    ];
    kinds.into_iter().find(|(is_there, _)| *is_there).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object;
    use k8s_openapi::api::core::v1::Pod;

    #[test]
    fn whatever_the_api_would_have_to_give_is_named() {
        let container = r#""containers":[{"name":"c","image":"x"}]"#;
        let env = |from: &str| format!(r#"{{"containers":[{{"name":"c","image":"x",{from}}}]}}"#);
        let volume = |source: &str| format!(r#"{{{container},"volumes":[{{"name":"v",{source}}}]}}"#);
        let projected = |source: &str| volume(&format!(r#""projected":{{"sources":[{{{source}}}]}}"#));
        let table = [
            (format!("{{{container}}}"), None),
            (volume(r#""emptyDir":{}"#), None),
            (volume(r#""hostPath":{"path":"/x"}"#), None),
            (projected(r#""downwardAPI":{}"#), None),
            (format!(r#"{{{container},"serviceAccountName":"a"}}"#), Some("serviceaccounts")),
            (format!(r#"{{{container},"imagePullSecrets":[{{"name":"s"}}]}}"#), Some("secrets")),
            (env(r#""env":[{"name":"E","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]"#), Some("secrets")),
            (env(r#""envFrom":[{"secretRef":{"name":"s"}}]"#), Some("secrets")),
            (env(r#""env":[{"name":"E","valueFrom":{"configMapKeyRef":{"name":"s","key":"k"}}}]"#), Some("configmaps")),
            (env(r#""envFrom":[{"configMapRef":{"name":"s"}}]"#), Some("configmaps")),
            (env(r#""env":[{"name":"E","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]"#), None),
            (volume(r#""configMap":{"name":"m"}"#), Some("configmaps")),
            (volume(r#""secret":{"secretName":"m"}"#), Some("secrets")),
            (volume(r#""csi":{"driver":"d"}"#), Some("csidrivers (via CSI volumes)")),
            (volume(r#""persistentVolumeClaim":{"claimName":"c"}"#), Some("persistentvolumeclaims")),
            (volume(r#""ephemeral":{}"#), Some("persistentvolumeclaims (via ephemeral volumes)")),
            (projected(r#""serviceAccountToken":{"path":"t"}"#), Some("serviceaccounts (via projected volumes)")),
            (projected(r#""clusterTrustBundle":{"path":"t"}"#), Some("clustertrustbundles")),
            (format!(r#"{{{container},"resourceClaims":[{{"name":"r"}}]}}"#), Some("resourceclaims")),
        ];
        for (spec, want) in table {
            let pod = Pod::decode(format!(r#"{{"spec":{spec}}}"#).as_bytes()).unwrap();
            assert_eq!(first(&pod.spec.unwrap()), want, "{spec}");
        }
    }
}
