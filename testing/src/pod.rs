//! The life of a pod on a node that pretends, as a pure function: what is seen of the pod, and what is to be said.
//!
//! A pod is taken once: from then on its status is the test's to change, and only its deletion is heard again.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};

/// The annotation by which a pod says itself what becomes of it: a word of [`Outcome`]'s.
pub(crate) const ANNOTATION: &str = "testing.coracle.dev/outcome";

/// What becomes of a pod on a node that only pretends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// `runs`: it runs and is ready until it is deleted.
    #[default]
    Runs,
    /// `unready`: it runs, and does not become ready.
    Unready,
    /// `succeeds`: its containers end well.
    Succeeds,
    /// `fails`: its containers end with code 1; where they are restarted, they are in a crash loop.
    Fails,
    /// `no-image`: its images cannot be pulled.
    NoImage,
    /// `untouched`: nothing is said of it until it is deleted. The test writes its status.
    Untouched,
}

impl Outcome {
    /// What becomes of a pod when the test says nothing: what its annotation `testing.coracle.dev/outcome` says; without
    /// one a job's pod succeeds, and all others run.
    pub fn of(pod: &Pod) -> Self {
        let annotations = pod.metadata.annotations.as_ref();
        if let Some(outcome) = annotations.and_then(|all| all.get(ANNOTATION)?.parse().ok()) {
            return outcome;
        }
        let mut owners = pod.metadata.owner_references.iter().flatten();
        match owners.any(|owner| owner.kind == "Job" && owner.controller == Some(true)) {
            true => Self::Succeeds,
            false => Self::Runs,
        }
    }
}

impl FromStr for Outcome {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Ok(match word {
            "runs" => Self::Runs,
            "unready" => Self::Unready,
            "succeeds" => Self::Succeeds,
            "fails" => Self::Fails,
            "no-image" => Self::NoImage,
            "untouched" => Self::Untouched,
            _ => return Err(()),
        })
    }
}

/// Who decides about pods.
pub(crate) struct Outcomes(pub(crate) Arc<dyn Fn(&Pod) -> Outcome + Send + Sync>);

impl Default for Outcomes {
    fn default() -> Self {
        Self(Arc::new(Outcome::of))
    }
}

/// Where a pod is said to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) host: Ipv4Addr,
    pub(crate) pod: Ipv4Addr,
}

/// What is to be done about a pod.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Nothing,
    /// A strategic merge patch of its status.
    Report(Value),
    /// Its containers have ended: it may go.
    Remove,
}

/// What is to be done about a pod that is bound to a node.
pub(crate) fn plan(
    pod: &Pod,
    outcome: impl Fn(&Pod) -> Outcome,
    place: impl FnOnce() -> Place,
    now: Timestamp,
) -> Step {
    if pod.metadata.deletion_timestamp.is_some() {
        // Without grace it has been let go already, and others' finalizers hold it.
        return if pod.metadata.deletion_grace_period_seconds == Some(0) { Step::Nothing } else { Step::Remove };
    }
    let is_taken = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    let Some(spec) = pod.spec.as_ref().filter(|_| !is_taken) else { return Step::Nothing };
    let Some(life) = life(outcome(pod), spec.restart_policy.as_deref()) else { return Step::Nothing };
    Step::Report(json!({"status": status(spec, &life, place(), now)}))
}

/// How a pod's containers are, all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running { ready: bool },
    Ended { code: i32 },
    Crashing { code: i32 },
    NoImage,
}

/// Source: kubelet's `ShouldContainerBeRestarted`.
fn life(outcome: Outcome, restart_policy: Option<&str>) -> Option<Life> {
    let ended = |code: i32| match restart_policy {
        Some("Never") => Life::Ended { code },
        Some("OnFailure") if code == 0 => Life::Ended { code },
        _ => Life::Crashing { code },
    };
    Some(match outcome {
        Outcome::Runs => Life::Running { ready: true },
        Outcome::Unready => Life::Running { ready: false },
        Outcome::Succeeds => ended(0),
        Outcome::Fails => ended(1),
        Outcome::NoImage => Life::NoImage,
        Outcome::Untouched => return None,
    })
}

fn status(spec: &PodSpec, life: &Life, place: Place, now: Timestamp) -> Value {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (phase, is_initialized, is_ready, why_unready) = match life {
        Life::Running { ready } => ("Running", true, *ready, "ContainersNotReady"),
        Life::Ended { code: 0 } => ("Succeeded", true, false, "PodCompleted"),
        Life::Ended { .. } => ("Failed", true, false, "PodFailed"),
        Life::Crashing { .. } => ("Running", true, false, "ContainersNotReady"),
        Life::NoImage => ("Pending", spec.init_containers.is_none(), false, "ContainersNotReady"),
    };
    let condition = |kind: &str, is_true: bool, reason: &str| {
        let mut condition = json!({
            "type": kind, "status": if is_true { "True" } else { "False" }, "lastProbeTime": null,
            "lastTransitionTime": now,
        });
        if !is_true {
            condition["reason"] = reason.into();
        }
        condition
    };
    let ip = if spec.host_network == Some(true) { place.host } else { place.pod };
    let mut status = json!({
        "phase": phase,
        "startTime": now,
        "hostIP": place.host, "hostIPs": [{"ip": place.host}],
        "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [
            condition("PodReadyToStartContainers", true, ""),
            condition("Initialized", is_initialized, "ContainersNotInitialized"),
            condition("Ready", is_ready, why_unready),
            condition("ContainersReady", is_ready, why_unready),
        ],
        "containerStatuses": spec.containers.iter().map(|it| container(it, life, false, &now)).collect::<Vec<_>>(),
    });
    if let Some(initial) = &spec.init_containers {
        let each = initial.iter().map(|it| container(it, &initial_life(it, life), true, &now));
        status["initContainerStatuses"] = each.collect();
    }
    status
}

/// A sidecar lives as the pod does; what only prepares has ended well.
fn initial_life(container: &Container, life: &Life) -> Life {
    match life {
        Life::NoImage => Life::NoImage,
        life if container.restart_policy.as_deref() == Some("Always") => *life,
        _ => Life::Ended { code: 0 },
    }
}

fn container(container: &Container, life: &Life, is_initial: bool, now: &str) -> Value {
    let name = &container.name;
    let id = format!("fake://{name}");
    let terminated = |code: i32| {
        let reason = if code == 0 { "Completed" } else { "Error" };
        json!({"terminated": {
            "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now, "containerID": id,
        }})
    };
    let waiting = |reason: &str, message: String| json!({"waiting": {"reason": reason, "message": message}});
    let (state, last, restarts) = match life {
        Life::Running { .. } => (json!({"running": {"startedAt": now}}), json!({}), 0),
        Life::Ended { code } => (terminated(*code), json!({}), 0),
        Life::Crashing { code } => {
            let message = format!("back-off 10s restarting failed container={name}");
            (waiting("CrashLoopBackOff", message), terminated(*code), 1)
        }
        Life::NoImage => {
            let image = container.image.as_deref().unwrap_or_default();
            (waiting("ImagePullBackOff", format!("Back-off pulling image \"{image}\"")), json!({}), 0)
        }
    };
    let is_running = matches!(life, Life::Running { .. });
    // A container that prepares is ready when it has done so.
    let is_ready = *life == Life::Running { ready: true } || is_initial && *life == Life::Ended { code: 0 };
    json!({
        "name": name,
        "image": container.image,
        "imageID": if *life == Life::NoImage { "" } else { "fake://image" },
        "containerID": if *life == Life::NoImage { "" } else { id.as_str() },
        "ready": is_ready,
        "started": is_running,
        "restartCount": restarts,
        "state": state,
        "lastState": last,
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

    use super::*;

    fn pod(restart_policy: &str) -> Pod {
        let container = |name: &str| Container { name: name.to_owned(), ..Container::default() };
        let sidecar = Container { restart_policy: Some("Always".to_owned()), ..container("sidecar") };
        let spec = PodSpec {
            restart_policy: Some(restart_policy.to_owned()),
            init_containers: Some(vec![container("prepare"), sidecar]),
            containers: vec![container("main")],
            ..PodSpec::default()
        };
        Pod { spec: Some(spec), ..Pod::default() }
    }

    fn planned(pod: &Pod, outcome: Outcome) -> Step {
        let place = || Place { host: Ipv4Addr::new(10, 0, 0, 1), pod: Ipv4Addr::new(10, 244, 0, 1) };
        plan(pod, |_| outcome, place, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_pod_is_said_to_be_as_a_kubelet_would_say() {
        // What becomes of it, how it restarts; then: phase, ready, and the states of main, prepare and sidecar.
        let table = [
            (Outcome::Runs, "Always", ["Running", "True", "running", "terminated", "running"]),
            (Outcome::Unready, "Always", ["Running", "False", "running", "terminated", "running"]),
            (Outcome::Succeeds, "Never", ["Succeeded", "False", "terminated", "terminated", "terminated"]),
            (Outcome::Succeeds, "OnFailure", ["Succeeded", "False", "terminated", "terminated", "terminated"]),
            (Outcome::Succeeds, "Always", ["Running", "False", "waiting", "terminated", "waiting"]),
            (Outcome::Fails, "Never", ["Failed", "False", "terminated", "terminated", "terminated"]),
            (Outcome::Fails, "OnFailure", ["Running", "False", "waiting", "terminated", "waiting"]),
            (Outcome::NoImage, "Always", ["Pending", "False", "waiting", "waiting", "waiting"]),
        ];
        for (outcome, policy, want) in table {
            let Step::Report(patch) = planned(&pod(policy), outcome) else { panic!("{outcome:?} says nothing") };
            let status = &patch["status"];
            let ready = status["conditions"].as_array().and_then(|all| all.iter().find(|it| it["type"] == "Ready"));
            let state = |list: &str, at: usize| {
                let state = status[list][at]["state"].as_object();
                state.and_then(|state| state.keys().next().cloned()).unwrap_or_default()
            };
            let said = [
                status["phase"].as_str().unwrap_or_default().to_owned(),
                ready.and_then(|ready| ready["status"].as_str()).unwrap_or_default().to_owned(),
                state("containerStatuses", 0),
                state("initContainerStatuses", 0),
                state("initContainerStatuses", 1),
            ];
            assert_eq!(said, want, "{outcome:?} {policy}");
        }
    }

    #[test]
    fn a_pod_is_taken_once_and_let_go_once() {
        let mut taken = pod("Always");
        taken.status = Some(PodStatus { start_time: Some(Time(Timestamp::UNIX_EPOCH)), ..PodStatus::default() });
        assert_eq!(planned(&taken, Outcome::Runs), Step::Nothing, "its status is the test's now");
        assert_eq!(planned(&pod("Always"), Outcome::Untouched), Step::Nothing);
        for (grace, step) in [(Some(30), Step::Remove), (Some(0), Step::Nothing)] {
            taken.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
            taken.metadata.deletion_grace_period_seconds = grace;
            assert_eq!(planned(&taken, Outcome::Untouched), step);
        }
    }

    #[test]
    fn a_pod_says_itself_what_becomes_of_it() {
        let job = OwnerReference { kind: "Job".to_owned(), controller: Some(true), ..OwnerReference::default() };
        let of = |annotation: Option<&str>, owners: &[&OwnerReference]| {
            let annotations = annotation.map(|word| [(ANNOTATION.to_owned(), word.to_owned())].into());
            let owner_references = Some(owners.iter().copied().cloned().collect());
            let metadata = ObjectMeta { annotations, owner_references, ..ObjectMeta::default() };
            Outcome::of(&Pod { metadata, ..Pod::default() })
        };
        assert_eq!(of(None, &[]), Outcome::Runs);
        assert_eq!(of(None, &[&job]), Outcome::Succeeds);
        assert_eq!(of(Some("fails"), &[&job]), Outcome::Fails);
        assert_eq!(of(Some("no such word"), &[]), Outcome::Runs);
    }
}
