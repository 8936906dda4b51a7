//! A container's image, brought to the node with the credentials of its pod, and told of in events.
//! Source: kubelet, `EnsureImageExists` and `getPullSecretsForPod`.

use std::sync::Arc;

use coracle_client::EventType;
use futures::future::join_all;
use k8s_openapi::api::core::v1 as core;

use super::execute::chain;
use super::host::Host;
use super::spec::Container;
use super::state::{Event, Failure};
use crate::images::pull::PullError;
use crate::images::{Image, Keyring, Reference};

/// One container's wish for an image.
pub struct Pulling {
    pub host: Arc<Host>,
    pub pod: Arc<core::Pod>,
    pub container: Container,
    /// What its events are about.
    pub regarding: core::ObjectReference,
}

impl Pulling {
    /// Brings the image.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn run(&self, reference: &Reference) -> Result<Image, PullError> {
        let begun = self.host.clock.now();
        let keyring = match self.host.puller.wants_credentials(reference) {
            true => self.keyring().await?,
            false => Keyring::default(),
        };
        let pulled = self.host.puller.pull(reference, self.container.pull, &keyring).await?;
        let waited = self.host.clock.now().duration_since(begun).as_millis();
        let took = spoken(pulled.took.as_millis().min(waited));
        let bytes = std::fs::metadata(&pulled.image.path).map_or(0, |file| file.len());
        let message = format!(
            "Successfully pulled image \"{}\" in {took} ({} including waiting). Image size: {bytes} bytes.",
            self.container.image_text,
            spoken(waited),
        );
        self.host.recorder.event_on(self.regarding.clone(), EventType::Normal, "Pulled", message);
        Ok(pulled.image)
    }

    /// The credentials of the pod, and after them the node's own.
    async fn keyring(&self) -> Result<Keyring, PullError> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default();
        let secrets = self.host.client.namespaced::<core::Secret>(namespace);
        let named = self.pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
        let names: Vec<&str> = named.map(|reference| reference.name.as_str()).filter(|name| !name.is_empty()).collect();
        let found = join_all(names.iter().map(|name| secrets.find(name))).await;
        let mut keyring = Keyring::default();
        let mut missing = Vec::new();
        for (name, secret) in names.into_iter().zip(found) {
            let Ok(Some(secret)) = secret else {
                missing.push(name);
                continue;
            };
            let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| &*value.0);
            keyring.add_secret(secret.type_.as_deref().unwrap_or_default(), data)?;
        }
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            let regarding = core::ObjectReference { field_path: None, ..self.regarding.clone() };
            self.host.recorder.event_on(regarding, EventType::Warning, "FailedToRetrieveImagePullSecret", message);
        }
        keyring.append(self.host.puller.keyring()?);
        Ok(keyring)
    }
}

/// What a pull that failed comes to.
pub fn failed(container: usize, error: &PullError, spec: &Container) -> Event {
    let (image, reason) = (&spec.image_text, error.reason());
    let message = match error {
        PullError::Never(_) => format!("Container image \"{image}\" is not present with pull policy of Never"),
        error if reason == "SignatureValidationFailed" => {
            format!("image pull failed for {image} because the signature validation failed: {}", chain(error))
        }
        error => chain(error),
    };
    let failure = Failure { reason, message };
    match error.is_final() {
        true => Event::Refused { container, failure },
        false => Event::Pulled { container, result: Err(failure) },
    }
}

/// A time as Go writes it, in minutes at most.
pub fn spoken(millis: u128) -> String {
    let (minutes, millis) = (millis / 60_000, millis % 60_000);
    let (seconds, fraction) = (millis / 1000, format!(".{:03}", millis % 1000));
    match (minutes, seconds, millis) {
        (0, 0, 1..) => format!("{millis}ms"),
        (0, ..) => format!("{seconds}{}s", fraction.trim_end_matches(['0', '.'])),
        _ => format!("{minutes}m{seconds}{}s", fraction.trim_end_matches(['0', '.'])),
    }
}
