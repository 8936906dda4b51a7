//! The pods that have lost their finalizer while the cache may still show it: they are counted without waiting for the
//! cache, and are not let go, nor taken for new failures, once more.
//!
//! Source: upstream's `uidTrackingExpectations`.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_client::Key;

/// By job: the uids of its pods. Cheap where nothing is awaited.
#[derive(Debug, Default)]
pub struct Untracked {
    uids: Mutex<HashMap<Key, HashSet<String>>>,
}

impl Untracked {
    /// Before the finalizers of these pods are removed.
    pub fn expect(&self, job: &Key, uids: impl IntoIterator<Item = String>) {
        self.lock().entry(job.clone()).or_default().extend(uids);
    }

    /// The removal was seen, or did not happen.
    pub fn observed(&self, job: &Key, uid: &str) {
        let mut all = self.lock();
        if let Some(uids) = all.get_mut(job) {
            uids.remove(uid);
            if uids.is_empty() {
                all.remove(job);
            }
        }
    }

    /// Those of a job. To be asked before the cache is read.
    pub fn of(&self, job: &Key) -> HashSet<String> {
        self.lock().get(job).cloned().unwrap_or_default()
    }

    /// The job is gone.
    pub fn forget(&self, job: &Key) {
        self.lock().remove(job);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, HashSet<String>>> {
        self.uids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
