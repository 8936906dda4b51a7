//! The loop: wakes a set when it or one of its pods changes, and brings it one step nearer to what it wants.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{
    Action, Delta, Error as ClientError, Expectations, Index, Informer, Key, Recorder, WorkQueue, reference,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use super::plan::{Observed, Plan, plan};
use super::set::{Replicated, Set, Status};
use super::status;
use crate::ownership::{self, Claims, claims, controller_of, controller_reference};
use crate::pod_control::{FIRST_BATCH_PODS, PodControl, pod_from_template, uid};
use crate::reconciler::{self, Reconciler};
use crate::written::Written;
use crate::{Context, pod};

/// When a set is looked at again whose expectations are not met: normally what is expected wakes it, long before.
const UNSETTLED_RECHECK: Duration = Duration::from_secs(60);

/// Runs the controller for `K` until `shutdown`.
pub async fn run<K: Replicated>(context: Context, shutdown: CancellationToken) {
    let recorder = context.recorder(K::COMPONENT, &shutdown);
    let workers = context.config.replica_set_workers;
    reconciler::run(Controller::<K>::new(context, recorder), workers, shutdown).await;
}

struct Controller<K: Replicated> {
    context: Context,
    recorder: Recorder,
    sets: Informer<K>,
    sets_by_namespace: Index<K>,
    /// All sets of one owner: the replica sets of a deployment.
    sets_by_owner: Index<K>,
    pods: Informer<Pod>,
    pods_by_owner: Index<Pod>,
    queue: WorkQueue<Key>,
    expectations: Expectations,
    /// Statuses.
    written: Written,
}

impl<K: Replicated> Reconciler for Controller<K> {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    /// Subscribes to what can make work.
    fn wake(self: &Arc<Self>) {
        let controller = Arc::downgrade(self);
        self.sets.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.written.seen(&delta.key(), delta);
                controller.queue.add(delta.key());
            }
        });
        let controller = Arc::downgrade(self);
        self.pods.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.pod_changed(delta);
            }
        });
    }

    async fn synced(&self) {
        self.sets.synced().await;
        self.pods.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, ClientError> {
        let Some(object) = self.sets.get(&key) else {
            self.expectations.forget(&key);
            self.written.forget(&key);
            return Ok(Action::Done);
        };
        let Some(set) = object.set() else { return Ok(Action::Done) };
        // Asked before the pods are read: what is met afterwards may not be in this reading.
        let settled = self.expectations.satisfied(&key);
        let pods = self.pods_of(&set);
        let active =
            self.claim(&object, &set, pods.iter().filter(|pod| pod::is_active(pod)).cloned().collect()).await?;
        let terminating = pods.iter().filter(|pod| is_terminating(&set, pod)).count();
        let related = if active.len() > set.replicas { self.related(&object) } else { Vec::new() };
        let scaled = self
            .execute(
                &object,
                &set,
                plan(Observed {
                    wanted: set.replicas,
                    deleting: set.is_deleting(),
                    settled,
                    active: active.clone(),
                    related,
                    now: self.context.clock.wall(),
                }),
            )
            .await;
        let failure = scaled.as_ref().err().map(ToString::to_string);
        let next = status::next(&set, &active, terminating, failure.as_deref(), self.context.clock.wall());
        self.report(&object, &set, &next.status).await?;
        scaled?;
        let recheck = next.recheck.map(SignedDuration::unsigned_abs);
        let recheck =
            if settled { recheck } else { Some(recheck.map_or(UNSETTLED_RECHECK, |soon| soon.min(UNSETTLED_RECHECK))) };
        Ok(recheck.map_or(Action::Done, Action::RequeueAfter))
    }
}

impl<K: Replicated> Controller<K> {
    fn new(context: Context, recorder: Recorder) -> Self {
        let (sets, pods) = (context.informers.get::<K>(), context.informers.get::<Pod>());
        Self {
            sets_by_namespace: ownership::by_namespace(&sets),
            sets_by_owner: ownership::by_controller(&sets),
            pods_by_owner: ownership::by_controller(&pods),
            queue: WorkQueue::new(),
            expectations: Expectations::new(),
            written: Written::default(),
            context,
            recorder,
            sets,
            pods,
        }
    }

    fn pod_changed(&self, delta: &Delta<Pod>) {
        match delta {
            Delta::Added(pod) if pod::is_deleting(pod) => self.pod_gone(pod),
            Delta::Added(pod) => match self.owner_of(&pod.metadata) {
                Some(key) => {
                    self.expectations.creation_observed(&key);
                    self.queue.add(key);
                }
                None => self.wake_adopters(&pod.metadata),
            },
            Delta::Updated { old, new } => self.pod_updated(old, new),
            Delta::Deleted(pod) => self.pod_gone(pod),
        }
    }

    fn pod_updated(&self, old: &Pod, new: &Pod) {
        if old.metadata.owner_references != new.metadata.owner_references
            && let Some(former) = self.owner_of(&old.metadata)
        {
            self.queue.add(former);
        }
        // A pod that is going is no replica any more: this is the moment that a deletion was waited for.
        if pod::is_deleting(new) {
            return self.pod_gone(new);
        }
        match self.owner_of(&new.metadata) {
            Some(key) if !pod::is_active(new) => self.queue.add(key),
            // What else changes in a replica changes only the status, so a burst of them is one look.
            Some(key) => self.queue.add_after(key, self.context.config.status_batch_period),
            None if old.metadata.labels != new.metadata.labels || controller_of(&old.metadata).is_some() => {
                self.wake_adopters(&new.metadata);
            }
            None => {}
        }
    }

    fn pod_gone(&self, pod: &Pod) {
        if let Some(key) = self.owner_of(&pod.metadata) {
            self.expectations.deletion_observed(&key, uid(pod));
            self.queue.add(key);
        }
    }

    /// The set that controls an object: of this kind, and the one of its name that has this uid (or, as its creation
    /// may not have been seen yet, no other one).
    fn owner_of(&self, meta: &ObjectMeta) -> Option<Key> {
        let owner = controller_of(meta).filter(|owner| owner.kind == K::KIND && owner.api_version == K::API_VERSION)?;
        let key = Key::new(meta.namespace.clone().unwrap_or_default(), owner.name.clone());
        let known = self.sets.get(&key)?;
        (known.metadata().uid.as_ref() == Some(&owner.uid)).then_some(key)
    }

    /// Wakes every set that would take this orphan.
    fn wake_adopters(&self, meta: &ObjectMeta) {
        let (Some(namespace), Some(labels)) = (&meta.namespace, &meta.labels) else { return };
        for set in self.sets_by_namespace.get(namespace) {
            if set.set().is_some_and(|set| set.matches(labels)) {
                self.queue.add(Key::of(&*set));
            }
        }
    }

    /// The pods that the set controls, and the orphans beside them.
    fn pods_of(&self, set: &Set<'_>) -> Vec<Arc<Pod>> {
        let mut pods = self.pods_by_owner.get(set.meta.uid.as_deref().unwrap_or_default());
        pods.extend(self.pods_by_owner.get(&ownership::orphans_key(set.meta)));
        pods
    }

    async fn claim(&self, object: &Arc<K>, set: &Set<'_>, active: Vec<Arc<Pod>>) -> Result<Vec<Arc<Pod>>, ClientError> {
        let Claims { mut owned, adopt, release } =
            claims(set.meta, active, |pod| &pod.metadata, |labels| set.matches(labels));
        let objects = self.context.client.namespaced::<Pod>(set.meta.namespace.as_deref().unwrap_or_default());
        owned.extend(ownership::take(&self.context.client, &**object, &objects, adopt, None).await?);
        ownership::release(set.meta, &objects, &release, None).await?;
        Ok(owned)
    }

    /// The pods of all sets that share this one's owner.
    fn related(&self, object: &K) -> Vec<Arc<Pod>> {
        let pods_of = |uid: &Option<String>| self.pods_by_owner.get(uid.as_deref().unwrap_or_default());
        match controller_of(object.metadata()) {
            Some(owner) => {
                self.sets_by_owner.get(&owner.uid).iter().flat_map(|set| pods_of(&set.metadata().uid)).collect()
            }
            None => pods_of(&object.metadata().uid),
        }
    }

    async fn execute(&self, object: &K, set: &Set<'_>, plan: Plan) -> Result<(), ClientError> {
        let control = PodControl {
            recorder: &self.recorder,
            expectations: &self.expectations,
            key: set.key(),
            owner: reference(object),
            pods: self.context.client.namespaced::<Pod>(set.meta.namespace.as_deref().unwrap_or_default()),
        };
        match plan {
            Plan::Keep => Ok(()),
            Plan::Create(count) => {
                let pod = Arc::new(pod_from_template(set.meta, set.template, controller_reference(object)));
                control.create(&vec![pod; count], FIRST_BATCH_PODS).await
            }
            Plan::Delete(pods) => control.delete(&pods).await,
        }
    }

    /// Writes a status that has changed; where the object has too, once more onto the new one. While the last one is not
    /// in the cache, nothing is written: its coming is another look, which then says all that has happened meanwhile.
    async fn report(&self, object: &K, set: &Set<'_>, status: &Status) -> Result<(), ClientError> {
        let key = set.key();
        if set.status == *status || !self.written.all_seen(&key) {
            return Ok(());
        }
        let objects = self.context.client.namespaced::<K>(&key.namespace);
        let written = match objects.update_status(&object.with_status(status)).await {
            Err(error) if error.is_conflict() => {
                let fresh = objects.get(&key.name).await?;
                objects.update_status(&fresh.with_status(status)).await
            }
            other => other,
        };
        match written {
            Err(error) if !error.is_not_found() => Err(error),
            Err(_) => Ok(()),
            Ok(written) => {
                self.written.wrote(&key, &written, &self.sets);
                Ok(())
            }
        }
    }
}

/// Whether a pod is one of the set's, on its way out but not finished.
fn is_terminating(set: &Set<'_>, pod: &Pod) -> bool {
    let ours = controller_of(&pod.metadata).is_some_and(|owner| Some(&owner.uid) == set.meta.uid.as_ref());
    ours && pod::is_deleting(pod) && !pod::is_finished(pod)
}
