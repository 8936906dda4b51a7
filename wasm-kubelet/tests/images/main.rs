//! Images from registries: from one in memory that does what a test wants, and from Debian's `docker-registry`.

#![allow(clippy::unwrap_used)]

mod access;
mod debian;
mod fake;
mod layouts;
mod transfer;

use std::sync::Arc;

use coracle_kubelet::images::pull::{Policy, PullError, Pulled};
use coracle_kubelet::images::{Credential, ImageStore, Keyring, Puller, Reference};
use coracle_kubelet::{ImageSources, Registries};

/// A node's images.
pub struct Node {
    pub dir: tempfile::TempDir,
    pub puller: Arc<Puller>,
}

impl Default for Node {
    fn default() -> Self {
        Self::with(Registries::default())
    }
}

impl Node {
    pub fn with(registries: Registries) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let puller = Self::puller(&dir, registries);
        Self { dir, puller }
    }

    /// Another kubelet in the same folder.
    pub fn again(self, registries: Registries) -> Self {
        let puller = Self::puller(&self.dir, registries);
        Self { dir: self.dir, puller }
    }

    fn puller(dir: &tempfile::TempDir, registries: Registries) -> Arc<Puller> {
        let store = ImageStore::open(dir.path().join("images")).unwrap();
        Arc::new(Puller::new(store, ImageSources::default(), registries).unwrap())
    }

    pub async fn pull(&self, name: &str) -> Result<Pulled, PullError> {
        self.pull_as(name, Policy::Always, &Keyring::default()).await
    }

    pub async fn pull_as(&self, name: &str, policy: Policy, keyring: &Keyring) -> Result<Pulled, PullError> {
        self.puller.pull(&Reference::parse(name).unwrap(), policy, keyring).await
    }

    /// What it says, with all causes.
    pub async fn refusal(&self, name: &str) -> String {
        chain(&self.pull(name).await.unwrap_err())
    }

    pub fn names(&self) -> Vec<String> {
        self.puller.store().list().unwrap().into_iter().map(|listed| listed.name).collect()
    }

    /// Files that are on their way.
    pub fn staged(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("images/staging")).unwrap().count()
    }
}

pub fn keyring(registry: &str, username: &str, password: &str) -> Keyring {
    let mut keyring = Keyring::default();
    keyring.insert(registry, Credential { username: username.into(), password: password.into() });
    keyring
}

pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
