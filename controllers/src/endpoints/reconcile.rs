//! The loop: wakes a service when it, one of its pods or its endpoints change.

use std::sync::Arc;

use coracle_client::{Action, DeleteOptions, Delta, Error, Index, Informer, Key, WorkQueue};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use tokio_util::sync::CancellationToken;

use super::plan::{Plan, is_lock, is_managed, plan};
use crate::reconciler::{self, Reconciler};
use crate::service::{Selecting, affected};
use crate::written::Written;
use crate::{Context, ownership};

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let workers = context.config.endpoints_workers;
    reconciler::run(Controller::new(context), workers, shutdown).await;
}

struct Controller {
    context: Context,
    services: Informer<Service>,
    services_by_namespace: Index<Service>,
    pods: Informer<Pod>,
    pods_by_namespace: Index<Pod>,
    endpoints: Informer<Endpoints>,
    /// Of services.
    queue: WorkQueue<Key>,
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
                controller.queue.add_after(service, controller.context.config.endpoints_batch_period);
            }
        });
        let controller = Arc::downgrade(self);
        self.endpoints.on_change(move |delta| {
            let Some(controller) = controller.upgrade() else { return };
            controller.written.seen(&delta.key(), delta);
            // Ours may be left over from a service that has gone; another's may be here before its service is.
            if matches!(delta, Delta::Deleted(_)) || is_managed(&delta.object().metadata) {
                controller.queue.add(delta.key());
            }
        });
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.pods.synced().await;
        self.endpoints.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(object) = self.services.get(&key) else { return self.remove(&key).await };
        let Some(service) = Selecting::of(&object) else { return Ok(Action::Done) };
        // The coming of what is awaited is what wakes us.
        if !self.written.all_seen(&key) {
            return Ok(Action::Done);
        }
        let mut pods = self.pods_by_namespace.get(&key.namespace);
        pods.retain(|pod| service.selects(pod));
        let objects = self.context.client.namespaced::<Endpoints>(&key.namespace);
        let written = match plan(&service, &pods, self.endpoints.get(&key).as_deref()) {
            Plan::Keep => return Ok(Action::Done),
            Plan::Create(endpoints) => objects.create(&endpoints).await,
            Plan::Update(endpoints) => objects.update(&endpoints).await,
        };
        match written {
            Err(error) if error.is_namespace_terminating() => Ok(Action::Done),
            Err(error) => Err(error),
            Ok(endpoints) => {
                self.written.wrote(&key, &endpoints, &self.endpoints);
                Ok(Action::Done)
            }
        }
    }
}

impl Controller {
    fn new(context: Context) -> Self {
        let informers = &context.informers;
        let (services, pods, endpoints) = (informers.get(), informers.get(), informers.get());
        Self {
            services_by_namespace: ownership::by_namespace(&services),
            pods_by_namespace: ownership::by_namespace(&pods),
            queue: WorkQueue::new(),
            written: Written::default(),
            context,
            services,
            pods,
            endpoints,
        }
    }

    /// The endpoints of a service that has gone, whoever made them; not what is a lock and only looks like endpoints.
    async fn remove(&self, key: &Key) -> Result<Action, Error> {
        let Some(endpoints) = self.endpoints.get(key).filter(|endpoints| !is_lock(&endpoints.metadata)) else {
            return Ok(Action::Done);
        };
        let preconditions = Preconditions { uid: endpoints.metadata.uid.clone(), resource_version: None };
        let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
        match self.context.client.namespaced::<Endpoints>(&key.namespace).delete(&key.name, &options).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Action::Done),
        }
    }
}
