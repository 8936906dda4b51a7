//! The loop: wakes a deployment when it, one of its replica sets or (when recreating) the last old pod changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_client::{
    Action, DeleteOptions, Delta, Error as ClientError, EventType, Index, Informer, Key, Objects, Recorder, WorkQueue,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Preconditions};
use tokio_util::sync::CancellationToken;

use super::draft::Update;
use super::plan::{Plan, plan};
use super::revision::REVISION;
use super::rollout::Observed;
use super::target::{Strategy, Target};
use super::{conditions, template};
use crate::ownership::{self, Claims, claims, controller_of};
use crate::reconciler::{self, Reconciler};
use crate::written::Written;
use crate::{Context, pod};

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let recorder = context.recorder("deployment-controller", &shutdown);
    let workers = context.config.deployment_workers;
    reconciler::run(Controller::new(context, recorder), workers, shutdown).await;
}

struct Controller {
    context: Context,
    recorder: Recorder,
    deployments: Informer<Deployment>,
    deployments_by_namespace: Index<Deployment>,
    sets: Informer<ReplicaSet>,
    sets_by_owner: Index<ReplicaSet>,
    pods: Informer<Pod>,
    pods_by_owner: Index<Pod>,
    queue: WorkQueue<Key>,
    /// Replica sets, and the deployments themselves.
    written: Written,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let controller = Arc::downgrade(self);
        self.deployments.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.written.seen(&delta.key(), delta);
                controller.queue.add(delta.key());
            }
        });
        let controller = Arc::downgrade(self);
        self.sets.on_change(move |delta| {
            if let Some(controller) = controller.upgrade() {
                controller.set_changed(delta);
            }
        });
        let controller = Arc::downgrade(self);
        self.pods.on_change(move |delta| {
            if let (Delta::Deleted(pod), Some(controller)) = (delta, controller.upgrade()) {
                controller.pod_deleted(pod);
            }
        });
    }

    async fn synced(&self) {
        self.deployments.synced().await;
        self.sets.synced().await;
        self.pods.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, ClientError> {
        let Some(deployment) = self.deployments.get(&key) else {
            self.written.forget(&key);
            return Ok(Action::Done);
        };
        // The coming of what is awaited is what wakes us.
        if !self.written.all_seen(&key) {
            return Ok(Action::Done);
        }
        let Some(target) = Target::of(&deployment) else { return Ok(Action::Done) };
        if target.selector.is_everything() {
            return self.refuse(&target).await;
        }
        let sets = self.claim(&target).await?;
        let observed = Observed { pods: self.pods_of(&target, &sets), now: self.now(), sets, target };
        let plan = plan(&observed);
        let recheck = plan.recheck;
        match self.execute(&observed.target, plan).await {
            // Nothing can be made in a namespace that goes, and nothing has to.
            Err(error) if error.is_namespace_terminating() => Ok(Action::Done),
            Err(error) => Err(error),
            Ok(()) => Ok(recheck.map_or(Action::Done, |left| Action::RequeueAfter(left.unsigned_abs()))),
        }
    }
}

impl Controller {
    fn new(context: Context, recorder: Recorder) -> Self {
        let informers = &context.informers;
        let (deployments, sets, pods) = (informers.get(), informers.get(), informers.get());
        Self {
            deployments_by_namespace: ownership::by_namespace(&deployments),
            sets_by_owner: ownership::by_controller(&sets),
            pods_by_owner: ownership::by_controller(&pods),
            queue: WorkQueue::new(),
            written: Written::default(),
            context,
            recorder,
            deployments,
            sets,
            pods,
        }
    }

    fn set_changed(&self, delta: &Delta<ReplicaSet>) {
        let meta = &delta.object().metadata;
        let before = match delta {
            Delta::Updated { old, .. } => owner_of(&old.metadata),
            _ => None,
        };
        for owner in before.into_iter().chain(owner_of(meta)) {
            self.written.seen(&owner, delta);
            self.queue.add(owner);
        }
        if controller_of(meta).is_none() {
            self.wake_adopters(meta);
        }
    }

    fn queue_owner(&self, meta: &ObjectMeta) {
        owner_of(meta).into_iter().for_each(|owner| self.queue.add(owner));
    }

    /// Wakes every deployment that would take this orphan.
    fn wake_adopters(&self, meta: &ObjectMeta) {
        let (Some(namespace), Some(labels)) = (&meta.namespace, &meta.labels) else { return };
        for deployment in self.deployments_by_namespace.get(namespace) {
            if Target::of(&deployment).is_some_and(|target| target.selector.matches(Some(labels))) {
                self.queue.add(Key::of(&*deployment));
            }
        }
    }

    /// A deployment that recreates waits for its last old pod.
    fn pod_deleted(&self, pod: &Pod) {
        let Some(owner) = controller_of(&pod.metadata).filter(|owner| owner.kind == "ReplicaSet") else { return };
        let key = Key::new(pod.metadata.namespace.clone().unwrap_or_default(), owner.name.clone());
        if let Some(set) = self.sets.get(&key) {
            let owner = controller_of(&set.metadata).map(|owner| Key::new(key.namespace, owner.name.clone()));
            let deployment = owner.and_then(|owner| self.deployments.get(&owner));
            let target = deployment.as_ref().and_then(|deployment| Target::of(deployment));
            if target.is_some_and(|target| target.strategy == Strategy::Recreate) {
                self.queue_owner(&set.metadata);
            }
        }
    }

    /// Conditions tell whole seconds, and are compared with those that were written before.
    fn now(&self) -> Timestamp {
        self.context.clock.time().0
    }

    /// A selector of everything would take every replica set of the namespace.
    async fn refuse(&self, target: &Target<'_>) -> Result<Action, ClientError> {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        self.recorder.event(target.object, EventType::Warning, "SelectingAll", message);
        let status = DeploymentStatus { observed_generation: Some(target.generation), ..target.status() };
        self.report(target, None, status).await?;
        Ok(Action::Done)
    }

    async fn claim(&self, target: &Target<'_>) -> Result<Vec<Arc<ReplicaSet>>, ClientError> {
        let meta = &target.object.metadata;
        let mut sets = self.sets_by_owner.get(meta.uid.as_deref().unwrap_or_default());
        sets.extend(self.sets_by_owner.get(&ownership::orphans_key(meta)));
        let Claims { mut owned, adopt, release } =
            claims(meta, sets, |set| &set.metadata, |labels| target.selector.matches(Some(labels)));
        let objects = self.replica_sets(target);
        owned.extend(ownership::take(&self.context.client, target.object, &objects, adopt, None).await?);
        ownership::release(meta, &objects, &release, None).await?;
        Ok(owned)
    }

    fn replica_sets(&self, target: &Target<'_>) -> Objects<ReplicaSet> {
        self.context.client.namespaced(target.object.metadata.namespace.as_deref().unwrap_or_default())
    }

    fn pods_of(&self, target: &Target<'_>, sets: &[Arc<ReplicaSet>]) -> BTreeMap<String, usize> {
        if target.strategy != Strategy::Recreate {
            return BTreeMap::new();
        }
        let uids = sets.iter().filter_map(|set| set.metadata.uid.clone());
        uids.map(|uid| {
            let running = self.pods_by_owner.get(&uid).iter().filter(|pod| !pod::is_finished(pod)).count();
            (uid, running)
        })
        .collect()
    }

    async fn execute(&self, target: &Target<'_>, plan: Plan) -> Result<(), ClientError> {
        let sets = self.replica_sets(target);
        if let Some(set) = &plan.create {
            self.create(target, &sets, set, &plan.status).await?;
        }
        for update in &plan.update {
            self.update(target, &sets, update).await?;
        }
        for set in &plan.delete {
            let preconditions = Preconditions {
                uid: set.metadata.uid.clone(),
                resource_version: set.metadata.resource_version.clone(),
            };
            let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
            match sets.delete(set.metadata.name.as_deref().unwrap_or_default(), &options).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        self.report(target, plan.revision, plan.status).await
    }

    async fn create(
        &self,
        target: &Target<'_>,
        sets: &Objects<ReplicaSet>,
        set: &ReplicaSet,
        status: &DeploymentStatus,
    ) -> Result<(), ClientError> {
        match sets.create(set).await {
            Ok(created) => {
                self.written.wrote(&Key::of(target.object), &created, &self.sets);
                self.tell_scaled(target, &created, 0, replicas(&created));
                Ok(())
            }
            Err(error) if error.is_already_exists() => self.resolve_collision(target, sets, set, error).await,
            Err(error) if error.is_namespace_terminating() => Err(error),
            Err(error) => {
                self.tell_not_created(target, set, status, &error).await?;
                Err(error)
            }
        }
    }

    /// The name is taken: by the very set that the cache does not have yet, which is fine, or by another, in which
    /// case the next look names it differently.
    async fn resolve_collision(
        &self,
        target: &Target<'_>,
        sets: &Objects<ReplicaSet>,
        set: &ReplicaSet,
        error: ClientError,
    ) -> Result<(), ClientError> {
        let Some(taken) = sets.find(set.metadata.name.as_deref().unwrap_or_default()).await? else { return Err(error) };
        let ours = controller_of(&taken.metadata).map(|owner| &owner.uid) == target.object.metadata.uid.as_ref();
        let template = taken.spec.as_ref().and_then(|spec| spec.template.as_ref());
        if ours && template.is_some_and(|template| template::same(template, target.template)) {
            return Ok(());
        }
        let mut status = target.status();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.report(target, None, status).await?;
        Err(error)
    }

    async fn tell_not_created(
        &self,
        target: &Target<'_>,
        set: &ReplicaSet,
        status: &DeploymentStatus,
        error: &ClientError,
    ) -> Result<(), ClientError> {
        const REASON: &str = "ReplicaSetCreateError";
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Failed to create new replica set \"{name}\": {error}");
        self.recorder.event(target.object, EventType::Warning, REASON, message.clone());
        if target.progress_deadline.is_none() {
            return Ok(());
        }
        let mut status = status.clone();
        let list = status.conditions.get_or_insert_default();
        conditions::set(list, conditions::new("Progressing", "False", REASON, message, self.now()));
        self.report(target, None, status).await
    }

    async fn update(
        &self,
        target: &Target<'_>,
        sets: &Objects<ReplicaSet>,
        update: &Update,
    ) -> Result<(), ClientError> {
        let updated = sets.update(&update.replica_set).await?;
        self.written.wrote(&Key::of(target.object), &updated, &self.sets);
        self.tell_scaled(target, &updated, update.from, update.to);
        Ok(())
    }

    fn tell_scaled(&self, target: &Target<'_>, set: &ReplicaSet, from: i32, to: i32) {
        if from == to {
            return;
        }
        let (direction, name) =
            (if from < to { "up" } else { "down" }, set.metadata.name.as_deref().unwrap_or_default());
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.recorder.event(target.object, EventType::Normal, "ScalingReplicaSet", message);
    }

    /// Writes the status and the revision, where one has changed. The status endpoint of deployments takes annotations
    /// too: upstream's controller relies on that for the revision.
    async fn report(
        &self,
        target: &Target<'_>,
        revision: Option<String>,
        status: DeploymentStatus,
    ) -> Result<(), ClientError> {
        if revision.is_none() && target.object.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut deployment = target.object.clone();
        deployment.status = Some(status);
        if let Some(revision) = revision {
            deployment.metadata.annotations.get_or_insert_default().insert(REVISION.to_owned(), revision);
        }
        let key = Key::of(&deployment);
        match self.context.client.namespaced::<Deployment>(&key.namespace).update_status(&deployment).await {
            Err(error) if !error.is_not_found() => Err(error),
            Err(_) => Ok(()),
            Ok(written) => {
                self.written.wrote(&key, &written, &self.deployments);
                Ok(())
            }
        }
    }
}

/// The deployment that controls an object.
fn owner_of(meta: &ObjectMeta) -> Option<Key> {
    let owner = controller_of(meta).filter(|owner| owner.kind == "Deployment")?;
    Some(Key::new(meta.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}
