//! An `IPAddress` for every address that a service has, so that people see whose it is.
//!
//! Which addresses are free is the allocator's to know: these objects follow the services, and nothing reads them here.
//!
//! Source: upstream's `ipallocator`, whose objects are the allocation itself.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::any::AnyObject;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, IPAddressSpec, ParentReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::standard::stamp;
use crate::api::Api;
use crate::cache::{Cached, Change, Item, Scope, Selection, Start, WatchStream};
use crate::resource::Resource;
use crate::writer::{Lost, Writer};

const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";

/// How long one watch lasts, and how long to wait after one that could not be begun.
const WATCH: Duration = Duration::from_secs(3600);
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the services until `shutdown`.
pub(crate) async fn run(api: Arc<Api>, shutdown: CancellationToken) {
    let Some(addresses) = api.resources.builtin("networking.k8s.io", "v1", "ipaddresses").cloned() else { return };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = follow(&api, &addresses) => {}
        }
    }
}

/// One watch, from all services that there are.
async fn follow(api: &Arc<Api>, addresses: &Resource) {
    let services = api.resources.core("services");
    let all = Arc::new(Selection::of(Scope::All));
    let Ok(beginning) = services.cache.watch(all, Start::Present, api.cache.seen()) else {
        return tokio::time::sleep(PAUSE).await;
    };
    let mut watch = WatchStream::new(api.cache.clone(), beginning, 0, false, true, Instant::now() + WATCH);
    let writer = Writer { api, resource: addresses, dry_run: false };
    let mut taken = HashSet::new();
    while let Some(item) = watch.next().await {
        match item {
            Item::Present(service) => {
                for owned in Owned::of(services, &service) {
                    owned.take(&writer).await;
                    taken.insert(owned);
                }
            }
            Item::Bookmark { .. } => {
                for stale in api.list_all(addresses).iter().filter_map(|cached| Owned::said_by(addresses, cached)) {
                    if !taken.contains(&stale) {
                        stale.release(&writer).await;
                    }
                }
                taken.clear();
            }
            Item::Changed(event, _) => {
                let (before, after) = match &event.change {
                    Change::Put { object, previous } => (previous.as_ref(), Some(object)),
                    Change::Delete { previous } => (Some(previous), None),
                };
                let owned = |service: Option<&Arc<Cached>>| -> HashSet<Owned> {
                    service.into_iter().flat_map(|service| Owned::of(services, service)).collect()
                };
                let (before, after) = (owned(before), owned(after));
                for gone in before.difference(&after) {
                    gone.release(&writer).await;
                }
                for new in after.difference(&before) {
                    new.take(&writer).await;
                }
            }
        }
    }
}

/// An address, and the service that has it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Owned {
    address: IpAddr,
    namespace: String,
    service: String,
}

impl Owned {
    /// The addresses of a service.
    fn of(services: &Resource, service: &Cached) -> Vec<Self> {
        let Ok(object) = services.load(service) else { return Vec::new() };
        let Some(service) = object.downcast_ref::<Service>() else { return Vec::new() };
        let addresses = service.spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten());
        let owned =
            |address| Self { address, namespace: object.namespace().to_owned(), service: object.name().to_owned() };
        // One without an address says `None`.
        addresses.filter_map(|address| address.parse().ok()).map(owned).collect()
    }

    /// What an object that was made here says.
    fn said_by(addresses: &Resource, cached: &Cached) -> Option<Self> {
        let object = addresses.load(cached).ok()?;
        let address = object.downcast_ref::<IPAddress>()?;
        let labels = address.metadata.labels.as_ref()?;
        let parent = &address.spec.parent_ref;
        (labels.get(MANAGED_BY)? == MANAGER).then_some(Self {
            address: object.name().parse().ok()?,
            namespace: parent.namespace.clone().unwrap_or_default(),
            service: parent.name.clone(),
        })
    }

    fn object(&self) -> IPAddress {
        let family = if self.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let labels = [(FAMILY, family), (MANAGED_BY, MANAGER)];
        let mut metadata = ObjectMeta {
            name: Some(self.address.to_string()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        };
        stamp(&mut metadata);
        let parent_ref = ParentReference {
            group: None,
            resource: "services".to_owned(),
            namespace: Some(self.namespace.clone()),
            name: self.service.clone(),
        };
        IPAddress { metadata, spec: IPAddressSpec { parent_ref } }
    }

    /// Makes the object of the address, instead of one that names another owner.
    async fn take(&self, writer: &Writer<'_>) {
        let object = AnyObject::new(self.object());
        let outcome = match writer.create(&object).await {
            Err(Lost::Raced(Some(current))) if Self::said_by(writer.resource, &current).as_ref() != Some(self) => {
                writer.replace(&current, &object).await
            }
            outcome => outcome,
        };
        if let Err(Lost::Refused(error)) = outcome {
            tracing::warn!(%error, address = %self.address, "the address of a service has no object");
        }
    }

    /// Removes the object of the address, if it is still this one's.
    async fn release(&self, writer: &Writer<'_>) {
        let Some(current) = writer.resource.cache.get(&self.address.to_string()) else { return };
        if Self::said_by(writer.resource, &current).as_ref() != Some(self) {
            return;
        }
        if let Err(Lost::Refused(error)) = writer.remove(&current).await {
            tracing::warn!(%error, address = %self.address, "the address of a service that is gone has an object");
        }
    }
}
