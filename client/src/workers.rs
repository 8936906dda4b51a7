//! Workers that take keys from a queue and reconcile them.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::WorkQueue;
use crate::queue::Item;

/// What is to be done about an item after it was reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, until something changes.
    Done,
    /// Once more after this time, even if nothing changes.
    RequeueAfter(Duration),
    /// Once more, later each time, until it is done.
    Retry,
}

/// Reconciles what comes out of `queue` with at most `concurrency` at a time, until `shutdown`; then lets the running
/// ones finish. An error is logged and the item retried with growing delays; so is a panic, which ends nothing else.
pub async fn run_workers<T, F, R, E>(queue: WorkQueue<T>, concurrency: usize, reconcile: F, shutdown: CancellationToken)
where
    T: Item + Display + Sync,
    F: Fn(T) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Action, E>> + Send + 'static,
    E: std::error::Error + 'static,
{
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.max(1) {
        workers.spawn(work(queue.clone(), reconcile.clone()));
    }
    shutdown.cancelled().await;
    queue.close();
    while workers.join_next().await.is_some() {}
}

async fn work<T, F, R, E>(queue: WorkQueue<T>, reconcile: F)
where
    T: Item + Display + Sync,
    F: Fn(T) -> R,
    R: Future<Output = Result<Action, E>>,
    E: std::error::Error + 'static,
{
    while let Some(item) = queue.get().await {
        match AssertUnwindSafe(async { reconcile(item.clone()).await }).catch_unwind().await {
            Ok(Ok(Action::Done)) => queue.forget(&item),
            Ok(Ok(Action::RequeueAfter(delay))) => {
                queue.forget(&item);
                queue.add_after(item.clone(), delay);
            }
            Ok(Ok(Action::Retry)) => queue.add_rate_limited(item.clone()),
            Ok(Err(error)) => {
                report(&item, queue.failures(&item), &error);
                queue.add_rate_limited(item.clone());
            }
            Err(_panic) => {
                tracing::error!(%item, "a reconciler panicked");
                queue.add_rate_limited(item.clone());
            }
        }
        queue.done(&item);
    }
}

/// The first failures are mostly conflicts with a cache that lags behind, and pass.
fn report(item: &impl Display, failures: u32, error: &(dyn std::error::Error + 'static)) {
    match failures {
        0..3 => tracing::debug!(%item, error, "will be reconciled again"),
        _ => tracing::warn!(%item, failures, error, "cannot be reconciled"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn errors_and_panics_are_retried_and_others_go_on() {
        let queue = WorkQueue::new();
        let shutdown = CancellationToken::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        let attempts = Arc::new(AtomicU32::new(0));
        let reconcile = {
            let (log, attempts, shutdown) = (log.clone(), attempts.clone(), shutdown.clone());
            move |item: &'static str| {
                let (log, attempts, shutdown) = (log.clone(), attempts.clone(), shutdown.clone());
                async move {
                    log.lock().expect("not poisoned").push(item);
                    match (item, attempts.fetch_add(1, Ordering::Relaxed)) {
                        ("bad", 0) => Err(std::io::Error::other("once")),
                        ("bad", 1) => panic!("twice"),
                        ("bad", _) => Ok(Action::RequeueAfter(Duration::from_secs(60))),
                        _ => {
                            shutdown.cancel();
                            Ok(Action::Done)
                        }
                    }
                }
            }
        };
        queue.add("bad");
        queue.add_after("last", Duration::from_secs(1));
        run_workers(queue, 1, reconcile, shutdown).await;
        assert_eq!(*log.lock().expect("not poisoned"), ["bad", "bad", "bad", "last"]);
    }
}
