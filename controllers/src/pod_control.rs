//! Makes and deletes the pods of a controller, many at once, and keeps its expectations true about it.

use std::sync::Arc;

use coracle_client::{DeleteOptions, Error, EventType, Expectations, Key, Objects, Recorder};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Preconditions};
use tokio::task::JoinSet;

/// How many pods are made before it is known whether one can be made; each success doubles it, so that a template that
/// cannot be created is refused once and not a thousand times.
///
/// Source: `SlowStartInitialBatchSize`.
pub const FIRST_BATCH_PODS: usize = 1;

/// One owner, ready to have its pods changed.
pub struct PodControl<'a> {
    pub recorder: &'a Recorder,
    pub expectations: &'a Expectations,
    pub key: Key,
    /// Whom the events are about.
    pub owner: ObjectReference,
    pub pods: Objects<Pod>,
}

impl PodControl<'_> {
    /// Creates `pods` in batches that double, `first_batch` in the first.
    ///
    /// # Errors
    /// The first failure, after the batch that it happened in; the rest is not attempted.
    pub async fn create(&self, pods: &[Arc<Pod>], first_batch: usize) -> Result<(), Error> {
        self.expectations.expect_creations(&self.key, pods.len() as u64);
        let (mut left, mut batch) = (pods, first_batch.max(FIRST_BATCH_PODS));
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            left = later;
            if let Err(error) = self.create_batch(now).await {
                left.iter().for_each(|_| self.expectations.creation_observed(&self.key));
                return Err(error);
            }
            batch *= 2;
        }
        Ok(())
    }

    async fn create_batch(&self, batch: &[Arc<Pod>]) -> Result<(), Error> {
        let mut creations = JoinSet::new();
        for pod in batch {
            let (pods, pod) = (self.pods.clone(), pod.clone());
            creations.spawn(async move { pods.create(&pod).await });
        }
        let mut first_failure = Ok(());
        while let Some(created) = creations.join_next().await {
            match created.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
                Ok(pod) => self.created(&pod),
                Err(error) => {
                    self.expectations.creation_observed(&self.key);
                    // Nothing can be made in a namespace that goes, and nothing has to.
                    if !error.is_namespace_terminating() {
                        self.event(EventType::Warning, "FailedCreate", &format!("Error creating: {error}"));
                        first_failure = first_failure.and(Err(error));
                    }
                }
            }
        }
        first_failure
    }

    fn created(&self, pod: &Pod) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        self.event(EventType::Normal, "SuccessfulCreate", &format!("Created pod: {name}"));
    }

    /// Deletes `pods`, all at once.
    ///
    /// # Errors
    /// The first failure; the other deletions are finished all the same. A pod that is gone already is no failure.
    pub async fn delete(&self, pods: &[Arc<Pod>]) -> Result<(), Error> {
        self.expectations.expect_deletions(&self.key, pods.iter().map(|pod| uid(pod).to_owned()));
        let mut deletions = JoinSet::new();
        for pod in pods.iter().cloned() {
            let objects = self.pods.clone();
            deletions.spawn(async move {
                let deleted = objects.delete(name(&pod), &exactly(&pod)).await;
                (pod, deleted)
            });
        }
        let mut first_failure = Ok(());
        while let Some(deletion) = deletions.join_next().await {
            let (pod, deleted) = deletion.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
            let Err(error) = deleted else {
                self.event(EventType::Normal, "SuccessfulDelete", &format!("Deleted pod: {}", name(&pod)));
                continue;
            };
            self.expectations.deletion_observed(&self.key, uid(&pod));
            if !error.is_not_found() {
                self.event(EventType::Warning, "FailedDelete", &format!("Error deleting: {error}"));
                first_failure = first_failure.and(Err(error));
            }
        }
        first_failure
    }

    fn event(&self, kind: EventType, reason: &str, message: &str) {
        self.recorder.event_on(self.owner.clone(), kind, reason, message);
    }
}

/// A pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// A pod's uid.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// This pod, and not a later one of its name.
fn exactly(pod: &Pod) -> DeleteOptions {
    let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() }
}

/// A pod of the template, for the owner with `meta`; not yet named.
///
/// Source: `GetPodFromTemplate`.
pub fn pod_from_template(meta: &ObjectMeta, template: Option<&PodTemplateSpec>, owner: OwnerReference) -> Pod {
    let template = template.cloned().unwrap_or_default();
    let of_pod = template.metadata.unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: meta.namespace.clone(),
            labels: of_pod.labels,
            annotations: of_pod.annotations,
            finalizers: of_pod.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
