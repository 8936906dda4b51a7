//! Lets pods go: takes their finalizers away, many at once.

use std::collections::HashSet;
use std::sync::Arc;

use coracle_client::{Error, Key, Objects, Patch};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::task::JoinSet;

use super::account::{TRACKING, has_finalizer};
use super::untracked::Untracked;
use crate::pod_control::{name, uid};

/// Removes the finalizers of pods that may be counted. Gives the uids of those that have none now, and the first failure;
/// the others are finished all the same.
pub async fn untrack(
    objects: &Objects<Pod>,
    untracked: &Untracked,
    job: &Key,
    pods: &[Arc<Pod>],
) -> (HashSet<String>, Result<(), Error>) {
    untracked.expect(job, pods.iter().map(|pod| uid(pod).to_owned()));
    let (mut done, mut first_failure) = (HashSet::new(), Ok(()));
    for (pod, removed) in remove_all(objects, pods, false).await {
        match removed {
            Ok(()) => drop(done.insert(uid(&pod).to_owned())),
            Err(error) => {
                untracked.observed(job, uid(&pod));
                // Another pod has its name by now: this one is gone.
                if error.is_not_found() || error.is_conflict() {
                    done.insert(uid(&pod).to_owned());
                } else {
                    first_failure = first_failure.and(Err(error));
                }
            }
        }
    }
    (done, first_failure)
}

/// Removes the finalizers of pods that run and shall not count, as they were seen: one that has changed since may have
/// ended, which would count. Gives those that have none now, and the first failure.
pub async fn strip(objects: &Objects<Pod>, pods: &[Arc<Pod>]) -> (Vec<Arc<Pod>>, Result<(), Error>) {
    let (tracked, mut bare): (Vec<_>, Vec<_>) = pods.iter().cloned().partition(|pod| has_finalizer(pod));
    let mut first_failure = Ok(());
    for (pod, removed) in remove_all(objects, &tracked, true).await {
        match removed {
            Ok(()) => bare.push(pod),
            Err(error) if error.is_not_found() => bare.push(pod),
            Err(error) => first_failure = first_failure.and(Err(error)),
        }
    }
    (bare, first_failure)
}

async fn remove_all(objects: &Objects<Pod>, pods: &[Arc<Pod>], as_seen: bool) -> Vec<(Arc<Pod>, Result<(), Error>)> {
    let mut removals = JoinSet::new();
    for pod in pods.iter().cloned() {
        let objects = objects.clone();
        removals.spawn(async move {
            let removed = objects.patch_unseen(name(&pod), &removal(&pod, as_seen)).await.map(drop);
            (pod, removed)
        });
    }
    removals.join_all().await
}

/// A patch of this pod and of no later one of its name; where it is to be as it was seen, of no later version.
fn removal(pod: &Pod, as_seen: bool) -> Patch {
    let mut patch = json!({"metadata": {
        "uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING],
    }});
    if as_seen {
        patch["metadata"]["resourceVersion"] = json!(pod.metadata.resource_version);
    }
    Patch::Strategic(patch)
}
