//! The names that a cluster gives its services and pods. Source: the DNS specification of Kubernetes, version 1.1.0, and
//! CoreDNS' `kubernetes` plugin with `pods insecure`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use coracle_client::{Index, Informer, Informers, Key};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::limits::NAME_WAIT_MAX;
use crate::proxy::service_of;
use crate::runtime::Unresolved;

/// The cluster's own domain.
pub const DOMAIN: &str = "cluster.local";

/// What the cluster says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These, or that there are none.
    Addresses(Vec<IpAddr>),
    /// What this other name says.
    Alias(String),
    /// Nothing: it is not the cluster's.
    NotOfTheCluster,
}

/// The services of a cluster, followed from the first question on.
pub struct Cluster {
    informers: Informers,
    runtime: Handle,
    followed: OnceLock<Followed>,
}

struct Followed {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    by_service: Index<EndpointSlice>,
}

impl Cluster {
    /// Nothing is followed yet. Must be called within the runtime that the informers are to live on.
    pub fn new(informers: Informers) -> Self {
        Self { informers, runtime: Handle::current(), followed: OnceLock::new() }
    }

    /// What the cluster says of the absolute name `name`, which is in lower case.
    ///
    /// # Errors
    /// When the services are not known yet.
    pub async fn answer(&self, name: &str) -> Result<Answer, Unresolved> {
        let Some(question) = Question::of(name) else { return Ok(Answer::NotOfTheCluster) };
        let (namespace, service, host) = match question {
            Question::Nothing => return Ok(Answer::Addresses(Vec::new())),
            Question::Address(address) => return Ok(Answer::Addresses(vec![address.into()])),
            Question::Service { namespace, service } => (namespace, service, None),
            Question::Endpoint { namespace, service, host } => (namespace, service, Some(host)),
        };
        let followed = self.followed();
        let synced = futures::future::join(followed.services.synced(), followed.slices.synced());
        timeout(NAME_WAIT_MAX, synced).await.map_err(|_| Unresolved::Temporary)?;
        let key = Key::new(namespace, service);
        let Some(service) = followed.services.get(&key) else { return Ok(Answer::Addresses(Vec::new())) };
        let slices = followed.by_service.get(&key.to_string());
        Ok(records(&service, slices.iter().map(AsRef::as_ref), host))
    }

    fn followed(&self) -> &Followed {
        self.followed.get_or_init(|| {
            let _entered = self.runtime.enter();
            let slices = self.informers.get::<EndpointSlice>();
            let by_service = slices.index("proxy/service", service_of);
            Followed { services: self.informers.get::<Service>(), slices, by_service }
        })
    }
}

/// What a name of the cluster asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question<'a> {
    Service { namespace: &'a str, service: &'a str },
    Endpoint { namespace: &'a str, service: &'a str, host: &'a str },
    Address(Ipv4Addr),
    Nothing,
}

impl<'a> Question<'a> {
    /// `None` for a name outside of [`DOMAIN`].
    fn of(name: &'a str) -> Option<Self> {
        let within = name.strip_suffix(DOMAIN)?;
        let within = if within.is_empty() { within } else { within.strip_suffix('.')? };
        let labels: Vec<&str> = within.split('.').collect();
        Some(match labels[..] {
            [service, namespace, "svc"] => Self::Service { namespace, service },
            [host, service, namespace, "svc"] => Self::Endpoint { namespace, service, host },
            [dashed, _, "pod"] => dashed.replace('-', ".").parse().map_or(Self::Nothing, Self::Address),
            _ => Self::Nothing,
        })
    }
}

/// The addresses of a service, or of the one endpoint called `host`.
fn records<'a>(service: &Service, slices: impl Iterator<Item = &'a EndpointSlice>, host: Option<&str>) -> Answer {
    let Some(spec) = &service.spec else { return Answer::Addresses(Vec::new()) };
    if spec.type_.as_deref() == Some("ExternalName") {
        return match (&spec.external_name, host) {
            (Some(other), None) => Answer::Alias(other.trim_end_matches('.').to_ascii_lowercase()),
            _ => Answer::Addresses(Vec::new()),
        };
    }
    let own: Vec<IpAddr> =
        spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter_map(|ip| ip.parse().ok()).collect();
    let mut addresses = if host.is_none() && !own.is_empty() {
        own
    } else {
        let endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten());
        let meant =
            endpoints.filter(|endpoint| is_ready(endpoint) && host.is_none_or(|host| is_called(endpoint, host)));
        meant.flat_map(|endpoint| &endpoint.addresses).filter_map(|address| address.parse().ok()).collect()
    };
    addresses.sort_unstable();
    addresses.dedup();
    Answer::Addresses(addresses)
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// By its hostname, or by its address with dashes when it has none.
fn is_called(endpoint: &Endpoint, host: &str) -> bool {
    match &endpoint.hostname {
        Some(hostname) => hostname.eq_ignore_ascii_case(host),
        None => endpoint.addresses.iter().any(|address| address.replace(['.', ':'], "-") == host),
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use coracle_api::Object;

    use super::*;

    #[test]
    fn names_ask_for_services_endpoints_and_addresses() {
        use Question::*;
        let (namespace, service, host) = ("shop", "web", "web-0");
        for (name, question) in [
            ("web.shop.svc.cluster.local", Some(Service { namespace, service })),
            ("web-0.web.shop.svc.cluster.local", Some(Endpoint { namespace, service, host })),
            ("127-64-0-7.shop.pod.cluster.local", Some(Address(Ipv4Addr::new(127, 64, 0, 7)))),
            ("web.shop.pod.cluster.local", Some(Nothing)),
            ("web.cluster.local", Some(Nothing)),
            ("svc.cluster.local", Some(Nothing)),
            ("cluster.local", Some(Nothing)),
            ("mycluster.local", None),
            ("example.com", None),
            ("web", None),
        ] {
            assert_eq!(Question::of(name), question, "{name}");
        }
    }

    #[test]
    fn services_have_their_own_address_or_those_of_their_endpoints() {
        let slice = EndpointSlice::decode(
            br#"{"addressType":"IPv4","endpoints":[
                {"addresses":["127.64.0.3"],"conditions":{"ready":true},"hostname":"web-1"},
                {"addresses":["127.64.0.2"],"hostname":"web-0"},
                {"addresses":["127.64.0.5"]},
                {"addresses":["127.64.0.4"],"conditions":{"ready":false},"hostname":"web-2"}]}"#,
        )
        .unwrap();
        let addresses =
            |addresses: &[&str]| Answer::Addresses(addresses.iter().map(|address| address.parse().unwrap()).collect());
        for (spec, host, answer) in [
            (r#"{"clusterIP":"127.96.0.9","clusterIPs":["127.96.0.9"]}"#, None, addresses(&["127.96.0.9"])),
            (r#"{"clusterIP":"None"}"#, None, addresses(&["127.64.0.2", "127.64.0.3", "127.64.0.5"])),
            (r#"{"clusterIP":"None"}"#, Some("web-0"), addresses(&["127.64.0.2"])),
            (r#"{"clusterIP":"None"}"#, Some("127-64-0-5"), addresses(&["127.64.0.5"])),
            (r#"{"clusterIP":"None"}"#, Some("web-2"), addresses(&[])),
            (r#"{"type":"ExternalName","externalName":"Db.example."}"#, None, Answer::Alias("db.example".into())),
            (r#"{"type":"ExternalName","externalName":"db.example"}"#, Some("x"), addresses(&[])),
        ] {
            let service = format!(r#"{{"metadata":{{"name":"web"}},"spec":{spec}}}"#);
            let service = Service::decode(service.as_bytes()).unwrap();
            assert_eq!(records(&service, [&slice].into_iter(), host), answer, "{spec} {host:?}");
        }
    }
}
