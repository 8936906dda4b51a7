//! How far the cache has seen, and who waits for it to see further.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

/// The revision up to which every kind's cache is complete.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    seen: AtomicU64,
    waiting: Mutex<BTreeMap<u64, Vec<oneshot::Sender<()>>>>,
}

impl Progress {
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Says that everything up to `revision` is in the cache, and wakes who waited for it.
    pub(crate) fn advance(&self, revision: u64) {
        let due = {
            let mut waiting = self.lock();
            // Under the lock, so that nobody begins to wait between the two.
            self.seen.fetch_max(revision, Ordering::Release);
            let later = waiting.split_off(&(revision + 1));
            std::mem::replace(&mut *waiting, later)
        };
        for waiter in due.into_values().flatten() {
            let _ = waiter.send(());
        }
    }

    /// Waits until everything up to `revision` is in the cache; `false` when that takes longer than `patience`.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn reach(&self, revision: u64, patience: Duration) -> bool {
        if self.seen() >= revision {
            return true;
        }
        let reached = {
            let mut waiting = self.lock();
            if self.seen() >= revision {
                return true;
            }
            let (sender, receiver) = oneshot::channel();
            waiting.entry(revision).or_default().push(sender);
            receiver
        };
        if tokio::time::timeout(patience, reached).await.is_ok_and(|sent| sent.is_ok()) {
            return true;
        }
        self.forget_gone(revision);
        self.seen() >= revision
    }

    /// Drops those who waited for `revision` and have given up.
    fn forget_gone(&self, revision: u64) {
        let mut waiting = self.lock();
        if let Some(waiters) = waiting.get_mut(&revision) {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                waiting.remove(&revision);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().expect("nothing panics while it holds the waiters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_at_its_revision() {
        let progress = std::sync::Arc::new(Progress::default());
        let waiter = tokio::spawn({
            let progress = progress.clone();
            async move { progress.reach(7, Duration::from_secs(60)).await }
        });
        tokio::task::yield_now().await;
        progress.advance(6);
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        progress.advance(9);
        assert!(waiter.await.expect("it runs"));
        assert!(progress.reach(9, Duration::ZERO).await);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_leaves_nothing() {
        let progress = Progress::default();
        assert!(!progress.reach(1, Duration::from_secs(3)).await);
        assert!(progress.lock().is_empty());
    }
}
