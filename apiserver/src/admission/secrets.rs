//! The secrets that pods name: what a mirror pod may not have, and what only an account's own pods may.
//!
//! Source: the admission plugin `ServiceAccount` and `VisitPodSecretNames`.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, LocalObjectReference, PodSpec, ServiceAccount, Volume,
};

/// Why a pod that a kubelet shows of itself may not be: it would reach for what the API server gives.
pub(super) fn of_mirror(spec: &PodSpec) -> Option<&'static str> {
    let account = [&spec.service_account_name, &spec.service_account];
    if account.into_iter().flatten().any(|name| !name.is_empty()) {
        return Some("a mirror pod may not reference service accounts");
    }
    if names_secrets(spec) {
        return Some("a mirror pod may not reference secrets");
    }
    let projected = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    let mut sources = projected.flat_map(|projected| projected.sources.iter().flatten());
    sources
        .any(|source| source.service_account_token.is_some())
        .then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

fn names_secrets(spec: &PodSpec) -> bool {
    let env = |env: &Option<Vec<EnvVar>>, from: &Option<Vec<EnvFromSource>>| {
        env.iter().flatten().any(|var| secret_of(var).is_some())
            || from.iter().flatten().any(|one| one.secret_ref.is_some())
    };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    spec.image_pull_secrets.as_ref().is_some_and(|secrets| !secrets.is_empty())
        || containers.into_iter().any(|container| env(&container.env, &container.env_from))
        || spec.ephemeral_containers.iter().flatten().any(|container| env(&container.env, &container.env_from))
        || spec.volumes.iter().flatten().any(is_of_secret)
}

/// Whether what a volume is made of needs a secret.
fn is_of_secret(volume: &Volume) -> bool {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    volume.secret.as_ref().is_some_and(|secret| secret.secret_name.as_ref().is_some_and(|name| !name.is_empty()))
        || projected.into_iter().any(|source| source.secret.is_some())
        || volume.azure_file.is_some()
        || volume.cephfs.as_ref().is_some_and(|cephfs| cephfs.secret_ref.is_some())
        || volume.cinder.as_ref().is_some_and(|cinder| cinder.secret_ref.is_some())
        || volume.flex_volume.as_ref().is_some_and(|flex| flex.secret_ref.is_some())
        || volume.rbd.as_ref().is_some_and(|rbd| rbd.secret_ref.is_some())
        || volume.scale_io.is_some()
        || volume.iscsi.as_ref().is_some_and(|iscsi| iscsi.secret_ref.is_some())
        || volume.storageos.as_ref().is_some_and(|storageos| storageos.secret_ref.is_some())
        || volume.csi.as_ref().is_some_and(|csi| csi.node_publish_secret_ref.is_some())
}

fn secret_of(var: &EnvVar) -> Option<&str> {
    Some(&var.value_from.as_ref()?.secret_key_ref.as_ref()?.name)
}

/// Why a pod may not be of an account that lets its pods have no other secrets than its own.
pub(super) fn foreign(spec: &PodSpec, account: &ServiceAccount) -> Option<String> {
    let name = account.metadata.name.as_deref().unwrap_or_default();
    let is_own = |secret: &str| account.secrets.iter().flatten().any(|own| own.name.as_deref() == Some(secret));
    let not_its = format!("is not allowed because service account {name} does not reference that secret");
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
    let mut secrets = volumes.map(|secret| secret.secret_name.as_deref().unwrap_or_default());
    if let Some(secret) = secrets.find(|secret| !is_own(secret)) {
        return Some(format!("volume with secret.secretName=\"{secret}\" {not_its}"));
    }
    let in_env = |word: &str, container: &Container| {
        let mut vars = container.env.iter().flatten();
        vars.find_map(|var| {
            let secret = secret_of(var).filter(|secret| !is_own(secret))?;
            let (container, var) = (&container.name, &var.name);
            Some(format!("{word} {container} with envVar {var} referencing secret.secretName=\"{secret}\" {not_its}"))
        })
    };
    let mut init = spec.init_containers.iter().flatten().map(|container| in_env("init container", container));
    let mut own = spec.containers.iter().map(|container| in_env("container", container));
    if let Some(why) = init.find_map(|why| why).or_else(|| own.find_map(|why| why)) {
        return Some(why);
    }
    let is_pulled_with =
        |secret: &LocalObjectReference| account.image_pull_secrets.iter().flatten().any(|own| own == secret);
    let mut pulled = spec.image_pull_secrets.iter().flatten().enumerate();
    let (i, secret) = pulled.find(|(_, secret)| !is_pulled_with(secret))?;
    Some(format!(
        "imagePullSecrets[{i}].name=\"{}\" is not allowed because service account {name} does not reference that imagePullSecret",
        secret.name
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use coracle_api::object::Object as _;
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn spec(json: &str) -> PodSpec {
        Pod::decode(format!(r#"{{"spec":{json}}}"#).as_bytes()).unwrap().spec.unwrap()
    }

    #[test]
    fn mirror_pods_reach_for_nothing() {
        for (json, expected) in [
            (r#"{"containers":[{"name":"a"}],"volumes":[{"name":"v","secret":{}},{"name":"e","emptyDir":{}}]}"#, None),
            (r#"{"containers":[],"serviceAccountName":"s"}"#, Some("service accounts")),
            (r#"{"containers":[],"imagePullSecrets":[{"name":"s"}]}"#, Some("secrets")),
            (r#"{"containers":[{"name":"a","envFrom":[{"secretRef":{"name":"s"}}]}]}"#, Some("secrets")),
            (
                r#"{"initContainers":[{"name":"a","env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}],"containers":[]}"#,
                Some("secrets"),
            ),
            (r#"{"containers":[],"volumes":[{"name":"v","secret":{"secretName":"s"}}]}"#, Some("secrets")),
            (
                r#"{"containers":[],"volumes":[{"name":"v","csi":{"driver":"d","nodePublishSecretRef":{"name":"s"}}}]}"#,
                Some("secrets"),
            ),
            (
                r#"{"containers":[],"volumes":[{"name":"v","projected":{"sources":[{"secret":{"name":"s"}}]}}]}"#,
                Some("secrets"),
            ),
        ] {
            let expected = expected.map(|what| format!("a mirror pod may not reference {what}"));
            assert_eq!(of_mirror(&spec(json)), expected.as_deref(), "{json}");
        }
        let token = r#"{"containers":[],"volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}}]}"#;
        assert_eq!(of_mirror(&spec(token)), Some("a mirror pod may not use ServiceAccountToken volume projections"));
    }

    #[test]
    fn pods_of_an_account_have_its_secrets() {
        let account = ServiceAccount::decode(
            br#"{"metadata":{"name":"sa"},"secrets":[{"name":"own"}],"imagePullSecrets":[{"name":"pull"}]}"#,
        );
        let account = account.unwrap();
        for (json, expected) in [
            (
                r#"{"containers":[],"volumes":[{"name":"v","secret":{"secretName":"own"}}],"imagePullSecrets":[{"name":"pull"}]}"#,
                None,
            ),
            (
                r#"{"containers":[],"volumes":[{"name":"v","secret":{"secretName":"s"}}]}"#,
                Some(
                    r#"volume with secret.secretName="s" is not allowed because service account sa does not reference that secret"#,
                ),
            ),
            (
                r#"{"containers":[{"name":"c","env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}]}"#,
                Some(
                    r#"container c with envVar X referencing secret.secretName="s" is not allowed because service account sa does not reference that secret"#,
                ),
            ),
            (
                r#"{"containers":[],"imagePullSecrets":[{"name":"pull"},{"name":"own"}]}"#,
                Some(
                    r#"imagePullSecrets[1].name="own" is not allowed because service account sa does not reference that imagePullSecret"#,
                ),
            ),
        ] {
            assert_eq!(foreign(&spec(json), &account).as_deref(), expected, "{json}");
        }
    }
}
