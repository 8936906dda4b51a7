//! What a pod's worker knows: the state that [`super::step`] turns into the next one, what can happen to it, and what
//! it wants done.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::backoff::Backoff;
use super::spec::{Resources, Restart, Role, Spec};
use crate::images::Image;
use crate::runtime::Exit;

/// A pod on this node.
#[derive(Clone, Debug)]
pub struct State {
    pub spec: Arc<Spec>,
    /// When this node first saw the pod.
    pub start_time: Timestamp,
    /// The newest `metadata.generation` seen.
    pub generation: i64,
    /// Readiness gates whose condition is not `True`.
    pub unmet_gates: Box<[Gate]>,
    pub sandbox: Sandbox,
    /// How often in a row the address or the volumes could not be had.
    pub prepare_failures: u32,
    /// In the order of [`Spec::containers`].
    pub containers: Box<[Container]>,
    /// Whether the init containers are behind us: they are not run again.
    pub is_initialized: bool,
    /// All containers end, and then all start anew, init containers first.
    pub is_starting_over: bool,
    /// Why the pod ends whatever its containers do: it was rejected, or was active for too long.
    pub outcome: Option<Outcome>,
    /// Until when its containers have at most, where the outcome leaves them less than the pod does.
    pub ends_by: Option<Timestamp>,
    pub deletion: Option<Deletion>,
    /// Other resources that were asked for and are not there yet.
    pub resize: Option<Box<Resize>>,
    pub life: Life,
}

/// A readiness gate, and what its condition says instead of `True`, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    pub kind: String,
    pub status: Option<String>,
}

/// Resources on their way to what the spec wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The node has been asked, and has not answered.
    Asked,
    /// The node does not have them.
    Pending { lack: Lack, retry: Option<Timestamp> },
    /// They are the pod's, but containers still run with others.
    Under { error: Option<String> },
}

/// Why a node does not give a pod more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// It never will.
    pub is_infeasible: bool,
    pub message: String,
}

/// How far towards its end the pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Containers run or are to run.
    Active,
    /// The kubelet stops: containers are stopped, and nothing is written about it.
    Leaving { deadline: Timestamp },
    /// Nothing runs and nothing will; address and volumes are given back.
    Settled,
    /// The API server has the final status.
    Reported,
    /// The API server was asked to remove the pod.
    Deleting,
    /// The API server has the pod no more.
    Gone { is_settled: bool },
}

/// The pod's address and volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    None,
    Preparing,
    Failing(Trouble),
    Ready(Ipv4Addr),
    /// Given back; what the address was.
    Released(Option<Ipv4Addr>),
}

/// A deletion that somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    pub grace_seconds: i64,
    pub deadline: Timestamp,
}

/// A pod's end that is not its containers' own doing. It shows once none of them runs, so that whoever replaces the pod
/// has no two of it. Source: kubelet, the status manager's `mergePodStatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub is_failed: bool,
    pub reason: String,
    pub message: String,
    /// The node ends it for its own sake: `DisruptionTarget`.
    pub is_disruption: bool,
    /// How long its containers have at most; `None`: as long as the pod gives them.
    pub grace: Option<Duration>,
    /// The API has it already: it shows whatever still runs.
    pub is_known: bool,
}

impl Outcome {
    /// The pod has failed.
    pub fn failed(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            is_failed: true,
            reason: reason.into(),
            message: message.into(),
            is_disruption: false,
            grace: None,
            is_known: false,
        }
    }

    /// The same, for the node's own sake.
    #[must_use]
    pub fn disruption(self) -> Self {
        Self { is_disruption: true, ..self }
    }

    /// The same, with no more than this for its containers to end.
    #[must_use]
    pub fn within(self, grace: Duration) -> Self {
        Self { grace: Some(grace), ..self }
    }
}

/// One container of the pod.
#[derive(Clone, Debug)]
pub struct Container {
    pub phase: Phase,
    /// How often it was started again.
    pub restarts: u32,
    pub image: Option<Image>,
    /// What the node has given it; what the spec wants is another while a resize is pending.
    pub resources: Arc<Resources>,
    /// How the newest instance ended, until the next one runs.
    pub ended: Option<Box<Ended>>,
    /// How the instance before that one ended; `lastState`.
    pub ended_before: Option<Box<Ended>>,
    pub crashes: Backoff,
    pub failures: Backoff,
    /// What keeps it from starting.
    pub trouble: Option<Box<Trouble>>,
}

/// Where a container is between two events.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Its turn has not come, or it waits for its next start.
    Idle,
    /// The image is on its way.
    Pulling,
    /// The image is there; containers before it start first.
    Pulled,
    /// The runtime has it.
    Starting,
    Running(Running),
    /// It ended, and is not started again unless `restartPolicy` wants it.
    Ended,
}

/// A running container.
#[derive(Clone, Debug)]
pub struct Running {
    pub since: Timestamp,
    pub restart: u32,
    /// The guest is there: its first instruction ran, or its server listens.
    pub is_up: bool,
    pub post_start: PostStart,
    /// What it runs with.
    pub resources: Arc<Resources>,
    /// Its startup probe has succeeded, or there is none.
    pub is_started: bool,
    /// What its readiness probe says, if there is one.
    pub probed_ready: Option<bool>,
    pub stop: Option<Stop>,
}

/// How far a container's `postStart` hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostStart {
    /// It comes once the guest is there, or runs.
    Pending,
    /// There is none, or it has ended well.
    Done,
    Failed(Box<str>),
}

/// A container that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    pub since: Timestamp,
    /// Until when it was to end, as it was last asked for.
    pub wanted: Timestamp,
    /// When it is brought to its next stage, whatever happens.
    pub deadline: Timestamp,
    pub stage: Stage,
}

/// How far the end of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its `preStop` hook runs.
    Hook,
    /// It waits for those that end before it.
    Turn,
    Asked,
    Killed,
}

/// How an instance ended; `state.terminated`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    pub container_id: String,
}

/// What keeps something from going on; `state.waiting`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: &'static str,
    pub message: String,
    /// When the failure is shown as a wait for the next attempt; `None` once it is, or where upstream makes no
    /// difference.
    pub settles: Option<Timestamp>,
    /// When it is tried again; `None`: never.
    pub retry: Option<Timestamp>,
}

/// One instance of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guest {
    /// Its place in [`Spec::containers`].
    pub container: usize,
    pub restart: u32,
}

/// Why an effect did not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As `waiting.reason` shows it.
    pub reason: &'static str,
    pub message: String,
}

/// What the API says of the pod, as far as it can change.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub generation: i64,
    /// The spec, where it is another than before: images and `activeDeadlineSeconds` may change.
    pub spec: Option<Arc<Spec>>,
    pub unmet_gates: Box<[Gate]>,
    /// Grace of a deletion that was asked for.
    pub deletion_grace_seconds: Option<i64>,
    /// Somebody ended the pod in the API.
    pub outcome: Option<Outcome>,
}

/// Everything that can happen to a pod.
#[derive(Clone, Debug)]
pub enum Event {
    /// The API's object is new, or has changed.
    Changed(Wish),
    /// The API has the pod no more.
    Gone,
    /// This node does not take the pod, or not any longer.
    Rejected(Outcome),
    /// Answers [`Effect::Prepare`].
    Prepared(Result<Ipv4Addr, Failure>),
    /// Answers [`Effect::Pull`].
    Pulled { container: usize, result: Result<Image, Failure> },
    /// Answers [`Effect::Pull`]: what the image names is nothing that runs here, and no later attempt ends differently.
    Refused { container: usize, failure: Failure },
    /// Answers [`Effect::Start`].
    Started { guest: Guest, result: Result<(), Failure> },
    /// The guest is there.
    Up(Guest),
    /// A hook has ended; `Err` is what it says.
    Hooked { guest: Guest, kind: HookKind, result: Result<(), String> },
    /// The guest has ended, with these last words.
    Exited { guest: Guest, exit: Exit, message: String },
    /// Answers [`Effect::Allocate`].
    Allocated(Result<(), Lack>),
    /// Answers [`Effect::Resize`].
    Resized { guest: Guest, result: Result<(), String> },
    /// A probe changed its mind.
    Probed { guest: Guest, kind: ProbeKind, result: Result<(), String> },
    /// A time came that [`State::wake`] named.
    Tick,
    /// The API server has the status as it is now.
    Reported,
    /// The kubelet stops; containers have until then.
    Leave { deadline: Timestamp },
}

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

/// Which of a container's hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    PostStart,
    PreStop,
}

/// What a pod wants done. None of these waits; each that can fail is answered by an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Give the pod an address and its volumes.
    Prepare,
    Pull {
        container: usize,
    },
    Start {
        guest: Guest,
    },
    /// Run a hook.
    Hook {
        guest: Guest,
        kind: HookKind,
    },
    /// Begin to probe it.
    Probe {
        guest: Guest,
    },
    /// Book what the spec requests now.
    Allocate,
    /// Have it run with what its container has been given.
    Resize {
        guest: Guest,
    },
    /// Ask it to end.
    Stop {
        guest: Guest,
    },
    /// End it.
    Kill {
        guest: Guest,
    },
    /// Tell whoever asks about the pod.
    Notice(Notice),
    /// Take address and volumes back.
    Release,
    /// Remove the pod from the API.
    Delete,
}

/// An event on the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub container: Option<usize>,
    pub is_warning: bool,
    pub reason: &'static str,
    pub message: String,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl PodPhase {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Whether nothing follows it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl State {
    /// A pod that this node has just been given.
    pub fn new(spec: Arc<Spec>, now: Timestamp) -> Self {
        let containers = spec.containers.iter().map(Container::of).collect();
        let is_initialized = spec.init_count() == 0;
        Self {
            spec,
            start_time: now,
            generation: 0,
            unmet_gates: Box::default(),
            sandbox: Sandbox::None,
            prepare_failures: 0,
            containers,
            is_initialized,
            is_starting_over: false,
            outcome: None,
            ends_by: None,
            deletion: None,
            resize: None,
            life: Life::Active,
        }
    }

    /// The pod's address, while it has one.
    pub fn address(&self) -> Option<Ipv4Addr> {
        match self.sandbox {
            Sandbox::Ready(address) => Some(address),
            Sandbox::Released(address) => address,
            Sandbox::None | Sandbox::Preparing | Sandbox::Failing(_) => None,
        }
    }

    /// Containers with their places and roles.
    pub fn each(&self) -> impl Iterator<Item = (usize, &Container, Role)> {
        let both = self.containers.iter().zip(self.spec.containers.iter());
        both.enumerate().map(|(at, (container, spec))| (at, container, spec.role))
    }

    /// Source: kubelet, `getPhase`.
    pub fn phase(&self) -> PodPhase {
        if let Some(outcome) = self.shown_outcome() {
            return if outcome.is_failed { PodPhase::Failed } else { PodPhase::Succeeded };
        }
        let all_ended = self.is_finished() && !self.is_busy();
        let is_ending = self.deletion.is_some() && matches!(self.life, Life::Settled | Life::Reported | Life::Deleting);
        if all_ended || is_ending {
            let is_success = self.mains().all(|main| main.ended.as_ref().is_some_and(|ended| ended.exit_code == 0));
            return if is_success { PodPhase::Succeeded } else { PodPhase::Failed };
        }
        if self.is_initialized && self.mains().all(Container::has_run) { PodPhase::Running } else { PodPhase::Pending }
    }

    /// The outcome, once it is to be seen.
    pub fn shown_outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref().filter(|outcome| outcome.is_known || !self.is_busy())
    }

    /// Whether what the pod comes to is settled: what runs of it only ends.
    pub fn is_decided(&self) -> bool {
        self.outcome.is_some() || self.is_finished() || self.phase().is_final()
    }

    /// Whether the containers have come to an end by themselves: all have run as often as `restartPolicy` lets them.
    pub fn is_finished(&self) -> bool {
        if self.is_starting_over {
            return false;
        }
        let init_failed = self.each().any(|(at, container, role)| {
            role == Role::Init && container.is_over() && !container.has_succeeded() && !self.restarts(at)
        });
        let mains_over = self.is_initialized
            && self.each().all(|(at, container, role)| role != Role::Main || container.is_over() && !self.restarts(at));
        init_failed || mains_over
    }

    /// Whether a container that ended is started again. Source: kubelet, `ShouldContainerBeRestarted`.
    pub fn restarts(&self, at: usize) -> bool {
        let (container, spec) = (&self.containers[at], &self.spec.containers[at]);
        let failed = !container.has_succeeded();
        let is_meant = container.ended.as_ref().is_some_and(|ended| spec.rules.about(ended.exit_code).is_some());
        match (spec.role, spec.rules.policy.unwrap_or(self.spec.restart)) {
            (Role::Ephemeral, _) => false,
            (Role::Sidecar, _) | (Role::Main, Restart::Always) => true,
            (Role::Init, Restart::Always) | (Role::Init | Role::Main, Restart::OnFailure) => failed || is_meant,
            (Role::Init | Role::Main, Restart::Never) => is_meant,
        }
    }

    /// Whether a container runs or is about to.
    pub fn is_busy(&self) -> bool {
        self.containers.iter().any(|container| matches!(container.phase, Phase::Starting | Phase::Running(_)))
    }

    /// Whether it is about to be something else, so that its status is not worth writing yet.
    pub fn is_in_motion(&self) -> bool {
        let preparing = self.sandbox == Sandbox::Preparing;
        let moving = |container: &Container| match &container.phase {
            Phase::Pulling | Phase::Pulled | Phase::Starting => container.trouble.is_none(),
            Phase::Running(running) => !running.is_there() || running.stop.is_some(),
            Phase::Idle | Phase::Ended => false,
        };
        self.life == Life::Active && (preparing || self.containers.iter().any(moving))
    }

    /// Whether containers are to run, as far as the pod as a whole is concerned.
    pub fn wants_to_run(&self) -> bool {
        let is_open = self.life == Life::Active && self.deletion.is_none() && self.outcome.is_none();
        is_open && self.spec.refusals.is_empty() && !self.is_finished()
    }

    /// When [`Event::Tick`] is to come. Names only times at which something is done, so that no tick is followed by
    /// another at once.
    pub fn wake(&self) -> Option<Timestamp> {
        let wants_to_run = self.wants_to_run();
        let sandbox = match &self.sandbox {
            Sandbox::Failing(trouble) if wants_to_run => trouble.retry,
            _ => None,
        };
        let deadline = self.deadline().filter(|_| wants_to_run);
        let is_driven = wants_to_run && matches!(self.sandbox, Sandbox::Ready(_));
        let containers = self.each().filter_map(|(at, container, role)| self.wake_of(at, container, role, is_driven));
        let resize = match self.resize.as_deref() {
            Some(Resize::Pending { retry, .. }) if wants_to_run => *retry,
            _ => None,
        };
        sandbox.into_iter().chain(deadline).chain(containers).chain(resize).min()
    }

    fn wake_of(&self, at: usize, container: &Container, role: Role, is_driven: bool) -> Option<Timestamp> {
        let is_driven = is_driven && (role == Role::Main) <= self.is_initialized;
        match &container.phase {
            Phase::Running(Running { stop: Some(stop), .. }) => {
                Some(stop.deadline).filter(|_| stop.stage != Stage::Killed)
            }
            Phase::Running(_) | Phase::Pulling | Phase::Pulled | Phase::Starting => None,
            Phase::Idle => {
                let trouble = container.trouble.as_ref()?;
                trouble.settles.into_iter().chain(trouble.retry.filter(|_| is_driven)).min()
            }
            Phase::Ended => {
                let ended = container.ended.as_ref()?;
                let is_past = self.is_initialized && role == Role::Init;
                let is_due = is_driven && !is_past && self.restarts(at);
                let due = is_due.then(|| container.crashes.due(ended.finished_at));
                due.into_iter().chain(container.trouble.as_ref().and_then(|trouble| trouble.settles)).min()
            }
        }
    }

    /// When `activeDeadlineSeconds` is over.
    pub fn deadline(&self) -> Option<Timestamp> {
        let active = jiff::SignedDuration::try_from(self.spec.active_deadline?).ok()?;
        self.start_time.checked_add(active).ok()
    }

    fn mains(&self) -> impl Iterator<Item = &Container> {
        self.each().filter(|(.., role)| *role == Role::Main).map(|(_, container, _)| container)
    }
}

impl Container {
    /// One that was never started.
    pub fn of(spec: &super::spec::Container) -> Self {
        Self {
            phase: Phase::Idle,
            restarts: 0,
            image: None,
            resources: spec.resources.clone(),
            ended: None,
            ended_before: None,
            crashes: Backoff::default(),
            failures: Backoff::default(),
            trouble: None,
        }
    }

    /// The running instance, if it runs.
    pub fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    /// As [`Container::running`].
    pub fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Running(running) => Some(running),
            _ => None,
        }
    }

    /// Whether the newest instance ended and no next one is under way.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Whether the newest instance that ended did so with code 0.
    pub fn has_succeeded(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.exit_code == 0)
    }

    /// Whether any instance ever ran.
    pub fn has_run(&self) -> bool {
        self.running().is_some() || self.ended.is_some()
    }

    /// Ready to serve. Source: kubelet's readiness manager: without a probe, whoever runs is ready, to its very end.
    pub fn is_ready(&self) -> bool {
        let is_ready =
            |running: &Running| running.is_there() && running.is_started && running.probed_ready != Some(false);
        self.running().is_some_and(is_ready)
    }

    /// Whether those that start after it have to wait: it is neither started nor failing to.
    pub fn is_on_its_way(&self) -> bool {
        match &self.phase {
            Phase::Pulling | Phase::Pulled | Phase::Starting => true,
            Phase::Running(running) => running.post_start == PostStart::Pending,
            Phase::Idle | Phase::Ended => false,
        }
    }

    /// The number of the instance that would start next.
    pub fn next_restart(&self) -> u32 {
        if self.ended.is_some() { self.restarts + 1 } else { self.restarts }
    }
}

impl Running {
    /// Whether it counts as running: the guest is there, and its `postStart` hook has ended.
    pub fn is_there(&self) -> bool {
        self.is_up && self.post_start == PostStart::Done
    }
}
