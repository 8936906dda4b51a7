//! What a controller has written and not yet seen in its cache.
//!
//! Expectations count what comes and goes; this is for what changes. A plan that is made on objects from before one's own
//! last writes repeats them elsewhere: a deployment that does not see that it has grown one replica set grows another.
//!
//! Source: upstream's way of keeping controllers from acting on stale caches, by comparing resource versions.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use coracle_api::Object;
use coracle_client::{Delta, Informer, Key};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The newest written versions, by uid, of what was written for each key and has not been seen.
#[derive(Debug, Default)]
pub struct Written {
    unseen: Mutex<HashMap<Key, HashMap<String, u64>>>,
}

impl Written {
    /// Takes note of an object that was written for `key`, as the server answered. `cache` must be the one whose changes
    /// come to [`Written::seen`].
    pub fn wrote<K: Object>(&self, key: &Key, object: &K, cache: &Informer<K>) {
        let Some((uid, version)) = version(object.metadata()) else { return };
        let mut unseen = self.lock();
        // The cache may have it before the answer is here; and it changes before `seen` is called.
        let cached = cache.get(&Key::of(object)).and_then(|cached| self::version(cached.metadata()));
        if cached.is_none_or(|(cached_uid, cached)| cached_uid == uid && cached < version) {
            unseen.entry(key.clone()).or_default().insert(uid, version);
        }
    }

    /// Takes note of a change in the cache.
    pub fn seen<K: Object>(&self, key: &Key, delta: &Delta<K>) {
        let meta = delta.object().metadata();
        let mut unseen = self.lock();
        let Some(awaited) = unseen.get_mut(key) else { return };
        let gone = matches!(delta, Delta::Deleted(_));
        awaited.retain(|uid, version| match self::version(meta) {
            Some((seen_uid, seen)) => seen_uid != *uid || (!gone && seen < *version),
            None => meta.uid.as_ref() != Some(uid),
        });
        if awaited.is_empty() {
            unseen.remove(key);
        }
    }

    /// Whether the cache has all that was written for `key`.
    pub fn all_seen(&self, key: &Key) -> bool {
        !self.lock().contains_key(key)
    }

    /// The object of this key is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, HashMap<String, u64>>> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resource versions are numbers that grow; one that is none cannot be waited for.
fn version(meta: &ObjectMeta) -> Option<(String, u64)> {
    Some((meta.uid.clone()?, meta.resource_version.as_ref()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_client::Informers;
    use coracle_client::testing::FakeServer;
    use k8s_openapi::api::core::v1::ConfigMap;
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    fn at(version: u64) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some("a".into()),
            namespace: Some("default".into()),
            uid: Some("uid-a".into()),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[tokio::test]
    async fn a_write_is_awaited_until_it_or_a_later_one_is_seen() {
        let shutdown = CancellationToken::new();
        let cache = Informers::new(FakeServer::new().client(), shutdown.clone()).get::<ConfigMap>();
        let (written, key) = (Written::default(), Key::new("default", "owner"));
        let updated = |version| Delta::Updated { old: Arc::new(at(1)), new: Arc::new(at(version)) };
        written.wrote(&key, &at(7), &cache);
        written.seen(&key, &updated(6));
        assert!(!written.all_seen(&key));
        written.seen(&key, &updated(9));
        assert!(written.all_seen(&key));
        written.wrote(&key, &at(12), &cache);
        written.seen(&key, &Delta::Deleted(Arc::new(at(11))));
        assert!(written.all_seen(&key), "what is gone is not awaited");
        shutdown.cancel();
    }
}
