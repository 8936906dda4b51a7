//! Writes what was decided about a node.

use coracle_client::{Client, Clock, DeleteOptions, Error, EventType, Key, Patch, Recorder};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Preconditions;
use serde_json::{Value, json};

use super::plan::Plan;

/// How many of a node's pods are written at a time.
const PODS_AT_ONCE: usize = 32;

/// The hands of this controller.
pub struct Execute {
    pub client: Client,
    pub recorder: Recorder,
    pub clock: Clock,
}

impl Execute {
    /// Does what `plan` says about `node`.
    ///
    /// # Errors
    /// The first failure; [`Error::is_conflict`] where the node has changed since it was looked at.
    pub async fn execute(&self, node: &Node, plan: Plan) -> Result<(), Error> {
        if let Some(silent) = &plan.silence {
            return self.silence(silent).await;
        }
        if let Some(taints) = plan.taints {
            self.taint(node, taints).await?;
        }
        let marks = plan.not_ready.into_iter().map(|pod| async move { self.mark_not_ready(&pod).await });
        first_failure(futures::stream::iter(marks).buffer_unordered(PODS_AT_ONCE)).await?;
        let evictions = plan.evict.into_iter().map(|pod| async move { self.evict(&pod).await });
        first_failure(futures::stream::iter(evictions).buffer_unordered(PODS_AT_ONCE)).await
    }

    async fn silence(&self, node: &Node) -> Result<(), Error> {
        self.client.all::<Node>().update_status(node).await?;
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Node {name} status is now: NodeNotReady");
        self.recorder.event(node, EventType::Normal, "NodeNotReady", message);
        Ok(())
    }

    async fn taint(&self, node: &Node, taints: Vec<Taint>) -> Result<(), Error> {
        let mut node = node.clone();
        node.spec.get_or_insert_default().taints = Some(taints);
        self.client.all::<Node>().update(&node).await.map(drop)
    }

    async fn mark_not_ready(&self, pod: &Pod) -> Result<(), Error> {
        let now = self.clock.time().0.to_string();
        let not_ready = json!({ "type": "Ready", "status": "False", "lastTransitionTime": now });
        if self.patch_condition(pod, not_ready).await? {
            self.recorder.event(pod, EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }

    async fn evict(&self, pod: &Pod) -> Result<(), Error> {
        let Key { namespace, name } = Key::of(pod);
        let message = format!("Marking for deletion Pod {namespace}/{name}");
        self.recorder.event(pod, EventType::Normal, "TaintManagerEviction", message);
        let disrupted = json!({
            "type": "DisruptionTarget", "status": "True", "lastTransitionTime": self.clock.time().0.to_string(),
            "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint",
        });
        if !self.patch_condition(pod, disrupted).await? {
            return Ok(());
        }
        let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let options = DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
        match self.client.namespaced::<Pod>(&namespace).delete(&name, &options).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the pod was still there.
    async fn patch_condition(&self, pod: &Pod, condition: Value) -> Result<bool, Error> {
        let Key { namespace, name } = Key::of(pod);
        let patch = json!({ "metadata": { "uid": pod.metadata.uid }, "status": { "conditions": [condition] } });
        let pods = self.client.namespaced::<Pod>(&namespace);
        match pods.patch_status(&name, &Patch::Strategic(patch)).await {
            Err(error) if error.is_not_found() => Ok(false),
            other => other.map(|_| true),
        }
    }
}

async fn first_failure(mut results: impl futures::Stream<Item = Result<(), Error>> + Unpin) -> Result<(), Error> {
    let mut first = Ok(());
    while let Some(result) = results.next().await {
        first = first.and(result);
    }
    first
}
