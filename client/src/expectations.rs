//! What a controller has done and not yet seen in its cache. While something is expected, the cache is too old to count
//! by, and a controller that counted anyway would create or delete twice.
//!
//! Source: kube-controller-manager's `ControllerExpectations` and `UIDTrackingControllerExpectations`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Key;

/// After this an expectation is given up: the event was missed, and the cache has it by now or never will.
const EXPECTATIONS_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The expectations of a controller, by the key of the object that it reconciles. Cheap to clone.
#[derive(Clone, Default)]
pub struct Expectations {
    pending: Arc<Mutex<HashMap<Key, Pending>>>,
}

struct Pending {
    creations: u64,
    /// The uids of what was deleted and is still in the cache.
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    pub fn new() -> Self {
        Self::default()
    }

    /// Before creating `count` objects for `key`.
    pub fn expect_creations(&self, key: &Key, count: u64) {
        self.pending(key, |pending| pending.creations += count);
    }

    /// Before deleting the objects with these uids for `key`.
    pub fn expect_deletions(&self, key: &Key, uids: impl IntoIterator<Item = String>) {
        self.pending(key, |pending| pending.deletions.extend(uids));
    }

    /// A creation was seen, or did not happen.
    pub fn creation_observed(&self, key: &Key) {
        self.observe(key, |pending| pending.creations = pending.creations.saturating_sub(1));
    }

    /// A deletion (or its beginning) was seen, or did not happen.
    pub fn deletion_observed(&self, key: &Key, uid: &str) {
        self.observe(key, |pending| {
            pending.deletions.remove(uid);
        });
    }

    /// Whether the cache can be counted by: all was seen, or waited for long enough.
    pub fn satisfied(&self, key: &Key) -> bool {
        let mut all = self.lock();
        let done =
            all.get(key).is_none_or(|pending| pending.is_met() || pending.since.elapsed() > EXPECTATIONS_TIMEOUT);
        if done {
            all.remove(key);
        }
        done
    }

    /// The object of this key is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn pending(&self, key: &Key, raise: impl FnOnce(&mut Pending)) {
        let fresh = || Pending { creations: 0, deletions: HashSet::new(), since: Instant::now() };
        let mut all = self.lock();
        let pending = all.entry(key.clone()).or_insert_with(fresh);
        pending.since = Instant::now();
        raise(pending);
    }

    fn observe(&self, key: &Key, lower: impl FnOnce(&mut Pending)) {
        if let Some(pending) = self.lock().get_mut(key) {
            lower(pending);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn is_met(&self) -> bool {
        self.creations == 0 && self.deletions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn are_met_by_exactly_what_was_expected() {
        let (expectations, key) = (Expectations::new(), Key::new("default", "web"));
        assert!(expectations.satisfied(&key));
        expectations.expect_creations(&key, 2);
        expectations.expect_deletions(&key, ["u1".to_owned()]);
        expectations.creation_observed(&key);
        expectations.deletion_observed(&key, "another");
        expectations.deletion_observed(&key, "another");
        assert!(!expectations.satisfied(&key));
        expectations.creation_observed(&key);
        expectations.creation_observed(&key);
        assert!(!expectations.satisfied(&key));
        expectations.deletion_observed(&key, "u1");
        assert!(expectations.satisfied(&key));
    }

    #[tokio::test(start_paused = true)]
    async fn are_given_up_after_five_minutes() {
        let (expectations, key) = (Expectations::new(), Key::new("default", "web"));
        expectations.expect_creations(&key, 1);
        tokio::time::sleep(EXPECTATIONS_TIMEOUT).await;
        assert!(!expectations.satisfied(&key));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(expectations.satisfied(&key));
    }
}
