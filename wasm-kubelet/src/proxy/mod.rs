//! The cluster's services on this host: every cluster IP and node port listens here, and connections go on to a ready
//! endpoint. In userspace, unprivileged, on loopback addresses.
//!
//! [`table`] says what should listen (pure), [`balance`] chooses endpoints, [`tcp`] and [`udp`] carry the bytes. One task
//! follows services and endpoint slices and keeps listeners as the table says; what a listener needs to know of a
//! change is swapped into its [`Balancer`], so that a change of endpoints touches no socket. A port without a ready
//! endpoint is not listened on: who connects is refused, as by upstream's proxy.

mod balance;
mod table;
mod tcp;
mod udp;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use coracle_client::{EventType, Index, Informer, Informers, Key, Recorder, WorkQueue};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::balance::Balancer;
use self::table::{Front, Place, Protocol};
use crate::config::Proxy as Settings;
use crate::limits::{PROXY_CONNECTIONS_MAX, PROXY_DRAIN, PROXY_REBIND, PROXY_REBIND_MAX};

/// The label by which a slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The service proxy of a host.
pub struct Proxy {
    settings: Settings,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    by_service: Index<EndpointSlice>,
    recorder: Recorder,
    listening: HashMap<Key, HashMap<Place, Listening>>,
    carrier: Carrier,
}

/// What all listeners share.
#[derive(Clone)]
struct Carrier {
    recorder: Recorder,
    /// Connections that may be carried still.
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A place that listens, or tries to.
struct Listening {
    balancer: Arc<Balancer>,
    /// Ends the listener; connections that it took go on.
    stop: CancellationToken,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Proxy {
    /// A proxy that follows `informers`; nothing listens before [`Proxy::run`].
    pub fn new(settings: Settings, informers: Informers, recorder: Recorder) -> Self {
        let services = informers.get::<Service>();
        let slices = informers.get::<EndpointSlice>();
        let by_service = slices.index("proxy/service", service_of);
        let carrier = Carrier {
            recorder: recorder.clone(),
            room: Arc::new(Semaphore::new(PROXY_CONNECTIONS_MAX)),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        Self { settings, services, slices, by_service, recorder, listening: HashMap::new(), carrier }
    }

    /// Runs until `shutdown`; connections are then given a moment to end.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let queue = WorkQueue::<Key>::new();
        let changed = queue.clone();
        self.services.on_change(move |delta| changed.add(delta.key()));
        let changed = queue.clone();
        self.slices.on_change(move |delta| {
            for service in service_of(delta.object()) {
                let (namespace, name) = service.split_once('/').unwrap_or(("", &service));
                changed.add(Key::new(namespace, name));
            }
        });
        while let Some(Some(key)) = shutdown.run_until_cancelled(queue.get()).await {
            self.sync(&key);
            queue.done(&key);
        }
        self.listening.clear();
        self.carrier.tasks.close();
        if timeout(PROXY_DRAIN, self.carrier.tasks.wait()).await.is_err() {
            self.carrier.shutdown.cancel();
            self.carrier.tasks.wait().await;
        }
    }

    /// Makes one service's listeners what they should be.
    fn sync(&mut self, key: &Key) {
        let service = self.services.get(key);
        let slices = self.by_service.get(&key.to_string());
        let slices: Vec<&EndpointSlice> = slices.iter().map(AsRef::as_ref).collect();
        let fronts = match &service {
            Some(service) => table::fronts(service, &slices, self.settings.node_port_address),
            None => Vec::new(),
        };
        let mut listening = self.listening.remove(key).unwrap_or_default();
        listening.retain(|place, _| fronts.iter().any(|front| front.place == *place));
        for front in fronts {
            match listening.get(&front.place) {
                Some(there) => there.balancer.set(front.backends, front.affinity),
                None => drop(listening.insert(front.place, self.listen(key, front, service.clone()))),
            }
        }
        if !listening.is_empty() {
            self.listening.insert(key.clone(), listening);
        }
    }

    fn listen(&self, key: &Key, front: Front, service: Option<Arc<Service>>) -> Listening {
        let balancer = Arc::new(Balancer::new(front.backends, front.affinity));
        let stop = self.carrier.shutdown.child_token();
        let listener = Listener {
            place: front.place,
            service,
            key: key.clone(),
            balancer: balancer.clone(),
            carrier: Carrier { recorder: self.recorder.clone(), ..self.carrier.clone() },
        };
        self.carrier.tasks.spawn(stop.clone().run_until_cancelled_owned(listener.run()));
        Listening { balancer, stop }
    }
}

/// The service that a slice is of, as `namespace/name`.
pub(crate) fn service_of(slice: &EndpointSlice) -> Vec<String> {
    let meta = &slice.metadata;
    let name = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    name.map(|name| Key::new(namespace, &**name).to_string()).into_iter().collect()
}

/// One port of one service, on its way to being listened on.
struct Listener {
    place: Place,
    key: Key,
    service: Option<Arc<Service>>,
    balancer: Arc<Balancer>,
    carrier: Carrier,
}

impl Listener {
    /// Listens until it is dropped. What others hold is tried again; what this user may not do is said and left.
    async fn run(self) {
        let mut pause = PROXY_REBIND;
        loop {
            let ended = match self.place.protocol {
                Protocol::Tcp => tcp::listen(self.place.address, &self.balancer, &self.carrier).await,
                Protocol::Udp => udp::listen(self.place.address, &self.balancer).await,
            };
            let Err(error) = ended else { return };
            self.tell(&error);
            if error.kind() == io::ErrorKind::PermissionDenied {
                return std::future::pending().await;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PROXY_REBIND_MAX);
        }
    }

    fn tell(&self, error: &io::Error) {
        let address = self.place.address;
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied if address.port() < 1024 => {
                "; ports below 1024 are for privileged users, use a higher port in the service or reach it by its node port"
            }
            io::ErrorKind::AddrInUse => "; another process has it, and it is tried again",
            _ => "",
        };
        let message = format!("cannot listen on {address}: {error}{hint}");
        tracing::debug!(service = %self.key, message);
        if let Some(service) = &self.service {
            self.carrier.recorder.event(&**service, EventType::Warning, "PortUnavailable", message);
        }
    }
}
