//! The loop: wakes a namespace when it changes, and a terminating one when a pod in it has gone.

use std::sync::Arc;
use std::time::Duration;

use coracle_api::Object;
use coracle_client::{Action, Backoff, Client, Clock, Delta, Error, Informer, Key, WorkQueue};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use tokio_util::sync::CancellationToken;

use super::empty::empty;
use super::plan::{FINALIZER, Plan, plan};
use crate::Context;
use crate::reconciler::{self, Reconciler};

/// How long until a namespace with something left in it is looked at again: nothing tells when the last object of
/// every kind has gone.
const RECHECK: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_secs(5) };

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    reconciler::run(Controller::new(&context), context.config.namespace_workers, shutdown).await;
}

struct Controller {
    client: Client,
    clock: Clock,
    namespaces: Informer<Namespace>,
    pods: Informer<Pod>,
    queue: WorkQueue<Key>,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let queue = self.queue.clone();
        self.namespaces.on_change(move |delta| {
            if is_terminating(delta.object()) {
                queue.add(delta.key());
            }
        });
        let controller = Arc::downgrade(self);
        self.pods.on_change(move |delta| {
            let (Delta::Deleted(pod), Some(controller)) = (delta, controller.upgrade()) else { return };
            let key = Key::cluster(pod.metadata.namespace.clone().unwrap_or_default());
            if controller.namespaces.get(&key).is_some_and(|namespace| is_terminating(&namespace)) {
                controller.queue.add(key);
            }
        });
    }

    async fn synced(&self) {
        self.namespaces.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let namespace = self.namespaces.get(&key).filter(|namespace| is_terminating(namespace));
        let Some(namespace) = namespace else { return Ok(Action::Done) };
        let contents = empty(&self.client, &key.name).await;
        match plan(&namespace, &contents, self.clock.time().0) {
            Plan::Finalize(namespace) => self.finalize(&key.name, &namespace).await.map(|()| Action::Done),
            Plan::Wait(None) => Ok(Action::Retry),
            Plan::Wait(Some(namespace)) => {
                self.client.all::<Namespace>().update_status(&namespace).await?;
                Ok(Action::Retry)
            }
        }
    }
}

impl Controller {
    fn new(context: &Context) -> Self {
        Self {
            client: context.client.clone(),
            clock: context.clock,
            namespaces: context.informers.get(),
            pods: context.informers.get(),
            queue: WorkQueue::with_backoff(RECHECK),
        }
    }

    /// # Errors
    /// [`Error::is_conflict`] when the cache is behind: the next look has the new version.
    async fn finalize(&self, name: &str, namespace: &Namespace) -> Result<(), Error> {
        let request = Request::put(format!("/api/v1/namespaces/{name}/finalize"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(namespace.encode())
            .map_err(|source| Error::Request { source })?;
        match self.client.raw(request).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Whether it is being deleted, and waits for this controller.
fn is_terminating(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    namespace.metadata.deletion_timestamp.is_some() && finalizers.into_iter().flatten().any(|one| one == FINALIZER)
}
