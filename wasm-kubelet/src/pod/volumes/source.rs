//! What a volume that comes from the API is made of: config maps, secrets, the pod's own fields, tokens.
//!
//! Source: kubelet's configMap, secret, downwardAPI and projected volume plugins, with their messages.

use std::collections::BTreeMap;

use coracle_client::Client;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;

use super::files::{File, Files, Pick, mode};
use super::follow::{Kind, Object};
use super::token::Tokens;
use crate::pod::env::{Facts, container_resource, pod_field};
use crate::pod::execute::chain;

/// Whether a volume's files come from the API.
pub fn is_from_api(volume: &core::Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The objects that a volume is made of: when one changes, so does the volume.
pub fn objects(volume: &core::Volume, namespace: &str) -> Vec<Object> {
    let object = |kind, name: &str| Object { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let map = volume.config_map.iter().map(|map| object(Kind::ConfigMap, &map.name));
    let secret = volume.secret.iter().filter_map(|secret| secret.secret_name.as_ref());
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = sources.flat_map(|source| {
        let map = source.config_map.iter().map(|map| object(Kind::ConfigMap, &map.name));
        map.chain(source.secret.iter().map(|secret| object(Kind::Secret, &secret.name)))
    });
    let secret = secret.map(|name| object(Kind::Secret, name));
    map.chain(secret).chain(projected).filter(|object| !object.name.is_empty()).collect()
}

/// Whether a volume shows fields of its pod, which may change.
pub fn shows_pod(volume: &core::Volume) -> bool {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    volume.downward_api.is_some() || sources.into_iter().any(|source| source.downward_api.is_some())
}

/// Reads volumes' files.
pub struct Reader<'a> {
    pub client: &'a Client,
    pub facts: Facts<'a>,
    pub tokens: &'a mut Tokens,
    pub now: Timestamp,
}

impl Reader<'_> {
    /// The files of a volume for which [`is_from_api`] holds.
    ///
    /// # Errors
    /// What is missing, as `FailedMount` says it.
    pub async fn files(&mut self, volume: &core::Volume) -> Result<Files, String> {
        if let Some(source) = &volume.config_map {
            let pick = pick("config", source.items.as_deref(), source.default_mode, source.optional);
            return self.config_map(&source.name, pick).await;
        }
        if let Some(source) = &volume.secret {
            let pick = pick("secret", source.items.as_deref(), source.default_mode, source.optional);
            return self.secret(source.secret_name.as_deref().unwrap_or_default(), pick).await;
        }
        if let Some(source) = &volume.downward_api {
            return self.downward(source.items.as_deref().unwrap_or_default(), source.default_mode);
        }
        let Some(projected) = &volume.projected else { return Ok(Files::new()) };
        let (mut files, mut errors) = (Files::new(), Vec::new());
        for source in projected.sources.iter().flatten() {
            match self.projection(source, projected.default_mode, &volume.name).await {
                Ok(some) => files.extend(some),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Ok(files),
            1 => Err(errors.remove(0)),
            _ => Err(format!("[{}]", errors.join(", "))),
        }
    }

    async fn projection(
        &mut self,
        source: &core::VolumeProjection,
        default_mode: Option<i32>,
        volume: &str,
    ) -> Result<Files, String> {
        if let Some(map) = &source.config_map {
            return self.config_map(&map.name, pick("config", map.items.as_deref(), default_mode, map.optional)).await;
        }
        if let Some(from) = &source.secret {
            return self.secret(&from.name, pick("secret", from.items.as_deref(), default_mode, from.optional)).await;
        }
        if let Some(from) = &source.downward_api {
            return self.downward(from.items.as_deref().unwrap_or_default(), default_mode);
        }
        let Some(from) = &source.service_account_token else { return Ok(Files::new()) };
        let bytes = self.tokens.get(volume, from, self.facts.pod, self.client, self.now).await?;
        Ok(Files::from([(from.path.clone(), File { bytes, mode: mode(None, default_mode) })]))
    }

    async fn config_map(&self, name: &str, pick: Pick<'_>) -> Result<Files, String> {
        let found = self.client.namespaced::<core::ConfigMap>(self.namespace()).find(name).await;
        let Some(map) = found.map_err(|error| chain(&error))? else { return missing("configmap", name, &pick) };
        let text = map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
        pick.of(text.chain(map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0))).collect())
    }

    async fn secret(&self, name: &str, pick: Pick<'_>) -> Result<Files, String> {
        let found = self.client.namespaced::<core::Secret>(self.namespace()).find(name).await;
        let Some(secret) = found.map_err(|error| chain(&error))? else { return missing("secret", name, &pick) };
        pick.of(secret.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect::<BTreeMap<_, _>>())
    }

    fn downward(&self, items: &[core::DownwardAPIVolumeFile], default_mode: Option<i32>) -> Result<Files, String> {
        let mut files = Files::new();
        for item in items {
            let value = if let Some(field) = &item.field_ref {
                pod_field(&field.field_path, self.facts)?
            } else if let Some(resource) = &item.resource_field_ref {
                container_resource(resource, &core::Container::default(), self.facts)?
            } else {
                continue;
            };
            files.insert(item.path.clone(), File { bytes: value.into_bytes(), mode: mode(item.mode, default_mode) });
        }
        Ok(files)
    }

    fn namespace(&self) -> &str {
        self.facts.pod.metadata.namespace.as_deref().unwrap_or_default()
    }
}

fn pick<'a>(
    what: &'static str,
    items: Option<&'a [core::KeyToPath]>,
    default_mode: Option<i32>,
    optional: Option<bool>,
) -> Pick<'a> {
    Pick { what, items, default_mode, is_optional: optional == Some(true) }
}

fn missing(kind: &str, name: &str, pick: &Pick<'_>) -> Result<Files, String> {
    if pick.is_optional { Ok(Files::new()) } else { Err(format!("{kind} {name:?} not found")) }
}
