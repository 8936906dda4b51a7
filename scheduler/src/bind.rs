//! Carries a decision out: the binding, and what it means for the state whether it succeeds or not.

use std::sync::Arc;

use coracle_client::{Client, EventType, Recorder};
use tokio::time::Instant;

use crate::event::ClusterEvent;
use crate::pod::PodInfo;
use crate::report;
use crate::run::Shared;

pub async fn bind(shared: Arc<Shared>, client: Client, recorder: Recorder, pod: Arc<PodInfo>, node: String) {
    // The kubelet may hear of the binding, and tell of what it does, before the answer is here.
    let at = recorder.now();
    match client.bind(&pod.reference(), &node).await {
        Ok(()) => {
            shared.change(|state| {
                state.snapshot.bound(&pod.key, Instant::now());
                state.queue.remove(&pod.key);
            });
            let message = format!("Successfully assigned {} to {node}", pod.key);
            recorder.event_at(at, report::reference(&pod), EventType::Normal, "Scheduled", message);
        }
        Err(error) => {
            // The pod is gone, was replaced or is bound already: the cache will say so. Anything else is worth telling.
            if !error.is_not_found() && !error.is_conflict() {
                let message = format!("binding rejected: {error}");
                recorder.event_on(report::reference(&pod), EventType::Warning, "FailedScheduling", message);
            }
            tracing::debug!(pod = %pod.key, node, error = &error as &dyn std::error::Error, "a binding failed");
            let now = Instant::now();
            shared.change(|state| {
                if let Some(gone) = state.snapshot.forget(&pod.key) {
                    state.queue.wake(&ClusterEvent::PodGone(&gone), now);
                }
                state.queue.retry(&pod.key, now);
            });
        }
    }
}
