//! The loop: wakes a service when it, one of its pods or one of its slices changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_client::{Action, DeleteOptions, Delta, Error, Index, Informer, Key, Objects, WorkQueue};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use tokio_util::sync::CancellationToken;

use super::plan::{MANAGER, MANAGER_LABEL, Observed, Plan, SERVICE_LABEL, plan};
use crate::reconciler::{self, Reconciler};
use crate::service::{Selecting, affected};
use crate::written::Written;
use crate::{Context, ownership, pod};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let workers = context.config.endpoint_slice_workers;
    reconciler::run(Controller::new(context), workers, shutdown).await;
}

struct Controller {
    context: Context,
    services: Informer<Service>,
    services_by_namespace: Index<Service>,
    pods: Informer<Pod>,
    pods_by_namespace: Index<Pod>,
    slices: Informer<EndpointSlice>,
    slices_by_service: Index<EndpointSlice>,
    nodes: Informer<Node>,
    /// Of services.
    queue: WorkQueue<Key>,
    /// Slices.
    written: Written,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let queue = self.queue.clone();
        self.services.on_change(move |delta| queue.add(delta.key()));
        let controller = Arc::downgrade(self);
        self.pods.on_change(move |delta| {
            let Some(controller) = controller.upgrade() else { return };
            for service in affected(&controller.services_by_namespace, delta) {
                controller.queue_soon(service);
            }
        });
        let controller = Arc::downgrade(self);
        self.slices.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.slice_changed(delta);
            }
        });
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.pods.synced().await;
        self.slices.synced().await;
        self.nodes.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(object) = self.services.get(&key) else {
            // Its slices go with it, as it owns them.
            self.written.forget(&key);
            return Ok(Action::Done);
        };
        let Some(service) = Selecting::of(&object) else { return Ok(Action::Done) };
        // The coming of what is awaited is what wakes us.
        if !self.written.all_seen(&key) {
            return Ok(Action::Done);
        }
        let plan = plan(&self.observe(&key, service));
        self.execute(&key, plan).await.map(|()| Action::Done)
    }
}

impl Controller {
    fn new(context: Context) -> Self {
        let informers = &context.informers;
        let (services, pods, slices, nodes) = (informers.get(), informers.get(), informers.get(), informers.get());
        Self {
            services_by_namespace: ownership::by_namespace(&services),
            pods_by_namespace: ownership::by_namespace(&pods),
            slices_by_service: slices.index("managed-by-service", |slice: &EndpointSlice| {
                service_of(slice).map(|key| key.to_string()).into_iter().collect()
            }),
            queue: WorkQueue::new(),
            written: Written::default(),
            context,
            services,
            pods,
            slices,
            nodes,
        }
    }

    fn queue_soon(&self, service: Key) {
        self.queue.add_after(service, self.context.config.endpoint_slice_batch_period);
    }

    fn slice_changed(&self, delta: &Delta<EndpointSlice>) {
        let former = match delta {
            Delta::Updated { old, .. } => service_of(old),
            _ => None,
        };
        for service in former.into_iter().chain(service_of(delta.object())) {
            self.written.seen(&service, delta);
            self.queue_soon(service);
        }
    }

    fn observe<'a>(&self, key: &Key, service: Selecting<'a>) -> Observed<'a> {
        let mut pods = self.pods_by_namespace.get(&key.namespace);
        pods.retain(|pod| service.selects(pod));
        let mut slices = self.slices_by_service.get(&key.to_string());
        slices.retain(|slice| slice.metadata.deletion_timestamp.is_none());
        let zones = self.zones(&pods);
        let endpoints_per_slice_max = self.context.config.endpoints_per_slice_max;
        Observed { service, pods, slices, zones, endpoints_per_slice_max }
    }

    fn zones(&self, pods: &[Arc<Pod>]) -> BTreeMap<String, String> {
        let mut zones = BTreeMap::new();
        for name in pods.iter().filter_map(|pod| pod::node_name(pod)) {
            if !zones.contains_key(name)
                && let Some(node) = self.nodes.get(&Key::cluster(name))
                && let Some(zone) = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL))
            {
                zones.insert(name.to_owned(), zone.clone());
            }
        }
        zones
    }

    async fn execute(&self, key: &Key, plan: Plan) -> Result<(), Error> {
        let slices = self.context.client.namespaced::<EndpointSlice>(&key.namespace);
        let created = join_all(plan.create.iter().map(|slice| slices.create(slice))).await;
        let updated = join_all(plan.update.iter().map(|slice| slices.update(slice))).await;
        let deleted = join_all(plan.delete.iter().map(|slice| delete(&slices, slice))).await;
        let mut first_failure = Ok(());
        for written in created.into_iter().chain(updated) {
            match written {
                Ok(slice) => self.written.wrote(key, &slice, &self.slices),
                Err(error) if error.is_namespace_terminating() => {}
                Err(error) => first_failure = first_failure.and(Err(error)),
            }
        }
        deleted.into_iter().fold(first_failure, Result::and)
    }
}

async fn delete(slices: &Objects<EndpointSlice>, slice: &EndpointSlice) -> Result<(), Error> {
    let preconditions = Preconditions { uid: slice.metadata.uid.clone(), resource_version: None };
    let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
    match slices.delete(slice.metadata.name.as_deref().unwrap_or_default(), &options).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// The service of a slice that this controller manages.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGER_LABEL).is_some_and(|manager| manager == MANAGER);
    let service = labels.get(SERVICE_LABEL).filter(|_| ours)?;
    Some(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()))
}
