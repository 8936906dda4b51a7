//! Puts a module into a registry, in the CNCF's wasm artifact layout.

use bytes::Bytes;
use serde_json::json;

use super::RegistryError;
use super::manifest::{CONFIG_TYPE, MANIFEST_TYPE, MODULE_TYPE};
use super::session::Session;
use crate::images::Digest;

/// What is said of a module beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whether it is a component, and not a core module.
    pub is_component: bool,
    /// The interfaces of a component, as `namespace:package/name@version`.
    pub imports: Vec<String>,
    /// See [`About::imports`].
    pub exports: Vec<String>,
    /// When, in RFC 3339.
    pub created: String,
    /// The file's name.
    pub title: Option<String>,
}

/// The artifact's configuration and manifest.
pub struct Artifact {
    pub config: Bytes,
    pub manifest: Bytes,
}

impl Artifact {
    /// Describes a module. Source: CNCF wasm artifact layout: `wasip1` for modules, `wasip2` for components.
    pub fn of(module: &[u8], about: &About) -> Self {
        let digest = Digest::of(module).to_string();
        let mut config = json!({
            "created": about.created,
            "architecture": "wasm",
            "os": if about.is_component { "wasip2" } else { "wasip1" },
            "layerDigests": [digest],
        });
        if about.is_component {
            config["component"] = json!({"exports": about.exports, "imports": about.imports});
        }
        let config = Bytes::from(config.to_string());
        let mut layer = json!({"mediaType": MODULE_TYPE, "digest": digest, "size": module.len()});
        if let Some(title) = &about.title {
            layer["annotations"] = json!({"org.opencontainers.image.title": title});
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": Digest::of(&config).to_string(), "size": config.len()},
            "layers": [layer],
            "annotations": {"org.opencontainers.image.created": about.created},
        });
        Self { config, manifest: Bytes::from(manifest.to_string()) }
    }
}

/// Puts a module there; the digest of its manifest.
///
/// # Errors
/// When the registry does not take it.
pub async fn push(session: &Session, tag: &str, module: Bytes, about: &About) -> Result<Digest, RegistryError> {
    let artifact = Artifact::of(&module, about);
    session.push_blob(module).await?;
    session.push_blob(artifact.config).await?;
    session.push_manifest(tag, MANIFEST_TYPE, artifact.manifest).await
}
