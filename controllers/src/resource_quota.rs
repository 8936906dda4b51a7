//! The resource quota controller: counts what a namespace has of what its quotas limit, and says so in their status.
//!
//! The API server charges a quota for what is made; what is deleted, finished or never stored after all is found here, by
//! counting again. A quota is counted when its limits change, when something in its namespace goes, and now and then.
//! An object that has been charged for may not be there yet when it is looked for, so a count that is lower than what was
//! charged is made once more.
//!
//! Source: upstream's resourcequota controller.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::any::AnyObject;
use coracle_api::quota::{self, Amounts};
use coracle_api::{Object, pods};
use coracle_client::{Action, Client, Delta, Error, Index, Informer, Informers, Key, ListOptions, WorkQueue};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota, ResourceQuotaStatus, Secret, Service,
};
use tokio_util::sync::CancellationToken;

use crate::discovery::discover;
use crate::reconciler::{self, Reconciler};
use crate::{Context, ownership};

/// How often a quota is counted that nothing seems to have happened to.
const RESYNC: Duration = Duration::from_secs(5 * 60);

/// How often, when it limits a kind that is not watched here.
const UNWATCHED_RESYNC: Duration = Duration::from_secs(10);

/// How long after a count that was lower than the charges it is made once more.
const RECOUNT: Duration = Duration::from_secs(1);

/// For so long what goes is gathered before it is counted.
const BATCH_PERIOD: Duration = Duration::from_millis(100);

/// Kinds whose objects are seen to go, by the names that quotas count them by.
const WATCHED: [&str; 8] = [
    "count/configmaps",
    "count/deployments.apps",
    "count/persistentvolumeclaims",
    "count/pods",
    "count/replicasets.apps",
    "count/replicationcontrollers",
    "count/secrets",
    "count/services",
];

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    reconciler::run(Controller::new(&context), context.config.resource_quota_workers, shutdown).await;
}

struct Controller {
    client: Client,
    informers: Informers,
    quotas: Informer<ResourceQuota>,
    by_namespace: Index<ResourceQuota>,
    queue: WorkQueue<Key>,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let queue = self.queue.clone();
        self.quotas.on_change(move |delta| {
            let (Delta::Added(quota) | Delta::Updated { new: quota, .. }) = delta else { return };
            if limits_changed(quota) || matches!(delta, Delta::Added(_)) {
                queue.add(delta.key());
            }
        });
        self.wake_when_gone::<Pod>(|old, new| pods::is_finished(new) && !pods::is_finished(old));
        self.wake_when_gone::<Service>(|old, new| old.spec != new.spec);
        self.wake_when_gone::<PersistentVolumeClaim>(|_, _| false);
        self.wake_when_gone::<ConfigMap>(|_, _| false);
        self.wake_when_gone::<Secret>(|_, _| false);
        self.wake_when_gone::<ReplicationController>(|_, _| false);
        self.wake_when_gone::<Deployment>(|_, _| false);
        self.wake_when_gone::<ReplicaSet>(|_, _| false);
    }

    async fn synced(&self) {
        self.quotas.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        // What is read before the objects: a charge that comes between is a conflict.
        let Some(mut quota) = self.client.namespaced::<ResourceQuota>(&key.namespace).find(&key.name).await? else {
            return Ok(Action::Done);
        };
        let Some(counted) = self.count(&quota, &key.namespace).await? else { return Ok(Action::Retry) };
        let Some(status) = plan(&quota, &counted) else { return Ok(Action::RequeueAfter(next_look(&quota))) };
        let lowered = is_lower(&quota, &status);
        quota.status = Some(status);
        match self.client.namespaced::<ResourceQuota>(&key.namespace).update_status(&quota).await {
            Ok(_) if lowered => Ok(Action::RequeueAfter(RECOUNT)),
            Ok(quota) => Ok(Action::RequeueAfter(next_look(&quota))),
            Err(error) if error.is_not_found() => Ok(Action::Done),
            Err(error) if error.is_conflict() => Ok(Action::Retry),
            Err(error) => Err(error),
        }
    }
}

impl Controller {
    fn new(context: &Context) -> Self {
        let quotas: Informer<ResourceQuota> = context.informers.get();
        Self {
            client: context.client.clone(),
            informers: context.informers.clone(),
            by_namespace: ownership::by_namespace(&quotas),
            queue: WorkQueue::new(),
            quotas,
        }
    }

    /// Counts again when an object goes, or changes so that it counts for less.
    fn wake_when_gone<K: Object>(&self, counts_for_less: fn(&K, &K) -> bool) {
        let (queue, quotas) = (self.queue.clone(), self.by_namespace.clone());
        self.informers.get::<K>().on_change(move |delta| {
            let less = match delta {
                Delta::Deleted(_) => true,
                Delta::Updated { old, new } => counts_for_less(old, new),
                Delta::Added(_) => false,
            };
            if less {
                for quota in quotas.get(&delta.key().namespace) {
                    let name = quota.metadata.name.clone().unwrap_or_default();
                    queue.add_after(Key::new(delta.key().namespace, name), BATCH_PERIOD);
                }
            }
        });
    }

    /// What there is of what the quota limits; `None` when a kind could not be found out.
    async fn count(&self, quota: &ResourceQuota, namespace: &str) -> Result<Option<Amounts>, Error> {
        let sources: BTreeSet<Source> = limited(quota).keys().filter_map(|name| source(name)).collect();
        let mut counted = Amounts::new();
        let mut others = Vec::new();
        for source in sources {
            match source {
                Source::Pods => counted.extend(self.count_kind::<Pod>(quota, namespace, "pods").await?),
                Source::Services => counted.extend(self.count_kind::<Service>(quota, namespace, "services").await?),
                Source::Claims => {
                    let plural = "persistentvolumeclaims";
                    counted.extend(self.count_kind::<PersistentVolumeClaim>(quota, namespace, plural).await?);
                }
                Source::Other { plural, group } => others.push((plural, group)),
            }
        }
        if others.is_empty() || has_scopes(quota) {
            return Ok(Some(counted));
        }
        let known = discover(&self.client).await;
        for (plural, group) in others {
            match known.resources.iter().find(|one| one.plural == plural && one.group == group) {
                Some(resource) => {
                    let number = resource.list_metadata(&self.client, namespace).await?.len();
                    add_each(&mut counted, &quota::usage_of_any(&group, &plural), number);
                }
                None if !known.failures.is_empty() => return Ok(None),
                None => {}
            }
        }
        Ok(Some(counted))
    }

    async fn count_kind<K: Object>(
        &self,
        quota: &ResourceQuota,
        namespace: &str,
        plural: &str,
    ) -> Result<Amounts, Error> {
        let list = self.client.namespaced::<K>(namespace).list(&ListOptions::default()).await?;
        let mut counted = Amounts::new();
        for object in list.items.into_iter().map(AnyObject::new) {
            if quota::is_in_scope(quota, &object) {
                add_each(&mut counted, &quota::usage("", plural, &object), 1);
            }
        }
        Ok(counted)
    }
}

/// Where what has this name in a quota is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Pods,
    Services,
    Claims,
    Other { plural: String, group: String },
}

fn source(name: &str) -> Option<Source> {
    let other = |name: &str| match name.split_once('.') {
        Some((plural, group)) => Source::Other { plural: plural.to_owned(), group: group.to_owned() },
        None => Source::Other { plural: name.to_owned(), group: String::new() },
    };
    match name {
        "pods" | "count/pods" | "cpu" | "memory" | "ephemeral-storage" => Some(Source::Pods),
        "services" | "count/services" | "services.nodeports" | "services.loadbalancers" => Some(Source::Services),
        "persistentvolumeclaims" | "count/persistentvolumeclaims" | "requests.storage" => Some(Source::Claims),
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => Some(other(name)),
        _ if name.contains(".storageclass.storage.k8s.io/") => Some(Source::Claims),
        _ if ["requests.", "limits.", "hugepages-"].iter().any(|prefix| name.starts_with(prefix)) => Some(Source::Pods),
        _ => name.strip_prefix("count/").map(other),
    }
}

fn add_each(total: &mut Amounts, usage: &Amounts, number: usize) {
    for (name, amount) in usage {
        let sum = total.entry(name.clone()).or_insert(coracle_api::quantity::Quantity::ZERO);
        for _ in 0..number {
            *sum += *amount;
        }
    }
}

fn limited(quota: &ResourceQuota) -> Amounts {
    quota::amounts(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()))
}

fn status_of(quota: &ResourceQuota) -> (Amounts, Amounts) {
    let status = quota.status.as_ref();
    let hard = status.and_then(|status| status.hard.as_ref());
    (quota::amounts(hard), quota::amounts(status.and_then(|status| status.used.as_ref())))
}

fn limits_changed(quota: &ResourceQuota) -> bool {
    limited(quota) != status_of(quota).0
}

fn has_scopes(quota: &ResourceQuota) -> bool {
    quota.spec.as_ref().is_some_and(|spec| {
        spec.scopes.as_ref().is_some_and(|scopes| !scopes.is_empty()) || spec.scope_selector.is_some()
    })
}

/// The status that the quota should have; `None` when it has it. What nobody counts is told as it was.
fn plan(quota: &ResourceQuota, counted: &Amounts) -> Option<ResourceQuotaStatus> {
    let (hard, (was_hard, was_used)) = (limited(quota), status_of(quota));
    let none = coracle_api::quantity::Quantity::ZERO;
    let used: Amounts = hard
        .keys()
        .filter_map(|name| {
            let counts = source(name).is_some();
            let amount = if counts { counted.get(name).copied().or(Some(none)) } else { was_used.get(name).copied() };
            Some((name.clone(), amount?))
        })
        .collect();
    (hard != was_hard || used != was_used)
        .then(|| ResourceQuotaStatus { hard: Some(quota::texts(&hard)), used: Some(quota::texts(&used)) })
}

/// Whether less is used than was charged for.
fn is_lower(quota: &ResourceQuota, status: &ResourceQuotaStatus) -> bool {
    let (_, was) = status_of(quota);
    quota::amounts(status.used.as_ref()).iter().any(|(name, amount)| was.get(name).is_some_and(|was| amount < was))
}

fn next_look(quota: &ResourceQuota) -> Duration {
    let unseen = |name: &String| name.starts_with("count/") && !WATCHED.contains(&name.as_str());
    if limited(quota).keys().any(unseen) { UNWATCHED_RESYNC } else { RESYNC }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(json: &str) -> ResourceQuota {
        ResourceQuota::decode(json.as_bytes()).expect("a quota")
    }

    fn counted(list: &[(&str, i64)]) -> Amounts {
        list.iter().map(|(name, n)| ((*name).to_owned(), coracle_api::quantity::Quantity::from_units(*n))).collect()
    }

    #[test]
    fn the_status_is_what_is_counted_of_what_is_limited() {
        let fresh = quota(r#"{"spec":{"hard":{"pods":"2","count/secrets":"1","odd.test/x":"1"}}}"#);
        let status = plan(&fresh, &counted(&[("pods", 1), ("cpu", 7)])).expect("a status");
        assert_eq!(status.hard, fresh.spec.and_then(|spec| spec.hard));
        assert_eq!(quota::amounts(status.used.as_ref()), counted(&[("pods", 1), ("count/secrets", 0)]));
        let known = quota(r#"{"spec":{"hard":{"pods":"2"}},"status":{"hard":{"pods":"2"},"used":{"pods":"1"}}}"#);
        assert_eq!(plan(&known, &counted(&[("pods", 1)])), None);
        let fewer = plan(&known, &counted(&[])).expect("a status");
        assert!(is_lower(&known, &fewer));
    }

    #[test]
    fn names_are_counted_where_they_are() {
        let other = |plural: &str, group: &str| Source::Other { plural: plural.to_owned(), group: group.to_owned() };
        for (name, expected) in [
            ("requests.cpu", Some(Source::Pods)),
            ("requests.a.test/gpu", Some(Source::Pods)),
            ("requests.storage", Some(Source::Claims)),
            ("fast.storageclass.storage.k8s.io/requests.storage", Some(Source::Claims)),
            ("services.nodeports", Some(Source::Services)),
            ("secrets", Some(other("secrets", ""))),
            ("count/jobs.batch", Some(other("jobs", "batch"))),
            ("a.test/other", None),
        ] {
            assert_eq!(source(name), expected, "{name}");
        }
    }
}
