//! What a registry's manifest says: where the module is, and in which of the layouts. Pure.
//!
//! Sources: the OCI image specification; the CNCF's wasm artifact layout; the layouts before it, which differ in the
//! media type of their one layer only.

use serde_json::Value;

use crate::images::Digest;
use crate::images::program::Program;
use crate::limits::{IMAGE_BYTES_MAX, IMAGE_LAYERS_MAX};

/// The media types that we ask for.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// Of a manifest of ours.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Of the configuration of a module. Source: CNCF wasm artifact layout, version 0.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// Of a module. Source: as [`CONFIG_TYPE`].
pub const MODULE_TYPE: &str = "application/wasm";

/// Why a manifest leads to no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    #[error("the manifest cannot be read: {0}")]
    Malformed(&'static str),
    /// The image is of another kind: no later attempt ends differently.
    #[error("{0}")]
    Foreign(String),
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    Index(Vec<Entry>),
    Image(Layers),
}

/// One image of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub digest: Digest,
    /// `os/architecture`, where it says so.
    pub platform: Option<String>,
}

/// The parts of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    pub config: Part,
    pub layers: Vec<Part>,
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub media_type: String,
    pub digest: Digest,
    pub bytes: u64,
    /// The signature of a signed payload, where the manifest is one of signatures.
    pub signature: Option<String>,
}

/// Where the module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The layer is the module.
    Module(&'a Part),
    /// In the files of a container image.
    Files { config: &'a Part, layers: &'a [Part] },
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, ContentError> {
        let value: Value = serde_json::from_slice(bytes).map_err(|_| ContentError::Malformed("it is no JSON"))?;
        if value["schemaVersion"] != 2 {
            return Err(ContentError::Malformed("its schema is not version 2"));
        }
        if let Some(manifests) = value["manifests"].as_array() {
            return manifests.iter().map(Entry::parse).collect::<Result<_, _>>().map(Self::Index);
        }
        let layers = value["layers"].as_array().ok_or(ContentError::Malformed("it names no layers"))?;
        if layers.len() > IMAGE_LAYERS_MAX {
            return Err(ContentError::Foreign(format!("the image has more than {IMAGE_LAYERS_MAX} layers")));
        }
        let layers = layers.iter().map(Part::parse).collect::<Result<_, _>>()?;
        Ok(Self::Image(Layers { config: Part::parse(&value["config"])?, layers }))
    }
}

impl Entry {
    fn parse(value: &Value) -> Result<Self, ContentError> {
        let text =
            |field: &str| value["platform"][field].as_str().filter(|text| !text.is_empty() && *text != "unknown");
        let platform = text("os").map(|os| format!("{os}/{}", text("architecture").unwrap_or("unknown")));
        // Statements about the other entries: not images.
        let is_statement = value["annotations"]["vnd.docker.reference.type"].is_string();
        let platform = if is_statement { Some("unknown/unknown".to_owned()) } else { platform };
        Ok(Self { digest: digest(value)?, platform })
    }
}

/// Picks the image of an index that runs here: the one for wasm; else the only one that says nothing, or the one for
/// this machine, since a module is often built into an image for Linux.
///
/// # Errors
/// [`ContentError::Foreign`], with the platforms there are.
pub fn pick(entries: &[Entry]) -> Result<&Entry, ContentError> {
    let for_wasm = |entry: &&Entry| entry.platform.as_deref().is_some_and(is_for_wasm);
    let own = format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    let images = || entries.iter().filter(|entry| entry.platform.as_deref() != Some("unknown/unknown"));
    let silent = || images().find(|entry| entry.platform.is_none());
    let machine = || images().find(|entry| entry.platform.as_ref() == Some(&own));
    let only = || images().next().filter(|_| images().count() == 1);
    images().find(for_wasm).or_else(silent).or_else(machine).or_else(only).ok_or_else(|| {
        let platforms: Vec<&str> = images().filter_map(|entry| entry.platform.as_deref()).collect();
        let platforms = if platforms.is_empty() { "nothing".to_owned() } else { platforms.join(", ") };
        ContentError::Foreign(format!("it is for {platforms}, and this node runs WebAssembly (wasi/wasm) only"))
    })
}

fn is_for_wasm(platform: &str) -> bool {
    let (os, architecture) = platform.split_once('/').unwrap_or((platform, ""));
    os.starts_with("wasi") || architecture.starts_with("wasm")
}

impl Part {
    fn parse(value: &Value) -> Result<Self, ContentError> {
        let signature = value["annotations"]["dev.cosignproject.cosign/signature"].as_str();
        Ok(Self {
            media_type: value["mediaType"].as_str().unwrap_or_default().to_owned(),
            digest: digest(value)?,
            bytes: value["size"].as_u64().ok_or(ContentError::Malformed("a part has no size"))?,
            signature: signature.map(str::to_owned),
        })
    }

    fn is_module(&self) -> bool {
        self.media_type == MODULE_TYPE || self.media_type.ends_with("+wasm")
    }

    fn is_files(&self) -> bool {
        let kinds = [".tar", ".tar+gzip", ".tar.gzip", ".tar+gz", ".tar+zstd", ".tar.zstd"];
        kinds.iter().any(|kind| self.media_type.ends_with(kind))
    }
}

impl Layers {
    /// Where the module is.
    ///
    /// # Errors
    /// [`ContentError::Foreign`] when there is none that could be, or it is too large.
    pub fn content(&self) -> Result<Content<'_>, ContentError> {
        let foreign = |text: String| Err(ContentError::Foreign(text));
        let mut modules = self.layers.iter().filter(|layer| layer.is_module());
        if let Some(module) = modules.next() {
            return match modules.count() {
                0 if module.bytes > IMAGE_BYTES_MAX => foreign(too_large(module.bytes)),
                0 => Ok(Content::Module(module)),
                more => foreign(format!("it holds {} modules, and a container runs one", more + 1)),
            };
        }
        let bytes = self.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.bytes));
        match self.layers.iter().find(|layer| !layer.is_files()) {
            _ if self.layers.is_empty() => foreign("it holds no files, and no WebAssembly".to_owned()),
            Some(other) => foreign(format!(
                "it holds a layer of type {:?}, which is neither WebAssembly nor files",
                other.media_type
            )),
            None if bytes > IMAGE_BYTES_MAX => foreign(too_large(bytes)),
            None => Ok(Content::Files { config: &self.config, layers: &self.layers }),
        }
    }
}

fn too_large(bytes: u64) -> String {
    format!("it is {bytes} bytes large, and this node takes {} MiB at most", IMAGE_BYTES_MAX >> 20)
}

/// What a container image runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Main {
    pub program: Program,
    /// The file, as the image names it; `None` where it names none, and its only module is meant.
    pub path: Option<String>,
}

/// Reads a container image's configuration, before any of its files are brought.
///
/// # Errors
/// [`ContentError::Foreign`] when what it runs is no module.
pub fn main_of(config: &[u8]) -> Result<Main, ContentError> {
    let config: Value =
        serde_json::from_slice(config).map_err(|_| ContentError::Malformed("its configuration is no JSON"))?;
    let text = |field: &str| config[field].as_str().unwrap_or_default();
    let platform = format!("{}/{}", text("os"), text("architecture"));
    let program = Program::of_config(&config["config"]);
    let Some(first) = program.entrypoint.first().or(program.cmd.first()) else {
        return Ok(Main { program, path: None });
    };
    if !is_for_wasm(&platform) && !first.ends_with(".wasm") {
        let what = format!("it is a {platform} container image that runs {first:?}");
        return Err(ContentError::Foreign(format!("{what}, and this node runs WebAssembly only")));
    }
    let folder = config["config"]["WorkingDir"].as_str().unwrap_or("/");
    let path = if first.starts_with('/') { first.clone() } else { format!("{folder}/{first}") };
    Ok(Main { program, path: Some(path) })
}

fn digest(value: &Value) -> Result<Digest, ContentError> {
    let text = value["digest"].as_str().ok_or(ContentError::Malformed("a part has no digest"))?;
    text.parse().map_err(|()| ContentError::Malformed("a digest in it is not one of SHA-256"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn part(media_type: &str, bytes: u64) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(media_type.as_bytes()).to_string(), "size": bytes})
    }

    fn content(layers: &[Value]) -> Result<String, String> {
        let manifest = json!({"schemaVersion": 2, "config": part("config", 2), "layers": layers});
        let parsed = Manifest::parse(manifest.to_string().as_bytes()).map_err(|error| error.to_string())?;
        let Manifest::Image(image) = parsed else { return Err("an index".into()) };
        match image.content().map_err(|error| error.to_string())? {
            Content::Module(part) => Ok(part.media_type.clone()),
            Content::Files { layers, .. } => Ok(format!("{} layers of files", layers.len())),
        }
    }

    #[test]
    fn the_module_is_found_in_every_layout() {
        let oci = "application/vnd.oci.image.layer.v1.tar+gzip";
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        for module in [
            "application/wasm",
            "application/vnd.wasm.content.layer.v1+wasm",
            "application/vnd.module.wasm.content.layer.v1+wasm",
            "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
        ] {
            assert_eq!(content(&[part(module, 8)]), Ok(module.to_owned()));
            let wit = part("application/vnd.wasm.wit.v1+text", 8);
            assert_eq!(content(&[wit, part(module, 8)]), Ok(module.to_owned()), "beside others");
        }
        let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
        assert_eq!(content(&[part(oci, 8), part(docker, 8), part(zstd, 8)]), Ok("3 layers of files".to_owned()));
        let refused = |layers: &[Value], why: &str| {
            let error = content(layers).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused(&[part("application/wasm", 8), part("application/wasm", 9)], "2 modules");
        refused(&[part("application/wasm", 1 << 40)], "512 MiB at most");
        refused(&[part(oci, 1 << 29), part(oci, 1 << 29)], "512 MiB at most");
        refused(&[part("application/vnd.oci.image.layer.v1.tar+lz4", 8)], "lz4");
        refused(&[part("application/vnd.cncf.helm.chart.content.v1.tar+gzip;x", 8)], "helm");
        refused(&[], "no files");
        refused(&vec![part(oci, 1); 200], "layers");
        refused(&[json!({"digest": "sha512:00", "size": 1})], "SHA-256");
        refused(&[json!({"mediaType": "application/wasm", "digest": Digest::of(b"").to_string()})], "size");
        for broken in ["", "[]", "{}", r#"{"schemaVersion":1,"layers":[]}"#, r#"{"schemaVersion":2}"#] {
            assert!(matches!(Manifest::parse(broken.as_bytes()), Err(ContentError::Malformed(_))), "{broken}");
        }
    }

    #[test]
    fn an_index_is_picked_from_by_platform() {
        let picked = |platforms: &[(&str, &str)]| {
            let entry = |(at, (os, architecture)): (usize, &(&str, &str))| {
                let mut entry = json!({"digest": Digest::of(at.to_string().as_bytes()).to_string()});
                if !os.is_empty() {
                    entry["platform"] = json!({"os": os, "architecture": architecture});
                }
                if *os == "unknown" {
                    entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
                }
                entry
            };
            let entries: Vec<Value> = platforms.iter().enumerate().map(entry).collect();
            let index = json!({"schemaVersion": 2, "manifests": entries});
            let Manifest::Index(entries) = Manifest::parse(index.to_string().as_bytes()).unwrap() else { panic!() };
            pick(&entries).map(|it| entries.iter().position(|entry| entry == it).unwrap()).map_err(|e| e.to_string())
        };
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        assert_eq!(picked(&[("linux", "amd64"), ("linux", "arm64"), ("wasi", "wasm")]), Ok(2));
        assert_eq!(picked(&[("linux", "amd64"), ("wasip1", "wasm")]), Ok(1));
        assert_eq!(picked(&[("linux", machine), ("unknown", "unknown")]), Ok(0), "a module built into a Linux image");
        assert_eq!(picked(&[("unknown", "unknown"), ("", "")]), Ok(1));
        let none = picked(&[("windows", "amd64"), ("linux", "s390x")]).unwrap_err();
        assert!(none.contains("windows/amd64, linux/s390x"), "{none}");
    }

    #[test]
    fn a_linux_image_is_told_from_its_configuration() {
        let main = |config: Value| main_of(config.to_string().as_bytes()).map(|main| main.path);
        let linux = |config: Value| json!({"os": "linux", "architecture": "amd64", "config": config});
        let table = [
            (linux(json!({"Entrypoint": ["/app.wasm"]})), Ok(Some("/app.wasm"))),
            (linux(json!({"Cmd": ["app.wasm"], "WorkingDir": "/srv"})), Ok(Some("/srv/app.wasm"))),
            (linux(json!({})), Ok(None)),
            (json!({"os": "wasi", "architecture": "wasm", "config": {"Entrypoint": ["app"]}}), Ok(Some("//app"))),
        ];
        for (config, want) in table {
            assert_eq!(main(config), want.map(|path: Option<&str>| path.map(str::to_owned)));
        }
        let nginx = main(linux(json!({"Entrypoint": ["/docker-entrypoint.sh"], "Cmd": ["nginx"]}))).unwrap_err();
        assert_eq!(
            nginx.to_string(),
            "it is a linux/amd64 container image that runs \"/docker-entrypoint.sh\", and this node runs WebAssembly only"
        );
    }
}
