//! The frame that every controller stands in: what wakes it, what it waits for, what it does with a key.

use std::fmt::Display;
use std::sync::Arc;

use coracle_client::{Action, Error, Item, WorkQueue, run_workers};
use tokio_util::sync::CancellationToken;

/// A controller over its informers and its queue.
pub trait Reconciler: Send + Sync + Sized + 'static {
    /// What is reconciled: mostly the key of an object.
    type Work: Item + Display + Sync;

    /// What waits to be reconciled.
    fn queue(&self) -> &WorkQueue<Self::Work>;

    /// Has the informers fill the queue from now on.
    fn wake(self: &Arc<Self>);

    /// Waits until every informer has read what there is.
    fn synced(&self) -> impl Future<Output = ()> + Send;

    /// Brings what the key names one step nearer to what it should be; what woke it is not told.
    fn reconcile(self: Arc<Self>, work: Self::Work) -> impl Future<Output = Result<Action, Error>> + Send;
}

/// Runs a controller with so many workers until `shutdown`.
pub async fn run<R: Reconciler>(reconciler: R, workers: usize, shutdown: CancellationToken) {
    let reconciler = Arc::new(reconciler);
    reconciler.wake();
    if shutdown.run_until_cancelled(reconciler.synced()).await.is_none() {
        return;
    }
    let queue = reconciler.queue().clone();
    run_workers(queue, workers, move |work| reconciler.clone().reconcile(work), shutdown).await;
}
