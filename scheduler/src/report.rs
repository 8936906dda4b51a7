//! Says of a pod that it fits nowhere, and why: an event each time, and a condition that is written when it changes.

use std::sync::Arc;

use coracle_api::pods;
use coracle_client::{Client, Clock, EventType, Patch, Recorder};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodCondition};
use serde_json::{Value, json};

use crate::decide::Rejection;
use crate::pod::PodInfo;

pub fn reference(pod: &PodInfo) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(pod.key.namespace.clone()),
        name: Some(pod.key.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

/// `known` is the pod as the cache has it.
pub async fn report(
    client: Client,
    recorder: Recorder,
    clock: Clock,
    pod: Arc<PodInfo>,
    known: Option<Arc<Pod>>,
    rejection: Rejection,
) {
    let message = rejection.to_string();
    recorder.event_on(reference(&pod), EventType::Warning, "FailedScheduling", message.clone());
    let condition = known.as_ref().and_then(|known| pods::condition(known, "PodScheduled"));
    let Some(patch) = patch(&pod, condition, &message, &clock) else { return };
    let pods = client.namespaced::<Pod>(&pod.key.namespace);
    if let Err(error) = pods.patch_status(&pod.key.name, &Patch::Strategic(patch)).await {
        tracing::debug!(pod = %pod.key, error = &error as &dyn std::error::Error, "a condition was not written");
    }
}

/// The change that makes the pod's condition say `message`; none when it does.
fn patch(pod: &PodInfo, condition: Option<&PodCondition>, message: &str, clock: &Clock) -> Option<Value> {
    let is_false = condition.is_some_and(|condition| condition.status == "False");
    let is_said = condition.is_some_and(|condition| {
        condition.reason.as_deref() == Some("Unschedulable") && condition.message.as_deref() == Some(message)
    });
    if is_false && is_said {
        return None;
    }
    let mut new = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
    });
    if !is_false {
        new["lastTransitionTime"] = json!(clock.time());
    }
    Some(json!({ "metadata": { "uid": pod.uid }, "status": { "conditions": [new] } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(status: &str, reason: &str, message: &str) -> PodCondition {
        PodCondition {
            type_: "PodScheduled".into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            ..PodCondition::default()
        }
    }

    #[tokio::test]
    async fn a_condition_is_written_when_it_says_something_else() {
        let (pod, clock) = (PodInfo::default(), Clock::system());
        let cases = [
            (None, true, true),
            (Some(condition("True", "", "")), true, true),
            (Some(condition("False", "Unschedulable", "other")), true, false),
            (Some(condition("False", "SchedulingGated", "full")), true, false),
            (Some(condition("False", "Unschedulable", "full")), false, false),
        ];
        for (known, is_written, is_transition) in cases {
            let patch = patch(&pod, known.as_ref(), "full", &clock);
            assert_eq!(patch.is_some(), is_written, "{known:?}");
            let time = patch.as_ref().map(|patch| &patch["status"]["conditions"][0]["lastTransitionTime"]);
            assert_eq!(time.is_some_and(|time| !time.is_null()), is_transition, "{known:?}");
        }
    }
}
