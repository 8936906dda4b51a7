//! The loop: wakes a budget when it or one of its pods changes.

use std::sync::Arc;

use coracle_api::selector::{LabelSelector, format_labels};
use coracle_client::{Action, Delta, Error, EventType, Index, Informer, Key, Recorder, WorkQueue};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use tokio_util::sync::CancellationToken;

use super::plan::{Observed, Plan, failed, needs_scale, plan};
use super::scale::{Expected, Scales};
use crate::reconciler::{self, Reconciler};
use crate::{Context, ownership};

/// Runs the controller until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let recorder = context.recorder("controllermanager", &shutdown);
    let workers = context.config.disruption_workers;
    reconciler::run(Controller::new(context, recorder), workers, shutdown).await;
}

struct Controller {
    context: Context,
    recorder: Recorder,
    budgets: Informer<PodDisruptionBudget>,
    budgets_by_namespace: Index<PodDisruptionBudget>,
    pods: Informer<Pod>,
    pods_by_namespace: Index<Pod>,
    scales: Scales,
    /// Of budgets.
    queue: WorkQueue<Key>,
}

impl Reconciler for Controller {
    type Work = Key;

    fn queue(&self) -> &WorkQueue<Key> {
        &self.queue
    }

    fn wake(self: &Arc<Self>) {
        let queue = self.queue.clone();
        self.budgets.on_change(move |delta| queue.add(delta.key()));
        let (queue, budgets) = (self.queue.clone(), self.budgets_by_namespace.clone());
        self.pods.on_change(move |delta| {
            for budget in budgets.get(&delta.key().namespace) {
                let was = matches!(delta, Delta::Updated { old, .. } if guards(&budget, old));
                if was || guards(&budget, delta.object()) {
                    queue.add(Key::of_meta(&budget.metadata));
                }
            }
        });
    }

    async fn synced(&self) {
        self.budgets.synced().await;
        self.pods.synced().await;
        self.scales.synced().await;
    }

    async fn reconcile(self: Arc<Self>, key: Key) -> Result<Action, Error> {
        let Some(budget) = self.budgets.get(&key) else { return Ok(Action::Done) };
        match self.plan(&key, &budget).await {
            Ok(plan) => self.execute(&budget, plan).await,
            Err(why) => {
                self.warn(&budget, "CalculateExpectedPodCountFailed", &why);
                if let Some(status) = failed(&budget, &why, self.context.clock.wall()) {
                    self.write(&budget, status).await?;
                }
                Ok(Action::Retry)
            }
        }
    }
}

impl Controller {
    fn new(context: Context, recorder: Recorder) -> Self {
        let (budgets, pods) = (context.informers.get(), context.informers.get());
        Self {
            budgets_by_namespace: ownership::by_namespace(&budgets),
            pods_by_namespace: ownership::by_namespace(&pods),
            scales: Scales::new(context.client.clone(), &context.informers),
            queue: WorkQueue::new(),
            context,
            recorder,
            budgets,
            pods,
        }
    }

    async fn plan(&self, key: &Key, budget: &PodDisruptionBudget) -> Result<Plan, String> {
        let mut pods = self.pods_by_namespace.get(&key.namespace);
        pods.retain(|pod| guards(budget, pod));
        if pods.is_empty() {
            self.recorder.event(budget, EventType::Normal, "NoPods", "No matching pods found");
        }
        let expected = match needs_scale(budget) {
            true => self
                .scales
                .expected(&key.namespace, &pods)
                .await
                .map_err(|why| format!("Failed to calculate the number of expected pods: {why}"))?,
            false => Expected::default(),
        };
        if expected.some_unmanaged {
            self.warn(budget, "UnmanagedPods", &unmanaged(budget));
        }
        plan(&Observed { budget, pods: &pods, scale: expected.total, now: self.context.clock.wall() })
    }

    async fn execute(&self, budget: &PodDisruptionBudget, plan: Plan) -> Result<Action, Error> {
        for pod in &plan.not_deleted {
            let meta = &budget.metadata;
            let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref());
            let name = name.unwrap_or_default();
            let message = format!("Pod was expected by PDB {namespace}/{name} to be deleted but it wasn't");
            self.recorder.event(&**pod, EventType::Warning, "NotDeleted", message);
        }
        if let Some(status) = plan.status
            && !self.write(budget, status).await?
        {
            return Ok(Action::Retry);
        }
        Ok(plan.look_again.map_or(Action::Done, Action::RequeueAfter))
    }

    /// Whether it is written: not when the budget has changed since, by an eviction most of all.
    async fn write(&self, budget: &PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> Result<bool, Error> {
        let budget = PodDisruptionBudget { status: Some(status), ..budget.clone() };
        let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
        match self.context.client.namespaced::<PodDisruptionBudget>(namespace).update_status(&budget).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn warn(&self, budget: &PodDisruptionBudget, reason: &str, message: &str) {
        self.recorder.event(budget, EventType::Warning, reason, message);
    }
}

/// Whether the budget's selector selects the pod: an empty one each, none at all no pod.
fn guards(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    LabelSelector::of_typed(selector).is_ok_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
}

fn unmanaged(budget: &PodDisruptionBudget) -> String {
    let selector = format_labels(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the \
         status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these \
         pods please set \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::Object;

    #[test]
    fn an_empty_selector_selects_all_and_none_selects_none() {
        let labelled = Pod::decode(br#"{"metadata":{"name":"p","labels":{"a":"b"}}}"#).expect("a pod");
        let bare = Pod::decode(br#"{"metadata":{"name":"p"}}"#).expect("a pod");
        for (spec, with_label, without) in [
            ("{}", false, false),
            (r#"{"selector":{}}"#, true, true),
            (r#"{"selector":{"matchLabels":{"a":"b"}}}"#, true, false),
            (r#"{"selector":{"matchExpressions":[{"key":"a","operator":"DoesNotExist"}]}}"#, false, true),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"b"}},"spec":{spec}}}"#);
            let budget = PodDisruptionBudget::decode(json.as_bytes()).expect("a budget");
            assert_eq!((guards(&budget, &labelled), guards(&budget, &bare)), (with_label, without), "{spec}");
        }
    }
}
