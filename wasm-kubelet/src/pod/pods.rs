//! The pods of this node, wherever they come from: those that the API server gives it, and its static ones.

use std::sync::Arc;

use coracle_client::{Informer, Key, Packed};
use k8s_openapi::api::core::v1::Pod;

use crate::static_pods::{StaticPods, is_mirror};

/// Whose workers this node has, and what is said of them now.
pub struct Pods {
    api: Informer<Pod>,
    fixed: StaticPods,
    node: String,
}

impl Pods {
    /// Those of `api` that are bound to this node, and the static ones.
    pub fn new(api: Informer<Pod>, fixed: StaticPods, node: &str) -> Self {
        Self { api, fixed, node: node.to_owned() }
    }

    /// All that the API has, mirrors among them.
    pub fn api(&self) -> &Informer<Pod> {
        &self.api
    }

    /// Those that the API did not give.
    pub fn fixed(&self) -> &StaticPods {
        &self.fixed
    }

    /// The pod of this name. A static one comes before all others; its mirror is none.
    pub fn get(&self, key: &Key) -> Option<Arc<Pod>> {
        self.fixed.get(key).or_else(|| self.api.get(key).filter(|pod| !is_mirror(pod)))
    }

    /// What is said now of the pod with this uid.
    pub fn of(&self, key: &Key, uid: &str) -> Option<Arc<Pod>> {
        let pod = if self.fixed.has(key, uid) { self.fixed.get(key) } else { self.api.get(key) };
        pod.filter(|pod| pod.metadata.uid.as_deref() == Some(uid))
    }

    /// As [`Pods::of`], to be packed by who is done with it, and of whatever uid the API has.
    pub fn packed(&self, key: &Key, uid: &str) -> Option<Packed<Pod>> {
        if self.fixed.has(key, uid) {
            return self.fixed.get(key).map(Packed::of);
        }
        self.api.packed(key)
    }

    /// What shows a static pod in the API.
    pub fn mirror(&self, key: &Key) -> Option<Arc<Pod>> {
        self.api.get(key).filter(|pod| self.is_ours(pod) && is_mirror(pod))
    }

    /// The pods that are to run on this node.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        let mut all = self.fixed.list();
        all.extend(self.api.list().into_iter().filter(|pod| self.is_ours(pod) && !is_mirror(pod)));
        all
    }

    /// Whether a pod is bound to this node.
    pub fn is_ours(&self, pod: &Pod) -> bool {
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(&*self.node)
    }

    /// Waits until the API's pods are known.
    pub async fn synced(&self) {
        self.api.synced().await;
    }
}
