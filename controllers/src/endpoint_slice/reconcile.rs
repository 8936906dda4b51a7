//! The loop: wakes a service when it, one of its pods or one of its slices changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::{
    Action, DeleteOptions, Delta, Error, Expectations, Index, Informer, Key, Objects, WorkQueue, run_workers,
};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use tokio_util::sync::CancellationToken;

use super::plan::{MANAGER, MANAGER_LABEL, Observed, Plan, SERVICE_LABEL, plan};
use crate::service::{Selecting, affected};
use crate::{Context, ownership, pod};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// When a service is looked at again whose last writes are not in the cache: normally their coming wakes it.
const UNSETTLED_RECHECK: Duration = Duration::from_secs(1);

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let controller = Arc::new(Controller::new(context));
    controller.wake();
    if shutdown.run_until_cancelled(controller.synced()).await.is_none() {
        return;
    }
    let (queue, workers) = (controller.queue.clone(), controller.context.config.endpoint_slice_workers);
    run_workers(queue, workers, move |key| controller.clone().reconcile(key), shutdown).await;
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
    expectations: Expectations,
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
            expectations: Expectations::new(),
            context,
            services,
            pods,
            slices,
            nodes,
        }
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

    fn queue_soon(&self, service: Key) {
        self.queue.add_after(service, self.context.config.endpoint_slice_batch_period);
    }

    fn slice_changed(&self, delta: &Delta<EndpointSlice>) {
        if let Delta::Updated { old, .. } = delta {
            service_of(old).into_iter().for_each(|former| self.queue_soon(former));
        }
        let Some(service) = service_of(delta.object()) else { return };
        match delta {
            Delta::Added(_) => self.expectations.creation_observed(&service),
            Delta::Deleted(slice) => {
                self.expectations.deletion_observed(&service, slice.metadata.uid.as_deref().unwrap_or_default());
            }
            Delta::Updated { .. } => {}
        }
        self.queue_soon(service);
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(object) = self.services.get(&key) else {
            // Its slices go with it, as it owns them.
            self.expectations.forget(&key);
            return Ok(Action::Done);
        };
        let Some(service) = Selecting::of(&object) else { return Ok(Action::Done) };
        if !self.expectations.satisfied(&key) {
            return Ok(Action::RequeueAfter(UNSETTLED_RECHECK));
        }
        let plan = plan(&self.observe(&key, service));
        self.execute(&key, plan).await.map(|()| Action::Done)
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
        let created = join_all(plan.create.iter().map(|slice| self.create(key, &slices, slice))).await;
        let updated = join_all(plan.update.iter().map(|slice| slices.update(slice))).await;
        let deleted = join_all(plan.delete.iter().map(|slice| self.delete(key, &slices, slice))).await;
        created.into_iter().collect::<Result<(), Error>>()?;
        updated.into_iter().try_for_each(|updated| updated.map(drop))?;
        deleted.into_iter().collect()
    }

    async fn create(&self, key: &Key, slices: &Objects<EndpointSlice>, slice: &EndpointSlice) -> Result<(), Error> {
        self.expectations.expect_creations(key, 1);
        let created = slices.create(slice).await;
        if created.is_err() {
            self.expectations.creation_observed(key);
        }
        match created {
            Err(error) if error.is_namespace_terminating() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn delete(&self, key: &Key, slices: &Objects<EndpointSlice>, slice: &EndpointSlice) -> Result<(), Error> {
        let uid = slice.metadata.uid.clone().unwrap_or_default();
        self.expectations.expect_deletions(key, [uid.clone()]);
        let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
        let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
        let deleted = slices.delete(slice.metadata.name.as_deref().unwrap_or_default(), &options).await;
        if deleted.is_err() {
            self.expectations.deletion_observed(key, &uid);
        }
        match deleted {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }
}

/// The service of a slice that this controller manages.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGER_LABEL).is_some_and(|manager| manager == MANAGER);
    let service = labels.get(SERVICE_LABEL).filter(|_| ours)?;
    Some(Key::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()))
}
