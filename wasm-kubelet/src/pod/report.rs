//! From a pod's state to `status`: pure, and small enough to keep and to compare.
//!
//! The patch replaces what the kubelet owns and leaves what others wrote (their conditions are merged by type).
//! Source: kubelet, `generateAPIPodStatus` and the status manager.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::spec::{Role, Spec};
use super::state::{Container, Ended, Guest, Life, Phase, PodPhase, Sandbox, State};

/// What all reports of a node share.
#[derive(Clone, Debug)]
pub struct Node {
    pub ip: IpAddr,
    /// The scheme of container ids.
    pub scheme: &'static str,
}

/// The conditions that the kubelet owns, as they were last reported. Empty for a new pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(pub Vec<Condition>);

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub kind: &'static str,
    pub is_true: bool,
    pub reason: &'static str,
    pub message: String,
    /// When `is_true` last changed.
    pub since: Timestamp,
}

/// The condition types of the kubelet. Source: `PodConditionByKubelet`.
pub const KINDS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// A pod's whole status as this node sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub phase: PodPhase,
    pub is_ready: bool,
    pub conditions: Conditions,
    /// The body of the status patch, without the pod's uid.
    pub status: Value,
}

/// The report on `state`; `before` gives the conditions their times.
pub fn report(state: &State, node: &Node, before: &Conditions, former_ip: Option<Ipv4Addr>, now: Timestamp) -> Report {
    let phase = state.phase();
    let conditions = conditions(state, phase, before, now);
    let is_ready = conditions.0.iter().any(|condition| condition.kind == "Ready" && condition.is_true);
    let mut status = Map::new();
    status.insert("phase".into(), phase.as_str().into());
    status.insert("observedGeneration".into(), state.generation.into());
    let (reason, message) = pod_reason(state);
    status.insert("reason".into(), optional(reason));
    status.insert("message".into(), optional(message));
    status.insert("startTime".into(), time(state.start_time));
    status.insert("hostIP".into(), node.ip.to_string().into());
    status.insert("hostIPs".into(), json!([{"ip": node.ip.to_string()}]));
    if let Some(address) = state.address() {
        status.insert("podIP".into(), address.to_string().into());
        status.insert("podIPs".into(), pod_ips(address, former_ip));
    }
    let written = conditions.0.iter().map(|condition| condition.to_json(state.generation)).collect();
    status.insert("conditions".into(), Value::Array(written));
    let containers: Vec<(Role, Value)> =
        state.each().map(|(at, container, role)| (role, container_status(state, at, container, node))).collect();
    let (init, main): (Vec<_>, Vec<_>) = containers.into_iter().partition(|(role, _)| *role != Role::Main);
    let values = |list: Vec<(Role, Value)>| Value::Array(list.into_iter().map(|(_, value)| value).collect());
    if !init.is_empty() {
        status.insert("initContainerStatuses".into(), values(init));
    }
    status.insert("containerStatuses".into(), values(main));
    Report { phase, is_ready, conditions, status: Value::Object(status) }
}

impl Report {
    /// The strategic merge patch that writes this report to the pod with this uid, and to no other of its name.
    pub fn patch(&self, uid: &str) -> Value {
        json!({"metadata": {"uid": uid}, "status": self.status})
    }
}

fn pod_reason(state: &State) -> (&str, &str) {
    state.outcome.as_ref().map_or(("", ""), |outcome| (&outcome.reason, &outcome.message))
}

/// `podIPs` is merged by its addresses: one that this pod had before has to be taken out by name.
fn pod_ips(address: Ipv4Addr, former: Option<Ipv4Addr>) -> Value {
    match former.filter(|former| *former != address) {
        Some(former) => json!([{"ip": address.to_string()}, {"$patch": "delete", "ip": former.to_string()}]),
        None => json!([{"ip": address.to_string()}]),
    }
}

/// The id of a container's instance, without its scheme: the same whenever it is asked for.
pub fn container_id(spec: &Spec, guest: Guest) -> String {
    let name = &spec.containers[guest.container].name;
    let digest = Sha256::digest(format!("{}/{name}/{}", spec.pod.uid, guest.restart));
    digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn container_status(state: &State, at: usize, container: &Container, node: &Node) -> Value {
    let spec = &state.spec.containers[at];
    let id = |id: &str| if id.is_empty() { String::new() } else { format!("{}://{id}", node.scheme) };
    let running = container.running();
    let current_id = match (running, &container.ended) {
        (Some(running), _) => id(&container_id(&state.spec, Guest { container: at, restart: running.restart })),
        (None, Some(ended)) => id(&ended.container_id),
        (None, None) => String::new(),
    };
    let image = container.image.as_ref();
    let (current, last) = states(state, at, container, &id);
    let is_done = spec.role == Role::Init && container.is_over() && container.has_succeeded();
    let mut status = json!({
        "name": &*spec.name,
        "image": image.map_or(&*spec.image_text, |image| &*image.name),
        "imageID": image.map_or("", |image| &*image.id),
        "restartCount": container.restarts,
        "ready": is_done || container.is_ready(),
        "started": running.is_some_and(|running| running.is_started),
        "state": current,
        "lastState": last,
    });
    if !current_id.is_empty() {
        status["containerID"] = current_id.into();
    }
    status
}

/// `state` and `lastState`.
fn states(state: &State, at: usize, container: &Container, id: &impl Fn(&str) -> String) -> (Value, Value) {
    let ended = |ended: &Option<Box<Ended>>| ended.as_ref().map_or(json!({}), |ended| ended.to_json(id));
    if let Some(running) = container.running() {
        return (json!({"running": {"startedAt": time(running.since)}}), ended(&container.ended_before));
    }
    if let Some((reason, message)) = waiting(state, at, container) {
        let mut waiting = json!({"reason": reason});
        if !message.is_empty() {
            waiting["message"] = message.into();
        }
        return (json!({"waiting": waiting}), ended(&container.ended));
    }
    (ended(&container.ended), ended(&container.ended_before))
}

/// Why a container that does not run waits; `None` when it ended and that is what is to be shown.
fn waiting(state: &State, at: usize, container: &Container) -> Option<(&'static str, String)> {
    let role = state.spec.containers[at].role;
    if let Some(trouble) = &container.trouble {
        return Some((trouble.reason, trouble.message.clone()));
    }
    if let Some(ended) = &container.ended {
        let restarts = state.wants_to_run() && container.is_over() && state.restarts(role, container);
        let delay = container.crashes.delay_seconds(ended.finished_at);
        let is_past = state.is_initialized && role == Role::Init;
        return (restarts && delay > 0 && !is_past).then(|| ("CrashLoopBackOff", crash_loop(state, at, delay)));
    }
    // What is tried again shows in events; only what is final shows in the status.
    if let Sandbox::Failing(trouble) = &state.sandbox
        && trouble.retry.is_none()
    {
        return Some((trouble.reason, trouble.message.clone()));
    }
    let waits_for_init =
        !state.is_initialized && (role == Role::Main || !matches!(container.phase, Phase::Pulling | Phase::Starting));
    Some((if waits_for_init { "PodInitializing" } else { "ContainerCreating" }, String::new()))
}

fn crash_loop(state: &State, at: usize, delay_seconds: u32) -> String {
    let (pod, name) = (&state.spec.pod, &state.spec.containers[at].name);
    let delay = match (delay_seconds / 60, delay_seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    };
    format!("back-off {delay} restarting failed container={name} pod={}_{}({})", pod.name, pod.namespace, pod.uid)
}

impl Ended {
    fn to_json(&self, id: &impl Fn(&str) -> String) -> Value {
        let mut ended = json!({
            "exitCode": self.exit_code,
            "reason": self.reason,
            "finishedAt": time(self.finished_at),
            "startedAt": self.started_at.map_or(Value::Null, time),
        });
        if !self.message.is_empty() {
            ended["message"] = self.message.clone().into();
        }
        if !self.container_id.is_empty() {
            ended["containerID"] = id(&self.container_id).into();
        }
        json!({ "terminated": ended })
    }
}

impl Condition {
    fn to_json(&self, generation: i64) -> Value {
        let mut condition = json!({
            "type": self.kind,
            "status": if self.is_true { "True" } else { "False" },
            "lastProbeTime": null,
            "lastTransitionTime": time(self.since),
            "observedGeneration": generation,
        });
        condition["reason"] = optional(self.reason);
        condition["message"] = optional(&self.message);
        condition
    }
}

/// What a condition says, before it has a time.
type Said = (bool, &'static str, String);

fn conditions(state: &State, phase: PodPhase, before: &Conditions, now: Timestamp) -> Conditions {
    let has_sandbox = matches!(state.sandbox, Sandbox::Ready(_));
    let containers_ready = containers_ready(state, phase);
    let said: [Said; 4] = [
        (has_sandbox, "", String::new()),
        initialized(state, phase),
        ready(state, &containers_ready),
        containers_ready,
    ];
    let each = KINDS.iter().zip(said).map(|(kind, (is_true, reason, message))| {
        let same = before.0.iter().find(|condition| condition.kind == *kind && condition.is_true == is_true);
        Condition { kind, is_true, reason, message, since: same.map_or(now, |condition| condition.since) }
    });
    Conditions(each.collect())
}

/// Source: kubelet, `GeneratePodInitializedCondition`.
fn initialized(state: &State, phase: PodPhase) -> Said {
    let names = |container: &Container, role: Role| match role {
        Role::Init => !container.has_succeeded(),
        Role::Sidecar => !container.running().is_some_and(|running| running.is_started),
        Role::Main => false,
    };
    match phase {
        PodPhase::Succeeded => (true, "PodCompleted", String::new()),
        _ if state.is_initialized => (true, "", String::new()),
        _ => {
            let message = format!("containers with incomplete status: [{}]", named(state, names));
            (false, "ContainersNotInitialized", message)
        }
    }
}

/// Source: kubelet, `GenerateContainersReadyCondition`.
fn containers_ready(state: &State, phase: PodPhase) -> Said {
    let unready = named(state, |container, role| role != Role::Init && !container.is_ready());
    match phase {
        PodPhase::Succeeded => (false, "PodCompleted", String::new()),
        PodPhase::Failed => (false, "PodFailed", String::new()),
        _ if unready.is_empty() => (true, "", String::new()),
        _ => (false, "ContainersNotReady", format!("containers with unready status: [{unready}]")),
    }
}

/// Source: kubelet, `GeneratePodReadyCondition`.
fn ready(state: &State, containers_ready: &Said) -> Said {
    if !containers_ready.0 {
        return containers_ready.clone();
    }
    if state.unmet_gates.is_empty() {
        return (true, "", String::new());
    }
    let each: Vec<String> = state
        .unmet_gates
        .iter()
        .map(|gate| format!("corresponding condition of pod readiness gate \"{gate}\" does not exist or is not True."))
        .collect();
    (false, "ReadinessGatesNotReady", each.join(", "))
}

fn named(state: &State, which: impl Fn(&Container, Role) -> bool) -> String {
    let names: Vec<&str> = state
        .each()
        .filter(|(_, container, role)| which(container, *role))
        .map(|(at, ..)| &*state.spec.containers[at].name)
        .collect();
    names.join(" ")
}

/// Whole seconds, as the API keeps times of a status.
fn time(time: Timestamp) -> Value {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string().into()
}

fn optional(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

/// Whether the pod's status is worth a write now; the rest of a start is written as one.
pub fn is_worth_writing(state: &State) -> bool {
    !state.is_in_motion() && !matches!(state.life, Life::Leaving { .. } | Life::Gone { .. })
}
