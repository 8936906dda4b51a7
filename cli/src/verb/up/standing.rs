//! How a workload stands: judged from the object and its pods.

use serde_json::Value;

/// How a workload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub state: State,
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not all pods are ready, and nothing is wrong.
    Coming,
    /// A pod has trouble; it may pass.
    Troubled,
    /// As it should be.
    Ready,
    /// Ended, and will not come again.
    Failed,
}

impl Standing {
    /// Nothing more is expected of it.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::Ready | State::Failed)
    }
}

/// Judges a workload (a Deployment, a ReplicaSet, a ReplicationController) by its status and its pods.
pub fn of_workload(object: &Value, pods: &[Value]) -> Standing {
    let (spec, status) = (&object["spec"], &object["status"]);
    let wanted = spec["replicas"].as_i64().unwrap_or(1);
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let ready = number("readyReplicas");
    let observed = number("observedGeneration") >= object["metadata"]["generation"].as_i64().unwrap_or(0);
    let updated = object["kind"] != "Deployment" || number("updatedReplicas") >= wanted;
    let words = format!("{ready}/{wanted} ready");
    if observed && updated && ready >= wanted && number("replicas") == wanted {
        return Standing { state: State::Ready, words };
    }
    match pods.iter().find_map(trouble) {
        Some(trouble) => Standing { state: State::Troubled, words: format!("{words}: {trouble}") },
        None => Standing { state: State::Coming, words },
    }
}

/// Judges a pod of its own.
pub fn of_pod(pod: &Value) -> Standing {
    let standing = |state, words: String| Standing { state, words };
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
    match pod["status"]["phase"].as_str().unwrap_or("Pending") {
        "Succeeded" => standing(State::Ready, "completed".to_owned()),
        "Failed" => standing(State::Failed, exit(pod)),
        "Running" if ready => standing(State::Ready, "running".to_owned()),
        phase => match trouble(pod) {
            Some(trouble) => standing(State::Troubled, trouble),
            None => standing(State::Coming, phase.to_lowercase()),
        },
    }
}

/// How a failed pod ended.
fn exit(pod: &Value) -> String {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let ended =
        statuses.map(|status| &status["state"]["terminated"]).find(|ended| ended["exitCode"].as_i64() != Some(0));
    match ended {
        Some(ended) if !ended.is_null() => {
            let reason = ended["reason"].as_str().unwrap_or("Error");
            format!("failed: {reason}, exit code {}", ended["exitCode"])
        }
        _ => format!("failed: {}", pod["status"]["reason"].as_str().unwrap_or("no reason given")),
    }
}

/// What keeps a pod from being ready, when it is more than time.
fn trouble(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    if let Some(unscheduled) = conditions.find(|it| it["type"] == "PodScheduled" && it["status"] == "False") {
        return text(&unscheduled["message"]).or_else(|| text(&unscheduled["reason"]));
    }
    let lists = ["initContainerStatuses", "containerStatuses"];
    let containers = lists.iter().flat_map(|list| status[*list].as_array().into_iter().flatten());
    containers.map(|container| &container["state"]["waiting"]).find_map(|waiting| {
        let reason = waiting["reason"].as_str().filter(|it| !["ContainerCreating", "PodInitializing"].contains(it))?;
        let message = waiting["message"].as_str().and_then(|message| message.lines().next());
        Some(message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {message}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_is_ready_when_all_its_new_pods_are() {
        let deployment = |observed: i64, replicas: i64, updated: i64, ready: i64| {
            json!({
                "kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 3},
                "status": {"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready},
            })
        };
        let table = [
            (deployment(2, 3, 3, 3), State::Ready),
            (deployment(1, 3, 3, 3), State::Coming),
            (deployment(2, 4, 3, 3), State::Coming),
            (deployment(2, 3, 2, 3), State::Coming),
            (deployment(2, 3, 3, 2), State::Coming),
        ];
        for (object, state) in table {
            assert_eq!(of_workload(&object, &[]).state, state, "{object}");
        }
        let waiting = json!({"reason": "ErrImagePull", "message": "no such image\nmore"});
        let pod = json!({"status": {"containerStatuses": [{"state": {"waiting": waiting}}]}});
        let standing = of_workload(&deployment(2, 3, 3, 0), &[pod]);
        assert_eq!(standing.words, "0/3 ready: ErrImagePull: no such image");
        assert_eq!(standing.state, State::Troubled);
    }

    #[test]
    fn a_pod_that_ran_once_is_done() {
        let pod = |status: Value| json!({"status": status});
        let failed = json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 2, "reason": "Error"}}}]});
        let table = [
            (json!({"phase": "Succeeded"}), State::Ready, "completed"),
            (failed, State::Failed, "failed: Error, exit code 2"),
            (json!({"phase": "Pending"}), State::Coming, "pending"),
            (json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), State::Ready, "running"),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes fit"}]}),
                State::Troubled,
                "0/1 nodes fit",
            ),
        ];
        for (status, state, words) in table {
            assert_eq!(of_pod(&pod(status)), Standing { state, words: words.to_owned() });
        }
    }
}
