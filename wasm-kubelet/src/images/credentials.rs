//! Credentials of registries, as pods' secrets and docker's configuration keep them, and which of them an image is asked
//! for with. Pure. Source: `pkg/credentialprovider`, `keyring.go` and `config.go`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine::DecodePaddingMode};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::limits::IMAGE_CREDENTIALS_MAX;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub username: String,
    pub password: String,
}

/// Credentials by the registry that they are for: a host, of which `*` may stand for parts, perhaps with a port and the
/// beginning of a path.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// The most special pattern first.
    entries: Vec<(String, Credential)>,
}

/// Why a docker configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyringError(&'static str);

/// Docker's own name for the registry of names without one.
const DEFAULT_REGISTRY: &str = "index.docker.io";

impl Keyring {
    /// Adds what a secret of this type has.
    ///
    /// # Errors
    /// When it is none of the two types, or cannot be read.
    pub fn add_secret<'a>(&mut self, kind: &str, data: impl Fn(&str) -> Option<&'a [u8]>) -> Result<(), KeyringError> {
        let (key, is_nested) = match kind {
            "kubernetes.io/dockerconfigjson" => (".dockerconfigjson", true),
            "kubernetes.io/dockercfg" => (".dockercfg", false),
            _ => return Ok(()),
        };
        let Some(bytes) = data(key).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        let config: Value = serde_json::from_slice(bytes).map_err(|_| KeyringError("a pull secret is no JSON"))?;
        self.add(if is_nested { &config["auths"] } else { &config });
        Ok(())
    }

    /// Adds what a docker `config.json` has.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn add_docker_config(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        let config: Value = serde_json::from_slice(bytes).map_err(|_| KeyringError("it is no JSON"))?;
        self.add(&config["auths"]);
        Ok(())
    }

    /// Adds one credential for a registry.
    pub fn insert(&mut self, registry: &str, credential: Credential) {
        self.entries.push((pattern(registry), credential));
        // Within one pattern, what came first is tried first.
        self.entries.sort_by(|(a, _), (b, _)| b.cmp(a));
    }

    /// The credentials for an image, `host/path` without its tag; the most special first.
    pub fn lookup(&self, image: &str) -> Vec<&Credential> {
        let matching = |entry: &&(String, Credential)| is_match(&entry.0, image);
        let mut found: Vec<&Credential> = Vec::new();
        let mut add = |credential| {
            if !found.contains(&credential) {
                found.push(credential);
            }
        };
        self.entries.iter().filter(matching).for_each(|(_, credential)| add(credential));
        if found.is_empty() && is_of_default(image) {
            let default = self.entries.iter().filter(|(pattern, _)| pattern == DEFAULT_REGISTRY);
            default.for_each(|(_, credential)| found.push(credential));
        }
        found.truncate(IMAGE_CREDENTIALS_MAX);
        found
    }

    /// Adds another's credentials, behind those of the same pattern.
    pub fn append(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.entries.sort_by(|(a, _), (b, _)| b.cmp(a));
    }

    fn add(&mut self, auths: &Value) {
        for (registry, entry) in auths.as_object().into_iter().flatten() {
            if let Some(credential) = Credential::of(entry) {
                self.insert(registry, credential);
            }
        }
    }
}

impl Credential {
    fn of(entry: &Value) -> Option<Self> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let (mut username, mut password) = (text("username"), text("password"));
        if let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) {
            let decoded = String::from_utf8(LENIENT.decode(auth.trim()).ok()?).ok()?;
            let (name, word) = decoded.split_once(':')?;
            (username, password) = (name.to_owned(), word.to_owned());
        }
        (!username.is_empty() || !password.is_empty()).then_some(Self { username, password })
    }

    /// What tells it from another one for this registry, without telling it.
    pub fn fingerprint(&self, registry: &str) -> String {
        let digest = Sha256::digest(format!("{registry}\0{}\0{}", self.username, self.password));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The value of an `Authorization` header.
    pub fn basic(&self) -> String {
        format!("Basic {}", LENIENT.encode(format!("{}:{}", self.username, self.password)))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// With or without padding, as both are found.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A registry's address as a pattern: without scheme, without the version of docker's API, without a slash at the end.
fn pattern(registry: &str) -> String {
    let bare = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://")).unwrap_or(registry);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = ["v1", "v2"]
        .iter()
        .find_map(|version| match path.strip_prefix(version) {
            Some("") => Some(""),
            Some(rest) => rest.strip_prefix('/'),
            None => None,
        })
        .unwrap_or(path);
    let path = path.trim_end_matches('/');
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

fn is_match(pattern: &str, image: &str) -> bool {
    let (host_pattern, path_pattern) = pattern.split_once('/').unwrap_or((pattern, ""));
    let (host, path) = image.split_once('/').unwrap_or((image, ""));
    let split = |host: &str| {
        let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
        (name.split('.').map(str::to_owned).collect::<Vec<_>>(), port.to_owned())
    };
    let ((want, want_port), (have, have_port)) = (split(host_pattern), split(host));
    want_port == have_port
        && want.len() == have.len()
        && path.starts_with(path_pattern)
        && want.iter().zip(&have).all(|(pattern, part)| glob(pattern.as_bytes(), part.as_bytes()))
}

/// `*` for any bytes, `?` for one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        Some((b'?', rest)) => !text.is_empty() && glob(rest, &text[1..]),
        Some((byte, rest)) => text.first() == Some(byte) && glob(rest, &text[1..]),
    }
}

fn is_of_default(image: &str) -> bool {
    match image.split_once('/') {
        None => true,
        Some(("docker.io" | "index.docker.io", _)) => true,
        Some((host, _)) => !host.contains(['.', ':']),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn users(config: &str, image: &str) -> Vec<String> {
        let mut keyring = Keyring::default();
        keyring.add_secret("kubernetes.io/dockercfg", |_| Some(config.as_bytes())).unwrap();
        keyring.lookup(image).into_iter().map(|it| it.username.clone()).collect()
    }

    #[test]
    fn credentials_are_found_as_upstream_finds_them() {
        let config = |registries: &[&str]| {
            let each: Vec<String> =
                registries.iter().map(|it| format!(r#"{it:?}:{{"username":{it:?},"password":"p"}}"#)).collect();
            format!("{{{}}}", each.join(","))
        };
        let table: &[(&[&str], &str, &[&str])] = &[
            (&["reg.example"], "reg.example/a/b", &["reg.example"]),
            (&["https://reg.example/v2/"], "reg.example/a", &["https://reg.example/v2/"]),
            (&["reg.example:5000"], "reg.example/a", &[]),
            (&["reg.example"], "reg.example:5000/a", &[]),
            (&["http://localhost:5000"], "localhost:5000/a", &["http://localhost:5000"]),
            (&["*.example"], "reg.example/a", &["*.example"]),
            (&["*.example"], "a.reg.example/a", &[]),
            (&["*"], "reg.example/a", &[]),
            (&["r?g.*ple"], "reg.example/a", &["r?g.*ple"]),
            (&["reg.example", "reg.example/team"], "reg.example/team/a", &["reg.example/team", "reg.example"]),
            (&["reg.example/team"], "reg.example/other/a", &[]),
            (&["https://index.docker.io/v1/"], "docker.io/library/a", &["https://index.docker.io/v1/"]),
            (&["https://index.docker.io/v1/"], "reg.example/a", &[]),
        ];
        for (registries, image, want) in table {
            assert_eq!(users(&config(registries), image), *want, "{registries:?} {image}");
        }
    }

    #[test]
    fn both_forms_of_a_secret_are_read() {
        // "me:pass:word", with and without padding.
        for auth in ["bWU6cGFzczp3b3Jk", "bWU6eA==", "bWU6eA"] {
            assert_eq!(users(&format!(r#"{{"r.example":{{"auth":{auth:?}}}}}"#), "r.example/a"), ["me"], "{auth}");
        }
        assert_eq!(users(r#"{"r.example":{"auth":"???"},"s.example":{}}"#, "r.example/a"), [""; 0]);
        let mut keyring = Keyring::default();
        let nested = br#"{"auths":{"r.example":{"auth":"bWU6cGFzczp3b3Jk"}}}"#;
        keyring.add_secret("kubernetes.io/dockerconfigjson", |_| Some(&nested[..])).unwrap();
        keyring.add_secret("Opaque", |_| Some(&b"{"[..])).unwrap();
        assert_eq!(keyring.lookup("r.example/a")[0].password, "pass:word");
        assert_eq!(keyring.lookup("r.example/a")[0].basic(), "Basic bWU6cGFzczp3b3Jk");
        assert!(keyring.add_secret("kubernetes.io/dockercfg", |_| Some(&b"{"[..])).is_err());
        assert!(!format!("{keyring:?}").contains("pass:word"), "nobody logs a password");
    }
}
