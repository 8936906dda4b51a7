//! The protection of volumes: what is being deleted is held by a finalizer as long as it is used — a claim by a pod, a
//! volume by a claim, a class of attributes by either — and let go when it no longer is.
//!
//! Source: upstream's pvc-protection, pv-protection and vac-protection controllers.

use std::fmt;
use std::sync::Arc;

use coracle_api::{Object, pods};
use coracle_client::{Action, Client, Delta, Error, Informer, Key, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::reconciler::{self, Reconciler};

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";
const CLASS: &str = "kubernetes.io/vac-protection";
const WORKERS: usize = 2;

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    reconciler::run(Controller::new(&context), WORKERS, shutdown).await;
}

/// What may have to be let go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    Claim(Key),
    Volume(Key),
    Class(Key),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(key) => write!(f, "claim {key}"),
            Self::Volume(key) => write!(f, "volume {key}"),
            Self::Class(key) => write!(f, "class {key}"),
        }
    }
}

struct Controller {
    client: Client,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<VolumeAttributesClass>,
    queue: WorkQueue<Work>,
}

impl Reconciler for Controller {
    type Work = Work;

    fn queue(&self) -> &WorkQueue<Work> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let (queue, classes) = (self.queue.clone(), self.classes.clone());
        self.claims.on_change(move |delta| {
            queue.add(Work::Claim(delta.key()));
            add_held(&queue, &classes);
        });
        let (queue, classes) = (self.queue.clone(), self.classes.clone());
        self.volumes.on_change(move |delta| {
            queue.add(Work::Volume(delta.key()));
            add_held(&queue, &classes);
        });
        let queue = self.queue.clone();
        self.classes.on_change(move |delta| queue.add(Work::Class(delta.key())));
        let queue = self.queue.clone();
        self.pods.on_change(move |delta| {
            let pod = delta.object();
            if matches!(delta, Delta::Deleted(_)) || pods::is_finished(pod) {
                let namespace = pod.metadata.namespace.clone().unwrap_or_default();
                for claim in claims_of(pod) {
                    queue.add(Work::Claim(Key::new(namespace.clone(), claim)));
                }
            }
        });
    }

    async fn synced(&self) {
        self.pods.synced().await;
        self.claims.synced().await;
        self.volumes.synced().await;
        self.classes.synced().await;
    }

    async fn reconcile(self: Arc<Self>, work: Work) -> Result<Action, Error> {
        match work {
            Work::Claim(key) => {
                let Some(claim) = self.claims.get(&key).filter(|claim| is_held(&claim.metadata, CLAIM)) else {
                    return Ok(Action::Done);
                };
                let users = self.pods.list();
                let used = users
                    .iter()
                    .any(|pod| pod.metadata.namespace.as_deref() == Some(&key.namespace) && uses(pod, &key.name));
                self.let_go(&*claim, CLAIM, used).await
            }
            Work::Volume(key) => {
                let Some(volume) = self.volumes.get(&key).filter(|volume| is_held(&volume.metadata, VOLUME)) else {
                    return Ok(Action::Done);
                };
                let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
                self.let_go(&*volume, VOLUME, phase == Some("Bound")).await
            }
            Work::Class(key) => {
                let Some(class) = self.classes.get(&key).filter(|class| is_held(&class.metadata, CLASS)) else {
                    return Ok(Action::Done);
                };
                let used = self.is_class_used(&key.name);
                self.let_go(&*class, CLASS, used).await
            }
        }
    }
}

impl Controller {
    fn new(context: &Context) -> Self {
        Self {
            client: context.client.clone(),
            pods: context.informers.get(),
            claims: context.informers.get(),
            volumes: context.informers.get(),
            classes: context.informers.get(),
            queue: WorkQueue::new(),
        }
    }

    fn is_class_used(&self, name: &str) -> bool {
        let by_volume = |volume: &Arc<PersistentVolume>| {
            volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()) == Some(name)
        };
        let by_claim = |claim: &Arc<PersistentVolumeClaim>| {
            let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
            let status = claim.status.as_ref();
            let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
            wanted == Some(name) || current == Some(name)
        };
        self.volumes.list().iter().any(by_volume) || self.claims.list().iter().any(by_claim)
    }

    async fn let_go<K: Object>(&self, object: &K, finalizer: &str, used: bool) -> Result<Action, Error> {
        if used {
            return Ok(Action::Done);
        }
        let mut object = object.clone();
        let finalizers = object.metadata_mut().finalizers.get_or_insert_default();
        finalizers.retain(|own| own != finalizer);
        match self.client.all().update(&object).await {
            Err(error) if error.is_not_found() => Ok(Action::Done),
            Err(error) if error.is_conflict() => Ok(Action::Retry),
            other => other.map(|_| Action::Done),
        }
    }
}

fn add_held(queue: &WorkQueue<Work>, classes: &Informer<VolumeAttributesClass>) {
    for class in classes.list().iter().filter(|class| is_held(&class.metadata, CLASS)) {
        queue.add(Work::Class(Key::cluster(class.metadata.name.clone().unwrap_or_default())));
    }
}

/// Whether the object is being deleted, and is there for this finalizer's sake.
fn is_held(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|own| own == finalizer)
}

/// The claims that a pod's volumes name, or are made for.
fn claims_of(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
            (None, None) => None,
        })
        .collect()
}

/// Whether a pod has the claim's volume: one without a node never will, now that the claim is being deleted.
fn uses(pod: &Pod, claim: &str) -> bool {
    pods::node_name(pod).is_some() && !pods::is_finished(pod) && claims_of(pod).iter().any(|own| own == claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_used_by_pods_with_a_node() {
        let pod = |node: &str, phase: &str| {
            let json = format!(
                r#"{{"metadata":{{"name":"p"}},"spec":{{"nodeName":"{node}","containers":[],"volumes":[
                    {{"name":"v","persistentVolumeClaim":{{"claimName":"c"}}}},{{"name":"e","ephemeral":{{}}}}]}},
                    "status":{{"phase":"{phase}"}}}}"#
            );
            Pod::decode(json.as_bytes()).expect("a pod")
        };
        for (node, phase, claim, expected) in [
            ("n", "Running", "c", true),
            ("n", "Running", "p-e", true),
            ("n", "Running", "v", false),
            ("n", "Succeeded", "c", false),
            ("", "Pending", "c", false),
        ] {
            assert_eq!(uses(&pod(node, phase), claim), expected, "{node} {phase} {claim}");
        }
    }
}
