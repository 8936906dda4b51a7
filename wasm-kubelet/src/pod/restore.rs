//! A pod's state, made from what the API remembers of it and the node has noted: how a kubelet that was killed goes on.
//!
//! No container outlives its kubelet. One that was running is lost: it is shown as ended with code 137 and, where
//! `restartPolicy` lets it, started again, which counts as a restart. Source: kubelet, `ContainerStatusUnknown`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;

use super::instances::Instance;
use super::report::{Condition, Conditions, KINDS, container_id};
use super::spec::{Resources, Role, Spec};
use super::state::{Container, Ended, Gate, Guest, Life, Outcome, Phase, State, Wish};

/// A pod as its status remembers it.
#[derive(Debug)]
pub struct Restored {
    pub state: State,
    pub conditions: Conditions,
    /// The address that it had.
    pub address: Option<Ipv4Addr>,
}

/// Reads what the API has of the pod, and what of its `instances` the API was not told.
pub fn restore(spec: Arc<Spec>, pod: &core::Pod, instances: &[Instance], now: Timestamp) -> Restored {
    let empty = core::PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty);
    let mut state = State::new(spec, now);
    if let Some(start_time) = &status.start_time {
        state.start_time = start_time.0;
    }
    let init = status.init_container_statuses.iter().flatten();
    let rest = status.container_statuses.iter().chain(&status.ephemeral_container_statuses).flatten();
    let statuses: Vec<_> = init.chain(rest).collect();
    for (at, (container, spec)) in state.containers.iter_mut().zip(state.spec.containers.iter()).enumerate() {
        if let Some(status) = statuses.iter().find(|status| status.name == *spec.name) {
            *container = restore_container(status, spec, now);
        }
        if let Some(instance) = instances.iter().find(|instance| *instance.container == *spec.name) {
            let id = container_id(&state.spec, Guest { container: at, restart: instance.restart });
            recall(container, instance, id, now);
        }
    }
    let init_done = state.each().all(|(_, container, role)| role != Role::Init || container.has_succeeded());
    let mains_ran = state.each().any(|(_, container, role)| role == Role::Main && container.has_run());
    state.is_initialized = state.is_initialized || init_done && mains_ran;
    if let Some(outcome) = final_outcome(status) {
        // What has come to its end stays as it was reported.
        state.outcome = Some(outcome);
        state.life = Life::Reported;
    }
    let conditions = status.conditions.iter().flatten().filter_map(restore_condition).collect();
    let address = status.pod_ip.as_deref().and_then(|address| address.parse().ok());
    Restored { state, conditions: Conditions { held: conditions, lifted: Vec::new() }, address }
}

fn restore_container(status: &core::ContainerStatus, spec: &super::spec::Container, now: Timestamp) -> Container {
    let terminated = |state: &Option<core::ContainerState>| state.as_ref().and_then(|state| state.terminated.clone());
    let mut container = Container::of(spec);
    if let Some(resources) = &status.resources {
        // What the node had given it: what it was asked for since then is asked of the node again.
        container.resources = Arc::new(Resources::of(Some(resources)));
    }
    container.restarts = u32::try_from(status.restart_count).unwrap_or(0);
    let current = status.state.as_ref();
    let ended = if let Some(running) = current.and_then(|state| state.running.as_ref()) {
        container.ended_before = terminated(&status.last_state).map(|ended| Box::new(restore_ended(&ended, now)));
        let started_at = running.started_at.as_ref().map(|time| time.0);
        Some(lost(started_at, plain_id(status.container_id.as_deref()), now))
    } else if let Some(ended) = terminated(&status.state) {
        container.ended_before = terminated(&status.last_state).map(|ended| Box::new(restore_ended(&ended, now)));
        Some(restore_ended(&ended, now))
    } else {
        terminated(&status.last_state).map(|ended| restore_ended(&ended, now))
    };
    if let Some(ended) = ended {
        container.ended = Some(Box::new(ended));
        container.phase = Phase::Ended;
    }
    container
}

/// Adds what the node has noted of the newest instance, where the API has not heard of it or not of its end.
fn recall(container: &mut Container, instance: &Instance, id: String, now: Timestamp) {
    if instance.restart < container.restarts {
        return;
    }
    let is_known = container.ended.as_ref().is_some_and(|ended| ended.container_id == id);
    let is_told = is_known && container.ended.as_ref().is_some_and(|ended| ended.reason != LOST);
    if is_told {
        return;
    }
    if !is_known {
        container.ended_before = instance.before.clone().or_else(|| container.ended.take());
    }
    let ended = instance.ended.clone().unwrap_or_else(|| Box::new(lost(Some(instance.began), id, now)));
    container.restarts = instance.restart;
    container.ended = Some(ended);
    container.phase = Phase::Ended;
}

/// How an instance ended that nobody has seen the end of.
const LOST: &str = "ContainerStatusUnknown";

fn lost(started_at: Option<Timestamp>, container_id: String, now: Timestamp) -> Ended {
    Ended {
        exit_code: 137,
        reason: LOST.into(),
        message: "The container could not be located when the kubelet started".into(),
        started_at,
        finished_at: now,
        container_id,
    }
}

fn restore_ended(ended: &core::ContainerStateTerminated, now: Timestamp) -> Ended {
    Ended {
        exit_code: ended.exit_code,
        reason: ended.reason.clone().unwrap_or_default(),
        message: ended.message.clone().unwrap_or_default(),
        started_at: ended.started_at.as_ref().map(|time| time.0),
        finished_at: ended.finished_at.as_ref().map_or(now, |time| time.0),
        container_id: plain_id(ended.container_id.as_deref()),
    }
}

/// An id without its scheme.
fn plain_id(id: Option<&str>) -> String {
    id.and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned()).unwrap_or_default()
}

fn restore_condition(condition: &core::PodCondition) -> Option<Condition> {
    let kind = KINDS.into_iter().find(|kind| *kind == condition.type_)?;
    let since = condition.last_transition_time.as_ref()?.0;
    let message = condition.message.clone().unwrap_or_default();
    Some(Condition { kind, is_true: condition.status == "True", reason: "", message, since })
}

/// What the API's object asks for now.
pub fn wish(pod: &core::Pod, spec: &Spec) -> Wish {
    let status = pod.status.as_ref();
    let unmet = |kind: &String| {
        let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let status = conditions.find(|condition| condition.type_ == *kind).map(|condition| condition.status.clone());
        (status.as_deref() != Some("True")).then(|| Gate { kind: kind.clone(), status })
    };
    let meta = &pod.metadata;
    Wish {
        generation: meta.generation.unwrap_or(0),
        spec: None,
        unmet_gates: spec.readiness_gates.iter().filter_map(unmet).collect(),
        deletion_grace_seconds: meta
            .deletion_timestamp
            .as_ref()
            .map(|_| meta.deletion_grace_period_seconds.unwrap_or(0)),
        outcome: status.and_then(final_outcome),
    }
}

fn final_outcome(status: &core::PodStatus) -> Option<Outcome> {
    let is_failed = match status.phase.as_deref() {
        Some("Failed") => true,
        Some("Succeeded") => false,
        _ => return None,
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    let is_disruption =
        conditions.any(|it| it.type_ == "DisruptionTarget" && it.reason.as_deref() == Some("TerminationByKubelet"));
    Some(Outcome {
        is_failed,
        is_disruption,
        is_known: true,
        ..Outcome::failed(text(&status.reason), text(&status.message))
    })
}

#[cfg(test)]
mod tests;
