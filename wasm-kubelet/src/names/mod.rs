//! What names mean to a pod: what a container would be told by its `/etc/hosts`, its `/etc/resolv.conf` and the cluster's
//! DNS, answered in this process.
//!
//! [`settings`] reads a pod into what it asks and in which order (pure), [`cluster`] knows services and their endpoints, and
//! [`query`] asks the name servers that a pod names itself. Every other name is asked of the host's own name servers, as an
//! absolute one: the host's `/etc/hosts` is not for its guests.

pub mod cluster;
mod query;
mod settings;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use tokio::net::lookup_host;

use self::cluster::{Answer, Cluster};
use self::settings::Settings;
use crate::limits::NAME_ALIASES_MAX;
use crate::runtime::{Names, Unresolved};

/// The names of one pod.
pub struct PodNames {
    settings: Settings,
    cluster: Arc<Cluster>,
}

impl PodNames {
    /// The names as `pod` sees them, which has the address `ip`.
    pub fn new(pod: &Pod, ip: IpAddr, cluster: Arc<Cluster>) -> Self {
        Self { settings: Settings::of(pod, ip, &settings::host_search()), cluster }
    }

    /// Asks for an absolute name, and follows the aliases of services.
    async fn absolute(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let mut name = name.to_owned();
        for _ in 0..NAME_ALIASES_MAX {
            if !self.settings.asks_cluster {
                return self.elsewhere(&name).await;
            }
            match self.cluster.answer(&name).await? {
                Answer::Addresses(addresses) if addresses.is_empty() => return Err(Unresolved::NotFound),
                Answer::Addresses(addresses) => return Ok(addresses),
                Answer::Alias(other) => name = other,
                Answer::NotOfTheCluster => return self.elsewhere(&name).await,
            }
        }
        Err(Unresolved::NotFound)
    }

    async fn elsewhere(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        match &self.settings.servers {
            Some(servers) => query::ask(servers, name).await,
            None => ask_host(name).await,
        }
    }
}

#[async_trait]
impl Names for PodNames {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let name = name.to_ascii_lowercase();
        if let Some(addresses) = self.settings.hosts.get(name.trim_end_matches('.')) {
            return Ok(addresses.clone());
        }
        let mut failure = Unresolved::NotFound;
        for candidate in self.settings.candidates(&name) {
            match self.absolute(&candidate).await {
                Ok(addresses) => return Ok(addresses),
                Err(Unresolved::NotFound) => {}
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

async fn ask_host(name: &str) -> Result<Vec<IpAddr>, Unresolved> {
    let found = lookup_host((format!("{name}."), 0)).await.map_err(|_| Unresolved::NotFound)?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
    addresses.dedup();
    if addresses.is_empty() { Err(Unresolved::NotFound) } else { Ok(addresses) }
}

impl fmt::Debug for PodNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}
