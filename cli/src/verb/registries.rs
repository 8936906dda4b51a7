//! How a node gets its images: options that `coracle up` and `coracle kubelet` share.

use std::path::{Path, PathBuf};

use anyhow::Context;
use coracle_kubelet::{Config, ImageSources, Mirror};

use crate::failure::Result;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Images")]
pub struct Registries {
    /// Images that pods may name beside those of registries and of the node's store
    #[arg(long, value_name = "SOURCE,…", value_enum, value_delimiter = ',', default_value = "file,https")]
    image_sources: Vec<Source>,

    /// The registry of names without one, such as docker.io [default: they name what `coracle image load` put here]
    #[arg(long, value_name = "HOST")]
    default_registry: Option<String>,

    /// Asked before a registry (or before all: *) is asked itself; may be given several times
    #[arg(long = "registry-mirror", value_name = "HOST=URL", value_parser = mirror)]
    mirrors: Vec<Mirror>,

    /// A registry that may be spoken to without TLS; those of this machine always may
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    insecure: Vec<String>,

    /// An authority that signs registries' certificates, beside the machine's
    #[arg(long = "registry-ca", value_name = "FILE")]
    authorities: Vec<PathBuf>,

    /// Take images only that are signed with this key of cosign's, or with another one that is given
    #[arg(long = "image-signer", value_name = "cosign.pub")]
    signers: Vec<PathBuf>,

    /// The node's own credentials, as docker keeps them [default: config.json in the node's folder]
    #[arg(long, value_name = "FILE")]
    registry_config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Source {
    File,
    Https,
    None,
}

impl Registries {
    /// Gives a node these settings.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn apply(&self, config: &mut Config) -> Result {
        let texts = |files: &[PathBuf]| files.iter().map(|file| text(file)).collect::<Result<Vec<_>>>();
        let has = |source| self.image_sources.contains(&source);
        config.image_sources = ImageSources { file: has(Source::File), https: has(Source::Https) };
        config.registries = coracle_kubelet::Registries {
            default: self.default_registry.clone(),
            mirrors: self.mirrors.clone(),
            insecure: self.insecure.clone(),
            authorities_pem: texts(&self.authorities)?,
            signers_pem: texts(&self.signers)?,
            docker_config: Some(self.registry_config.clone().unwrap_or_else(|| config.root_dir.join("config.json"))),
        };
        Ok(())
    }
}

fn text(file: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?)
}

fn mirror(text: &str) -> std::result::Result<Mirror, String> {
    let (registry, url) = text.split_once('=').ok_or("as HOST=URL")?;
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or("as HOST=https://…")?;
    let host = host.trim_end_matches('/');
    if registry.is_empty() || host.is_empty() || host.contains('/') {
        return Err("a mirror is a host, without a path".to_owned());
    }
    Ok(Mirror { registry: registry.to_owned(), url: url.trim_end_matches('/').to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        registries: Registries,
    }

    #[test]
    fn a_node_is_told_where_its_images_are() {
        let config = |line: &str| {
            let mut config = Config::new("n", "/root-dir");
            let line = Line::try_parse_from(format!("x {line}").split_whitespace()).map_err(|it| it.to_string())?;
            line.registries.apply(&mut config).map_err(|failure| failure.message())?;
            Ok::<_, String>(config)
        };
        let plain = config("").unwrap();
        assert!(plain.image_sources.file && plain.image_sources.https && plain.registries.mirrors.is_empty());
        assert_eq!(plain.registries.docker_config.unwrap(), Path::new("/root-dir/config.json"));
        let line = "--image-sources https --registry-mirror docker.io=https://m.example/ --registry-mirror *=http://[::1]:5000";
        let set = config(line).unwrap();
        assert!(!set.image_sources.file && set.image_sources.https);
        let urls: Vec<_> = set.registries.mirrors.iter().map(|it| (&*it.registry, &*it.url)).collect();
        assert_eq!(urls, [("docker.io", "https://m.example"), ("*", "http://[::1]:5000")]);
        assert!(!config("--image-sources none").unwrap().image_sources.file);
        for wrong in
            ["--registry-mirror x", "--registry-mirror a=b", "--registry-mirror a=https://b/c", "--image-signer /x/y"]
        {
            assert!(config(wrong).is_err(), "{wrong}");
        }
    }
}
