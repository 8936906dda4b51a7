//! From a pod's state to `status`: pure, and small enough to keep and to compare.
//!
//! The patch replaces what the kubelet owns and leaves what others wrote (their conditions are merged by type).
//! Source: kubelet, `generateAPIPodStatus` and the status manager.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::spec::Resources;
use super::spec::{Role, Spec};
use super::state::{Container, Ended, Gate, Guest, Life, PodPhase, PostStart, Resize, Sandbox, State};

/// What all reports of a node share.
#[derive(Clone, Debug)]
pub struct Node {
    pub ip: IpAddr,
    /// The scheme of container ids.
    pub scheme: &'static str,
}

/// The conditions that the kubelet owns, as they were last reported. Empty for a new pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub held: Vec<Condition>,
    /// Types that were reported once and hold no longer: they are taken out by name, since others' conditions stay.
    pub lifted: Vec<&'static str>,
}

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

/// The condition types of the kubelet: those that every pod has, and those that come and go. Source:
/// `PodConditionByKubelet`, `PodConditionSharedByKubelet`.
pub const KINDS: [&str; 8] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "DisruptionTarget",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
];

/// All of a pod's containers share this much room for the messages of their ends. Source: kubelet,
/// `MaxPodTerminationMessageLogLength`.
const MESSAGES_BYTES_MAX: usize = 12 << 10;

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
    let is_ready = conditions.held.iter().any(|condition| condition.kind == "Ready" && condition.is_true);
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
    let written = conditions.held.iter().map(|condition| condition.to_json(state.generation));
    let lifted = conditions.lifted.iter().map(|kind| json!({"$patch": "delete", "type": kind}));
    status.insert("conditions".into(), Value::Array(written.chain(lifted).collect()));
    let containers: Vec<(Role, Value)> =
        state.each().map(|(at, container, role)| (role, container_status(state, at, container, node))).collect();
    let mut lists: [(&str, Vec<Value>); 3] =
        ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"].map(|list| (list, Vec::new()));
    for (role, container) in containers {
        let list = match role {
            Role::Init | Role::Sidecar => 0,
            Role::Main => 1,
            Role::Ephemeral => 2,
        };
        lists[list].1.push(container);
    }
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        status.insert(name.into(), Value::Array(list));
    }
    Report { phase, is_ready, conditions, status: Value::Object(status) }
}

impl Report {
    /// The strategic merge patch that writes this report to the pod with this uid, and to no other of its name.
    pub fn patch(&self, uid: &str) -> Value {
        json!({"metadata": {"uid": uid}, "status": self.status})
    }
}

fn pod_reason(state: &State) -> (&str, &str) {
    state.shown_outcome().map_or(("", ""), |outcome| (&outcome.reason, &outcome.message))
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
    let serves = spec.role != Role::Ephemeral;
    let mut status = json!({
        "name": &*spec.name,
        "image": image.map_or(&*spec.image_text, |image| &*image.name),
        "imageID": image.map_or("", |image| &*image.id),
        "restartCount": container.restarts,
        "ready": is_done || serves && container.is_ready(),
        "state": current,
        "lastState": last,
    });
    if serves {
        status["started"] = running.is_some_and(|running| running.is_there() && running.is_started).into();
    }
    let resources = running.map_or(&container.resources, |running| &running.resources);
    status["resources"] = resources_json(resources);
    if !container.resources.requests.is_empty() {
        status["allocatedResources"] = json!(container.resources.requests);
    }
    if !current_id.is_empty() {
        status["containerID"] = current_id.into();
    }
    status
}

fn resources_json(resources: &Resources) -> Value {
    let mut written = Map::new();
    for (name, map) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        if !map.is_empty() {
            written.insert(name.into(), json!(map));
        }
    }
    Value::Object(written)
}

/// `state` and `lastState`.
fn states(state: &State, at: usize, container: &Container, id: &impl Fn(&str) -> String) -> (Value, Value) {
    let serving = state.spec.containers.iter().filter(|container| container.role != Role::Ephemeral).count();
    let message_bytes_max = MESSAGES_BYTES_MAX / serving.max(1);
    let ended =
        |ended: &Option<Box<Ended>>| ended.as_ref().map_or(json!({}), |ended| ended.to_json(id, message_bytes_max));
    if let Some(running) = container.running().filter(|running| running.post_start == PostStart::Done) {
        return (json!({"running": {"startedAt": time(running.since)}}), ended(&container.ended_before));
    }
    if let Some((reason, message)) = waiting(state, at, container) {
        // The end before this wait is the last state, and so it is while a hook keeps the next instance waiting.
        let last = container.ended.as_ref().or(container.ended_before.as_ref());
        let mut waiting = json!({"reason": reason});
        if !message.is_empty() {
            waiting["message"] = message.into();
        }
        return (json!({"waiting": waiting}), ended(&last.cloned()));
    }
    (ended(&container.ended), ended(&container.ended_before))
}

/// Why a container that does not run waits; `None` when it ended and that is what is to be shown.
fn waiting(state: &State, at: usize, container: &Container) -> Option<(&'static str, String)> {
    let role = state.spec.containers[at].role;
    if let Some(PostStart::Failed(message)) = container.running().map(|running| &running.post_start) {
        return Some(("PostStartHookError", message.to_string()));
    }
    if let Some(trouble) = &container.trouble {
        return Some((trouble.reason, trouble.message.clone()));
    }
    if let Some(ended) = &container.ended {
        let restarts = state.wants_to_run() && container.is_over() && state.restarts(at);
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
    let is_coming = container.is_on_its_way();
    let waits_for_init = match role {
        Role::Main => !state.is_initialized,
        Role::Init | Role::Sidecar => !state.is_initialized && !is_coming,
        Role::Ephemeral => false,
    };
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
    fn to_json(&self, id: &impl Fn(&str) -> String, message_bytes_max: usize) -> Value {
        let mut ended = json!({
            "exitCode": self.exit_code,
            "reason": self.reason,
            "finishedAt": time(self.finished_at),
            "startedAt": self.started_at.map_or(Value::Null, time),
        });
        if !self.message.is_empty() {
            ended["message"] = self.message[..self.message.floor_char_boundary(message_bytes_max)].into();
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
    let said: [Option<Said>; KINDS.len()] = [
        Some((has_sandbox, "", String::new())),
        Some(initialized(state, phase)),
        Some(ready(state, &containers_ready)),
        Some(containers_ready),
        disruption(state),
        resize_pending(state),
        resize_in_progress(state),
        state.is_starting_over.then(|| (true, "", String::new())),
    ];
    let of = |kind: &str| before.held.iter().find(|condition| condition.kind == kind);
    let mut conditions = Conditions { held: Vec::with_capacity(4), lifted: before.lifted.clone() };
    for (kind, said) in KINDS.into_iter().zip(said) {
        match said {
            Some((is_true, reason, message)) => {
                let since = of(kind).filter(|before| before.is_true == is_true).map_or(now, |before| before.since);
                conditions.held.push(Condition { kind, is_true, reason, message, since });
                conditions.lifted.retain(|lifted| *lifted != kind);
            }
            None if of(kind).is_some() && kind != "DisruptionTarget" => conditions.lifted.push(kind),
            None => {}
        }
    }
    conditions
}

/// Source: kubelet, eviction and node shutdown.
fn disruption(state: &State) -> Option<Said> {
    let outcome = state.shown_outcome().filter(|outcome| outcome.is_disruption)?;
    Some((true, "TerminationByKubelet", outcome.message.clone()))
}

fn resize_pending(state: &State) -> Option<Said> {
    match state.resize.as_deref()? {
        Resize::Pending { lack, .. } => {
            Some((true, if lack.is_infeasible { "Infeasible" } else { "Deferred" }, lack.message.clone()))
        }
        Resize::Asked | Resize::Under { .. } => None,
    }
}

fn resize_in_progress(state: &State) -> Option<Said> {
    match state.resize.as_deref()? {
        Resize::Under { error: Some(error) } => Some((true, "Error", error.clone())),
        Resize::Under { error: None } => Some((true, "", String::new())),
        Resize::Asked | Resize::Pending { .. } => None,
    }
}

/// Source: kubelet, `GeneratePodInitializedCondition`.
fn initialized(state: &State, phase: PodPhase) -> Said {
    let names = |container: &Container, role: Role| match role {
        Role::Init => !container.has_succeeded(),
        Role::Sidecar => !container.running().is_some_and(|running| running.is_there() && running.is_started),
        Role::Main | Role::Ephemeral => false,
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
    let unready = named(state, |container, role| matches!(role, Role::Main | Role::Sidecar) && !container.is_ready());
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
    let why = |Gate { kind, status }: &Gate| match status {
        None => format!("corresponding condition of pod readiness gate {kind:?} does not exist."),
        Some(status) => format!("the status of pod readiness gate {kind:?} is not \"True\", but {status}"),
    };
    let each: Vec<String> = state.unmet_gates.iter().map(why).collect();
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
