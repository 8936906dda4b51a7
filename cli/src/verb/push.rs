//! `coracle push`: puts a module into a registry, for nodes and for other tools that read the CNCF's wasm artifacts.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use coracle_kubelet::Registries;
use coracle_kubelet::images::http::Http;
use coracle_kubelet::images::registry::push::{About, push};
use coracle_kubelet::images::registry::session::Action;
use coracle_kubelet::images::registry::{Registry, RegistryError};
use coracle_kubelet::images::{Credential, Keyring, Reference};
use coracle_runtime::Form;
use serde_json::Value;

use crate::failure::{Failure, Hint, Result};
use crate::output::Out;
use crate::verb::inspect;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The module or component
    #[arg(value_name = "FILE.wasm")]
    path: PathBuf,

    /// What it is to be called: the registry's host, the name there, and a tag [default tag: latest]
    #[arg(value_name = "REGISTRY/NAME[:TAG]")]
    name: String,

    /// Who pushes [default: as ~/.docker/config.json says]
    #[arg(long, short = 'u', value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,

    /// Read the password from stdin
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// The registry may be spoken to without TLS; those of this machine always may
    #[arg(long)]
    insecure: bool,

    /// An authority that signs the registry's certificate, beside the machine's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// When the file is not wasm, or the registry does not take it.
pub async fn run(options: Options, out: Out<'_>) -> Result {
    let shown = options.path.display();
    let module = inspect::read(&options.path)?;
    let about = about(&options.path, &module)?;
    let reference = Reference::parse(&options.name)?;
    let (Some((host, path)), Reference::Name { tag, digest: None, .. }) = (reference.registry(), &reference) else {
        return Err(Failure::new(format!("{} names no tag of a registry", options.name))
            .with_hint("such as localhost:5000/team/app:v1"));
    };
    let settings = Registries {
        insecure: options.insecure.then(|| host.to_owned()).into_iter().collect(),
        authorities_pem: options.ca_file.iter().map(|file| text(file)).collect::<Result<_>>()?,
        ..Registries::default()
    };
    let credential = options.credential(host, path)?;
    let http = Arc::new(Http::with_authorities(settings.authorities_pem.clone()));
    let session = Registry::new(http, settings).open(host, path, credential, Action::Push).await;
    let pushed = push(&session, tag, Bytes::from(module), &about).await;
    if let Err(RegistryError::Denied { is_anonymous: true, .. }) = &pushed {
        let hint = "`docker login` keeps a name and a password; -u NAME --password-stdin gives them once";
        return pushed.map(drop).with_context(|| format!("cannot push {shown}")).hint(hint);
    }
    let digest = pushed.with_context(|| format!("cannot push {shown}"))?;
    Ok(writeln!(out, "{} pushed ({digest})", reference.store_name())?)
}

impl Options {
    fn credential(&self, host: &str, path: &str) -> Result<Option<Credential>> {
        if let Some(username) = &self.username {
            let mut password = String::new();
            std::io::stdin().read_to_string(&mut password).context("cannot read the password")?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            return Ok(Some(Credential { username: username.clone(), password }));
        }
        let Some(config) = docker_config() else { return Ok(None) };
        let Ok(bytes) = std::fs::read(&config) else { return Ok(None) };
        of_config(&bytes, host, path).with_context(|| format!("cannot use {}", config.display())).map_err(Failure::from)
    }
}

/// `$DOCKER_CONFIG/config.json`, by default in `~/.docker`.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    Some(folder.or_else(home)?.join("config.json"))
}

/// What docker's configuration has for a registry, or has kept for it by a helper.
fn of_config(bytes: &[u8], host: &str, path: &str) -> anyhow::Result<Option<Credential>> {
    let mut keyring = Keyring::default();
    keyring.add_docker_config(bytes)?;
    if let Some(found) = keyring.lookup(&format!("{host}/{path}")).first() {
        return Ok(Some((*found).clone()));
    }
    let config: Value = serde_json::from_slice(bytes)?;
    let helper = config["credHelpers"][host].as_str().or(config["credsStore"].as_str());
    helper.map_or(Ok(None), |helper| ask(helper, host))
}

/// Source: docker's credential helpers: the registry on stdin, JSON on stdout, a failure for a registry it knows not.
fn ask(helper: &str, host: &str) -> anyhow::Result<Option<Credential>> {
    let program = format!("docker-credential-{helper}");
    let mut command = Command::new(&program);
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, host.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Ok(None);
    }
    let said: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{program} gave no JSON"))?;
    let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
    Ok(Some(Credential { username: text("Username"), password: text("Secret") }))
}

fn about(path: &Path, module: &[u8]) -> Result<About> {
    let shown = path.display();
    let inspection = coracle_runtime::inspect(module)
        .with_context(|| format!("cannot push {shown}"))
        .hint("`coracle inspect` tells more about a file")?;
    let now = jiff::Timestamp::now();
    Ok(About {
        is_component: inspection.form == Form::Component,
        imports: inspection.imports,
        exports: inspection.exports,
        created: jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string(),
        title: path.file_name().and_then(|name| name.to_str()).map(str::to_owned),
    })
}

fn text(file: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dockers_own_configuration_is_read() {
        let config =
            br#"{"auths":{"reg.example":{"auth":"bWU6c2VjcmV0"}},"credHelpers":{"other.example":"none-such"}}"#;
        let found = of_config(config, "reg.example", "team/app").unwrap().unwrap();
        assert_eq!((&*found.username, &*found.password), ("me", "secret"));
        assert!(of_config(config, "third.example", "app").unwrap().is_none());
        let error = of_config(config, "other.example", "app").unwrap_err();
        assert_eq!(error.to_string(), "cannot run docker-credential-none-such");
        assert!(of_config(b"{", "reg.example", "app").is_err());
    }
}
