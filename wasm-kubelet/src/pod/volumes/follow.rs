//! Watches the config maps and secrets that the node's pods have as files: one watch an object, however many pods have it,
//! for as long as one of them does. Who is told reads the object anew.
//!
//! A node may see only what its pods name, so that each object is watched by itself. Source: kubelet, the watch-based
//! object cache.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use coracle_client::{Client, follow_object};
use k8s_openapi::api::core::v1 as core;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

/// A config map or a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    ConfigMap,
    Secret,
}

/// The objects that are watched.
pub struct Follower {
    client: Client,
    tasks: TaskTracker,
    followed: Mutex<HashMap<Object, Weak<Followed>>>,
}

/// One object; it is watched while this lives.
pub struct Followed {
    listeners: Arc<Mutex<Vec<Weak<Notify>>>>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    /// Watches nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client, tasks: TaskTracker::new(), followed: Mutex::default() }
    }

    /// From now on `wake` is told when the object changes, is made or is removed, and once when the watch begins.
    pub fn follow(&self, object: Object, wake: &Arc<Notify>) -> Arc<Followed> {
        let mut all = lock(&self.followed);
        let known = all.get(&object).and_then(Weak::upgrade);
        let followed = known.unwrap_or_else(|| {
            all.retain(|_, followed| followed.strong_count() > 0);
            let followed = Arc::new(self.start(&object));
            all.insert(object, Arc::downgrade(&followed));
            followed
        });
        let mut listeners = lock(&followed.listeners);
        if listeners.len() == listeners.capacity() {
            listeners.retain(|listener| listener.strong_count() > 0);
        }
        if !listeners.iter().any(|listener| std::ptr::eq(listener.as_ptr(), Arc::as_ptr(wake))) {
            listeners.push(Arc::downgrade(wake));
        }
        drop(listeners);
        followed
    }

    fn start(&self, object: &Object) -> Followed {
        let listeners: Arc<Mutex<Vec<Weak<Notify>>>> = Arc::default();
        let told = listeners.clone();
        let tell = move || {
            lock(&told).retain(|listener| listener.upgrade().inspect(|wake| wake.notify_one()).is_some());
        };
        let (client, namespace, name) = (self.client.clone(), object.namespace.clone(), object.name.clone());
        let task = match object.kind {
            Kind::ConfigMap => self.tasks.spawn(follow_object::<core::ConfigMap>(client, namespace, name, tell)),
            Kind::Secret => self.tasks.spawn(follow_object::<core::Secret>(client, namespace, name, tell)),
        };
        Followed { listeners, task: task.abort_handle() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_api::Object as _;
    use coracle_client::testing::FakeServer;

    #[tokio::test]
    async fn an_object_is_watched_once_and_while_somebody_has_it() {
        let server = FakeServer::new();
        let follower = Follower::new(server.client());
        let object = |name: &str| Object { kind: Kind::ConfigMap, namespace: "n".into(), name: name.into() };
        let map = |name: &str, value: &str| {
            let json = format!(r#"{{"metadata":{{"name":"{name}","namespace":"n"}},"data":{{"k":"{value}"}}}}"#);
            core::ConfigMap::decode(json.as_bytes()).unwrap()
        };
        server.put(&map("m", "1"));
        let (one, two, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let first = follower.follow(object("m"), &one);
        one.notified().await;
        let second = follower.follow(object("m"), &two);
        let third = follower.follow(object("other"), &other);
        other.notified().await;
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &third));
        let watches = || server.requests().iter().filter(|request| request.contains("watch")).count();
        assert_eq!(watches(), 2, "{:?}", server.requests());
        server.put(&map("m", "2"));
        one.notified().await;
        two.notified().await;
        server.remove::<core::ConfigMap>("n", "m");
        one.notified().await;
        assert_eq!(watches(), 2, "{:?}", server.requests());
        drop((first, second));
        assert!(lock(&follower.followed).get(&object("m")).unwrap().upgrade().is_none());
        assert_eq!(third.listeners.lock().unwrap().len(), 1);
    }
}
