//! How many pods their controllers want: of the kinds that are watched anyway from what is seen, of all others by their
//! scale subresource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coracle_client::{Client, Informer, Informers, Key};
use http::Request;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResourceList, ObjectMeta, OwnerReference};

use crate::ownership::controller_of;

/// Who knows how many pods there should be.
pub struct Scales {
    client: Client,
    controllers: Informer<ReplicationController>,
    sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
}

/// How many pods their controllers want.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub total: i32,
    /// Whether some have no controller, and so are not counted.
    pub some_unmanaged: bool,
}

impl Scales {
    pub fn new(client: Client, informers: &Informers) -> Self {
        Self { client, controllers: informers.get(), sets: informers.get(), deployments: informers.get() }
    }

    pub async fn synced(&self) {
        self.controllers.synced().await;
        self.sets.synced().await;
        self.deployments.synced().await;
    }

    /// What the controllers of these pods want, each counted once.
    ///
    /// # Errors
    /// When a pod's controller is not there, or cannot be asked: why, in words.
    pub async fn expected(&self, namespace: &str, pods: &[Arc<Pod>]) -> Result<Expected, String> {
        let mut asked = BTreeSet::new();
        let mut scales = BTreeMap::new();
        let mut some_unmanaged = false;
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                some_unmanaged = true;
                continue;
            };
            if !asked.insert(owner.uid.as_str()) {
                continue;
            }
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let found = match self.seen(namespace, owner) {
                Some(scale) => Some(scale),
                None => self.asked(namespace, owner).await?,
            };
            let (uid, replicas) = found.ok_or_else(|| format!("found no controllers for pod {name:?}"))?;
            scales.insert(uid, replicas);
        }
        let total = scales.values().fold(0_i32, |total, replicas| total.saturating_add(*replicas));
        Ok(Expected { total, some_unmanaged })
    }

    /// The controller that decides, by its uid, with its scale: a set's deployment in place of the set.
    fn seen(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let key = Key::new(namespace, owner.name.as_str());
        match (group_of(owner), owner.kind.as_str()) {
            ("", "ReplicationController") => {
                let controller = self.controllers.get(&key)?;
                of(owner, &controller.metadata, controller.spec.as_ref().and_then(|spec| spec.replicas))
            }
            ("apps" | "extensions", "ReplicaSet") => {
                let set = self.sets.get(&key)?;
                let own = of(owner, &set.metadata, set.spec.as_ref().and_then(|spec| spec.replicas))?;
                let Some(above) = controller_of(&set.metadata).filter(|above| above.kind == "Deployment") else {
                    return Some(own);
                };
                let deployment = self.deployments.get(&Key::new(namespace, above.name.as_str()))?;
                of(above, &deployment.metadata, deployment.spec.as_ref().and_then(|spec| spec.replicas))
            }
            _ => None,
        }
    }

    /// The same for any kind that can be scaled.
    async fn asked(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<(String, i32)>, String> {
        let (group, version) = (group_of(owner), owner.api_version.as_str());
        let kube = self.client.kube();
        let served = match group {
            "" => kube.list_core_api_resources(version).await,
            _ => kube.list_api_group_resources(version).await,
        };
        let plural = scalable(&served.map_err(|error| error.to_string())?, group, owner)?;
        let root = if group.is_empty() { "api" } else { "apis" };
        let path = format!("/{root}/{version}/namespaces/{namespace}/{plural}/{}/scale", owner.name);
        let request = Request::get(&path).body(Bytes::new()).map_err(|error| error.to_string())?;
        let answer = match self.client.raw(request).await {
            Err(error) if error.is_not_found() => return Ok(None),
            answer => answer.map_err(|error| error.to_string())?,
        };
        let scale: Scale = serde_json::from_slice(answer.body()).map_err(|error| error.to_string())?;
        let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        Ok(of(owner, &scale.metadata, Some(replicas)))
    }
}

fn group_of(owner: &OwnerReference) -> &str {
    owner.api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The scale of what is referred to, if this is it.
fn of(owner: &OwnerReference, meta: &ObjectMeta, replicas: Option<i32>) -> Option<(String, i32)> {
    (meta.uid.as_ref() == Some(&owner.uid)).then(|| (owner.uid.clone(), replicas.unwrap_or(1)))
}

/// The plural of the owner's kind.
///
/// # Errors
/// When there is no such kind, or it cannot be scaled.
fn scalable(served: &APIResourceList, group: &str, owner: &OwnerReference) -> Result<String, String> {
    let kind = served.resources.iter().find(|one| one.kind == owner.kind && !one.name.contains('/'));
    let Some(kind) = kind else {
        return Err(format!("no matches for kind {:?} in version {:?}", owner.kind, owner.api_version));
    };
    let scale = format!("{}/scale", kind.name);
    if served.resources.iter().any(|one| one.name == scale) {
        return Ok(kind.name.clone());
    }
    let dot = if group.is_empty() { "" } else { "." };
    Err(format!("{}{dot}{group} does not implement the scale subresource", kind.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_scale_is_asked() {
        let served = r#"{"groupVersion":"batch/v1","resources":[
            {"name":"jobs","kind":"Job","singularName":"job","namespaced":true,"verbs":[]},
            {"name":"jobs/status","kind":"Job","singularName":"","namespaced":true,"verbs":[]},
            {"name":"crews","kind":"Crew","singularName":"crew","namespaced":true,"verbs":[]},
            {"name":"crews/scale","kind":"Scale","singularName":"","namespaced":true,"verbs":[]}]}"#;
        let served: APIResourceList = serde_json::from_str(served).expect("a list of resources");
        for (kind, expected) in [
            ("Crew", Ok("crews")),
            ("Job", Err("jobs.batch does not implement the scale subresource")),
            ("Odd", Err(r#"no matches for kind "Odd" in version "batch/v1""#)),
        ] {
            let owner =
                OwnerReference { api_version: "batch/v1".into(), kind: kind.into(), ..OwnerReference::default() };
            let told = scalable(&served, group_of(&owner), &owner);
            assert_eq!(told.as_deref().map_err(String::as_str), expected, "{kind}");
        }
    }
}
