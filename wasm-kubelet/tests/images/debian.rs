//! A registry that others wrote: Debian's `docker-registry`, open, with names and passwords, and over TLS.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use coracle_kubelet::Registries;
use coracle_kubelet::images::http::Http;
use coracle_kubelet::images::pull::Policy;
use coracle_kubelet::images::registry::Registry;
use coracle_kubelet::images::registry::push::{About, push};
use coracle_kubelet::images::registry::session::Action;
use coracle_kubelet::images::{Credential, Digest, Keyring};

use super::fake::MODULE;
use super::{Node, chain, keyring};

/// `me:secret`, as `htpasswd -B` writes it.
const USERS: &str = "me:$2y$05$rWm5LtoaAQAm9AuSJA/i7.TKYT42Zu/oE31UpaVxkElFE/YcMmPuG\n";

/// A running registry; it ends with the test.
struct Debian {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Debian {
    /// `None`, said, where there is none.
    fn start(has_users: bool, has_tls: bool) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:0\n  secret: x\n",
            path("data")
        );
        if has_tls {
            let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(path("tls.crt"), signed.cert.pem()).unwrap();
            std::fs::write(path("tls.key"), signed.signing_key.serialize_pem()).unwrap();
            config += &format!("  tls: {{certificate: {}, key: {}}}\n", path("tls.crt"), path("tls.key"));
        }
        if has_users {
            std::fs::write(path("users"), USERS).unwrap();
            config += &format!("auth:\n  htpasswd: {{realm: here, path: {}}}\n", path("users"));
        }
        std::fs::write(path("config.yml"), config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path("config.yml")).stdout(Stdio::null()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            eprintln!("skipped: there is no docker-registry on this machine");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listens = |line: &str| line.split("listening on 127.0.0.1:").nth(1).map(str::to_owned);
        let rest = lines.by_ref().map_while(Result::ok).find_map(|line| listens(&line)).unwrap();
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        // Somebody has to read what it says further.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { child, port: port.parse().unwrap(), folder })
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn registries(&self) -> Registries {
        let certificate = std::fs::read_to_string(self.folder.path().join("tls.crt"));
        Registries { authorities_pem: certificate.into_iter().collect(), ..Registries::default() }
    }

    async fn push(&self, tag: &str, module: &[u8], credential: Option<Credential>) -> Result<Digest, String> {
        let settings = self.registries();
        let http = Arc::new(Http::with_authorities(settings.authorities_pem.clone()));
        let session = Registry::new(http, settings).open(&self.host(), "team/app", credential, Action::Push).await;
        let pushed = push(&session, tag, Bytes::copy_from_slice(module), &About::default()).await;
        pushed.map_err(|error| chain(&error))
    }
}

fn large() -> Vec<u8> {
    MODULE.iter().copied().chain((0..1_000_000_u32).flat_map(u32::to_le_bytes)).collect()
}

#[tokio::test]
async fn what_was_pushed_is_pulled() {
    let Some(registry) = Debian::start(false, false) else { return };
    let node = Node::default();
    let name = format!("{}/team/app:v1", registry.host());
    assert!(node.refusal(&name).await.contains("not found"));
    let digest = registry.push("v1", &large(), None).await.unwrap();
    let pulled = node.pull(&name).await.unwrap();
    assert_eq!(std::fs::read(&pulled.image.path).unwrap(), large());
    assert_eq!(*pulled.image.id, format!("{}/team/app@{digest}", registry.host()));
    assert_eq!(registry.push("v1", &large(), None).await.unwrap(), digest, "the same again is the same");

    let other = registry.push("v1", MODULE, None).await.unwrap();
    assert_ne!(other, digest);
    let moved = node.pull(&name).await.unwrap();
    assert_eq!(std::fs::read(&moved.image.path).unwrap(), MODULE, "the tag has moved");
    let old = node.pull(&pulled.image.id).await.unwrap();
    assert_eq!((old.image.digest, old.fetched), (pulled.image.digest, false), "by digest it is what it was");
}

#[tokio::test]
async fn names_and_passwords_are_asked_for_over_tls_too() {
    for has_tls in [false, true] {
        let Some(registry) = Debian::start(true, has_tls) else { return };
        let name = format!("{}/team/app:v1", registry.host());
        let me = || Some(Credential { username: "me".into(), password: "secret".into() });
        let wrong = || Some(Credential { username: "me".into(), password: "guess".into() });
        assert!(registry.push("v1", MODULE, None).await.unwrap_err().contains("denied"));
        assert!(registry.push("v1", MODULE, wrong()).await.unwrap_err().contains("denied"));
        registry.push("v1", MODULE, me()).await.unwrap();

        let node = Node::with(registry.registries());
        let pull = async |keyring: Keyring| node.pull_as(&name, Policy::Always, &keyring).await;
        let denied = pull(Keyring::default()).await.unwrap_err();
        assert!(chain(&denied).contains("UNAUTHORIZED"), "{}", chain(&denied));
        assert!(pull(keyring(&registry.host(), "me", "guess")).await.is_err());
        let pulled = pull(keyring(&registry.host(), "me", "secret")).await.unwrap();
        assert_eq!(std::fs::read(&pulled.image.path).unwrap(), MODULE);
        if has_tls {
            let stranger = Node::default();
            let error = stranger.refusal(&name).await;
            assert!(error.contains("cannot connect") && error.contains("certificate"), "{error}");
        }
    }
}
