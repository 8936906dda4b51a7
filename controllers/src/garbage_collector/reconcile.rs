//! The loop: keeps the graph, and does what it finds to be done.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_client::{Action, Client, Error, WorkQueue, run_workers};
use futures::future::try_join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::graph::{Coordinates, FOREGROUND, Graph, Known, Look, Meta, ORPHAN, Orphans, Work};
use super::kinds::{Kinds, Watcher};
use super::mapper::Mapper;
use super::plan::{Owner, Plan, plan};
use crate::Context;
use crate::resource::Resource;

/// How often an owner of a kind that is not watched is asked for.
const UNWATCHED_RECHECK: Duration = Duration::from_secs(30);

/// Runs the collector until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let collector = Arc::new(Collector::new(&context));
    let kinds = Kinds::new(&context.client, collector.clone());
    let synced = kinds.synced();
    let working = async {
        // Not before every kind has been read: until then, owners are missing that are there.
        if shutdown.run_until_cancelled(synced).await.is_none() {
            return;
        }
        let (queue, workers) = (collector.queue.clone(), context.config.garbage_collector_workers);
        run_workers(queue, workers, move |work| collector.clone().reconcile(work), shutdown.clone()).await;
    };
    tokio::select! {
        () = working => {}
        () = kinds.follow() => {}
    }
}

struct Collector {
    client: Client,
    mapper: Mapper,
    graph: Mutex<Graph>,
    queue: WorkQueue<Work>,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collect(uid) => write!(f, "object {uid}"),
            Self::Orphan(uid) => write!(f, "dependents of {uid}"),
        }
    }
}

impl Watcher for Collector {
    fn seen(&self, object: Arc<dyn Meta>) {
        let work = self.graph().seen(object);
        self.add(work);
    }

    fn gone(&self, uid: &str) {
        let work = self.graph().gone(uid);
        self.add(work);
    }

    fn replaced(&self, group: &str, kind: &str, objects: Vec<Arc<dyn Meta>>) {
        let work = self.graph().replaced(group, kind, objects);
        self.add(work);
    }

    fn vanished(&self, group: &str, kind: &str) {
        let work = self.graph().vanished(group, kind);
        self.add(work);
    }
}

impl Collector {
    fn new(context: &Context) -> Self {
        Self {
            client: context.client.clone(),
            mapper: Mapper::default(),
            graph: Mutex::default(),
            queue: WorkQueue::new(),
        }
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, work: Vec<Work>) {
        work.into_iter().for_each(|one| self.queue.add(one));
    }

    async fn reconcile(self: Arc<Self>, work: Work) -> Result<Action, Error> {
        match work {
            Work::Collect(uid) => self.collect(&uid).await,
            Work::Orphan(uid) => self.orphan(&uid).await,
        }
    }

    async fn collect(&self, uid: &str) -> Result<Action, Error> {
        let look = self.graph().look(uid);
        match look {
            Look::Nothing => Ok(Action::Done),
            Look::Virtual(coordinates) => self.verify(&coordinates).await,
            Look::Waiting { object, blocked: false, .. } => self.remove_finalizer(&*object, FOREGROUND).await,
            Look::Waiting { blocking, .. } => {
                self.add(blocking.into_iter().map(Work::Collect).collect());
                Ok(Action::Done)
            }
            Look::Owned { object, owners, has_dependents, in_circle } => {
                let owners = try_join_all(owners.into_iter().map(|owner| self.classify(object.meta(), owner))).await?;
                let Some(owners) = owners.into_iter().collect::<Option<Vec<_>>>() else { return Ok(Action::Retry) };
                self.execute(&*object, plan(object.meta(), &owners, has_dependents, in_circle)).await
            }
        }
    }

    /// Asks for an owner that has not been seen.
    async fn verify(&self, owner: &Coordinates) -> Result<Action, Error> {
        match self.find(owner).await? {
            Found::Live(_) => Ok(Action::RequeueAfter(UNWATCHED_RECHECK)),
            Found::Absent => {
                let work = self.graph().absent(&owner.uid);
                self.add(work);
                Ok(Action::Done)
            }
            Found::Unknown => Ok(Action::Retry),
        }
    }

    /// What an owner is; `None` when that cannot be known now. The graph is believed where it says that an owner is
    /// there to stay, or was deleted; never where it merely does not have it.
    async fn classify(
        &self,
        dependent: &ObjectMeta,
        (reference, known): (OwnerReference, Known),
    ) -> Result<Option<(OwnerReference, Owner)>, Error> {
        let owner = match known {
            Known::Solid => Owner::Solid,
            Known::Gone => Owner::Absent,
            Known::Unknown => match self.find(&Coordinates::of(&reference, dependent)).await? {
                Found::Absent => Owner::Absent,
                Found::Live(meta) if is_waiting(&meta) => Owner::Waiting,
                Found::Live(_) => Owner::Solid,
                Found::Unknown => return Ok(None),
            },
        };
        Ok(Some((reference, owner)))
    }

    async fn find(&self, owner: &Coordinates) -> Result<Found, Error> {
        let Some(resource) = self.mapper.resource(&self.client, &owner.api_version, &owner.kind).await else {
            return Ok(Found::Unknown);
        };
        // A cluster-scoped object cannot have an owner in a namespace: there is no saying which one is meant.
        if resource.namespaced && owner.namespace.is_empty() {
            return Ok(Found::Live(Value::Null));
        }
        let object = resource.find_metadata(&self.client, &owner.namespace, &owner.name).await?;
        let meta = object.map(|mut object| object["metadata"].take()).filter(|meta| meta["uid"] == *owner.uid);
        Ok(meta.map_or(Found::Absent, Found::Live))
    }

    async fn execute(&self, object: &dyn Meta, plan: Plan) -> Result<Action, Error> {
        match plan {
            Plan::Keep => Ok(Action::Done),
            Plan::Unlink(kept) => self.relink(object, &kept).await,
            Plan::Delete { unblock, propagation } => {
                if unblock {
                    let owners = object.meta().owner_references.iter().flatten().cloned();
                    let unblocking: Vec<OwnerReference> =
                        owners.map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner }).collect();
                    // This makes a new version, and its coming here another look, which then deletes.
                    if Some(&unblocking) != object.meta().owner_references.as_ref() {
                        return self.relink(object, &unblocking).await;
                    }
                }
                self.delete(object, propagation.as_str()).await
            }
        }
    }

    /// Deletes exactly what was looked at: a change since then, be it another owner, is a conflict and another look.
    async fn delete(&self, object: &dyn Meta, propagation: &str) -> Result<Action, Error> {
        let Some(resource) = self.resource_of(object).await else { return Ok(Action::Retry) };
        let meta = object.meta();
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation,
            "preconditions": { "uid": meta.uid, "resourceVersion": meta.resource_version },
        });
        let (namespace, name) = place(meta);
        settle(resource.delete(&self.client, namespace, name, &options).await)
    }

    async fn relink(&self, object: &dyn Meta, owners: &[OwnerReference]) -> Result<Action, Error> {
        let references: Vec<Value> = owners.iter().map(encode).collect();
        let references = if references.is_empty() { Value::Null } else { references.into() };
        self.patch(object, json!({ "ownerReferences": references })).await
    }

    async fn remove_finalizer(&self, object: &dyn Meta, finalizer: &str) -> Result<Action, Error> {
        let left = object.meta().finalizers.iter().flatten().filter(|one| *one != finalizer);
        let left: Vec<&String> = left.collect();
        self.patch(object, json!({ "finalizers": left })).await
    }

    async fn patch(&self, object: &dyn Meta, mut metadata: Value) -> Result<Action, Error> {
        let Some(resource) = self.resource_of(object).await else { return Ok(Action::Retry) };
        let meta = object.meta();
        metadata["uid"] = json!(meta.uid);
        metadata["resourceVersion"] = json!(meta.resource_version);
        let (namespace, name) = place(meta);
        settle(resource.merge(&self.client, namespace, name, &json!({ "metadata": metadata })).await)
    }

    async fn resource_of(&self, object: &dyn Meta) -> Option<Arc<Resource>> {
        self.mapper.resource(&self.client, object.api_version(), object.kind()).await
    }

    /// Lets all dependents forget their owner, and then the owner go.
    async fn orphan(&self, uid: &str) -> Result<Action, Error> {
        let orphans = self.graph().orphans(uid);
        let Some(Orphans { owner, dependents }) = orphans else { return Ok(Action::Done) };
        let forgetting = dependents.iter().map(|dependent| async move {
            let owners = dependent.meta().owner_references.iter().flatten();
            let others: Vec<OwnerReference> = owners.filter(|one| one.uid != uid).cloned().collect();
            self.relink(&**dependent, &others).await
        });
        if try_join_all(forgetting).await?.contains(&Action::Retry) {
            return Ok(Action::Retry);
        }
        self.remove_finalizer(&*owner, ORPHAN).await
    }
}

/// What the server says about an owner.
enum Found {
    /// Its metadata.
    Live(Value),
    Absent,
    /// The server does not know its kind, or not yet.
    Unknown,
}

fn is_waiting(meta: &Value) -> bool {
    let mut finalizers = meta["finalizers"].as_array().into_iter().flatten();
    meta["deletionTimestamp"].is_string() && finalizers.any(|one| one == FOREGROUND)
}

fn place(meta: &ObjectMeta) -> (&str, &str) {
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn encode(reference: &OwnerReference) -> Value {
    let mut value = json!({
        "apiVersion": reference.api_version, "kind": reference.kind, "name": reference.name, "uid": reference.uid,
    });
    for (field, flag) in [("controller", reference.controller), ("blockOwnerDeletion", reference.block_owner_deletion)]
    {
        if let Some(flag) = flag {
            value[field] = flag.into();
        }
    }
    value
}

/// What has gone meanwhile is as well; what has changed is looked at again once the change is here.
fn settle(result: Result<(), Error>) -> Result<Action, Error> {
    match result {
        Ok(()) => Ok(Action::Done),
        Err(error) if error.is_not_found() => Ok(Action::Done),
        Err(error) if error.is_conflict() => Ok(Action::Retry),
        Err(error) => Err(error),
    }
}
