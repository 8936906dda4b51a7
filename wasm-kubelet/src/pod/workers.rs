//! The workers of a node: one is started when a pod is seen for the first time, told when its pod changes, and
//! forgotten when it ends. A worker that panics fails its pod, and no other.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_client::{Delta, Key, Patch};
use futures::FutureExt;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio_util::task::TaskTracker;

use super::host::Host;
use super::worker::{Shared, Worker};
use crate::static_pods::is_mirror;
use crate::static_pods::store::Changes;

/// All pods of a node.
pub struct Workers {
    host: Arc<Host>,
    /// By uid: a pod and the next one of its name have a worker each.
    running: Mutex<HashMap<String, Arc<Shared>>>,
    tasks: TaskTracker,
}

impl Workers {
    /// No pods yet.
    pub fn new(host: Arc<Host>) -> Arc<Self> {
        Arc::new(Self { host, running: Mutex::default(), tasks: TaskTracker::new() })
    }

    /// What all pods share.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Takes a change of the informer's cache: starts a worker, or wakes the one there is.
    pub fn changed(self: &Arc<Self>, delta: &Delta<Pod>) {
        match delta {
            Delta::Added(new) => self.attend(new),
            Delta::Updated { old, new } => {
                if old.metadata.uid != new.metadata.uid {
                    self.wake(old);
                }
                self.attend(new);
            }
            Delta::Deleted(old) => self.wake(old),
        }
    }

    /// What others may see of a pod.
    pub fn of(&self, pod: &Pod) -> Option<Arc<Shared>> {
        self.running().get(pod.metadata.uid.as_deref()?).cloned()
    }

    /// Every pod.
    pub fn all(&self) -> Vec<Arc<Shared>> {
        self.running().values().cloned().collect()
    }

    /// Whether a pod with this uid is known.
    pub fn knows(&self, uid: &str) -> bool {
        self.running().contains_key(uid)
    }

    /// Stops all containers, within their grace and the node's, and writes nothing about it: the pods are to go on
    /// when the kubelet does.
    pub async fn leave(&self) {
        let grace = SignedDuration::try_from(self.host.config.shutdown_grace).unwrap_or(SignedDuration::ZERO);
        let now = self.host.clock.wall();
        let deadline = now.saturating_add(grace).unwrap_or(now);
        let _ = self.host.leaving.set(deadline);
        for shared in self.all() {
            shared.changed.notify_one();
        }
        self.tasks.close();
        let kill = self.host.config.shutdown_grace + crate::limits::KILL_WAIT;
        if tokio::time::timeout(kill, self.tasks.wait()).await.is_err() {
            tracing::warn!("some containers did not end in time");
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Arc<Shared>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, pod: &Pod) {
        if let Some(shared) = self.of(pod) {
            shared.changed.notify_one();
        }
    }

    /// Takes a change of the folder of static pods.
    pub async fn take(self: &Arc<Self>, changes: Changes) {
        for pod in &changes.begun {
            self.attend(pod);
        }
        for pod in &changes.ended {
            self.wake(pod);
            if let (Some(uid), None) = (&pod.metadata.uid, self.of(pod)) {
                // Its worker has failed.
                let key = Key::of(&**pod);
                self.host.pods.fixed().forget(&key, uid);
                self.succeed(key, uid.clone()).await;
            }
        }
    }

    fn attend(self: &Arc<Self>, pod: &Arc<Pod>) {
        let is_ours = self.host.pods.is_ours(pod) && !is_mirror(pod);
        let (Some(uid), true) = (&pod.metadata.uid, is_ours) else { return };
        if let Some(shared) = self.running().get(uid) {
            return shared.changed.notify_one();
        }
        if self.host.leaving.get().is_some() {
            return;
        }
        let worker = Box::new(Worker::new(self.host.clone(), pod));
        let shared = worker.shared().clone();
        self.running().insert(uid.clone(), shared.clone());
        let workers = self.clone();
        self.tasks.spawn(async move {
            if AssertUnwindSafe(worker.run()).catch_unwind().await.is_err() {
                workers.fail(&shared).await;
            }
            workers.running().remove(&shared.uid);
            shared.close();
            if shared.is_static {
                workers.succeed(shared.key.clone(), shared.uid.clone()).await;
            }
        });
    }

    /// Begins the static pod that comes after one whose worker has ended.
    async fn succeed(self: &Arc<Self>, key: Key, uid: String) {
        let pods = self.host.pods.fixed().clone();
        let next = tokio::task::spawn_blocking(move || pods.succeed(&key, &uid)).await;
        if let Ok(Some(next)) = next {
            self.attend(&next);
        }
    }

    async fn fail(&self, shared: &Shared) {
        tracing::error!(pod = %shared.key, "the pod's worker panicked");
        shared.abandon();
        let status = json!({"phase": "Failed", "reason": "WorkerPanicked", "message": "the kubelet failed while it ran the pod"});
        if shared.is_static {
            return self.host.pods.fixed().keep(&shared.key, &shared.uid, status);
        }
        let patch = Patch::Strategic(json!({"metadata": {"uid": shared.uid}, "status": status}));
        let pods = self.host.client.namespaced::<Pod>(&shared.key.namespace);
        if let Err(error) = pods.patch_status(&shared.key.name, &patch).await {
            tracing::warn!(pod = %shared.key, error = &error as &dyn std::error::Error, "cannot write a failed pod's status");
        }
    }
}
