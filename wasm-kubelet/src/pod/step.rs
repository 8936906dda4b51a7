//! The one place that decides what a pod does next. Pure: a state and an event give the next state and its effects.
//!
//! An event is first written into the state ([`Step::apply`]), and then the state alone says what is to be done
//! ([`Step::advance`]), so that an event that comes twice, late or not at all does no harm.
//! Source: kubelet, `computePodActions` and `syncPod`.

mod hooks;
mod resize;
mod stop;

use jiff::{SignedDuration, Timestamp};

use super::report::container_id;
use super::spec::Role;
use super::state::{
    Container, Deletion, Effect, Ended, Event, Failure, Guest, Life, Notice, Outcome, Phase, PostStart, ProbeKind,
    Running, Sandbox, State, Trouble, Wish,
};
use super::volumes::CONFIG_ERROR;
use crate::images::Image;
use crate::limits::TERMINATION_MESSAGE_BYTES_MAX;
use crate::runtime::Exit;

/// How long a failure is shown as itself before it is shown as a wait for the next attempt.
const SETTLE: SignedDuration = SignedDuration::from_secs(1);

/// First pause before address and volumes are tried again, doubled each time up to the second.
/// Source: kubelet, `exponentialbackoff` of volume operations.
const PREPARE_RETRY: SignedDuration = SignedDuration::from_millis(500);
const PREPARE_RETRY_MAX: SignedDuration = SignedDuration::from_secs(122);

/// Why an image does not come; shown as a wait for the next attempt after [`SETTLE`].
/// Source: `pkg/kubelet/images/types.go` and the errors of `cri-api`.
const IMAGE_FAILURES: [&str; 3] = ["ErrImagePull", "RegistryUnavailable", "SignatureValidationFailed"];

/// What an event makes of a pod, and what is to be done for it. Nothing that is not due is done: who calls this wakes
/// up again at [`State::wake`].
pub fn step(state: State, event: Event, now: Timestamp) -> (State, Vec<Effect>) {
    let mut step = Step { state, now, effects: Vec::new() };
    step.apply(event);
    step.advance();
    (step.state, step.effects)
}

struct Step {
    state: State,
    now: Timestamp,
    effects: Vec<Effect>,
}

/// What the pod is to come to.
#[derive(Clone, Copy)]
enum Aim {
    /// Its containers run.
    Run,
    /// Its containers end, and then run again from the first.
    StartOver,
    /// It asks for what this node does not do.
    Refuse,
    /// It stays as it is.
    Stay,
    /// Its containers end, and then it is settled.
    End { grace: Option<Timestamp> },
}

impl Step {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Changed(wish) => self.changed(wish),
            Event::Gone => {
                let is_settled = !matches!(self.state.life, Life::Active | Life::Leaving { .. });
                self.state.life = Life::Gone { is_settled };
            }
            Event::Rejected(outcome) => self.rejected(outcome),
            Event::Prepared(result) => self.prepared(result),
            Event::Pulled { container, result } => self.pulled(container, result),
            Event::Refused { container, failure } => self.refused(container, failure),
            Event::Started { guest, result } => self.started(guest, result),
            Event::Up(guest) => self.up(guest),
            Event::Hooked { guest, kind, result } => self.hooked(guest, kind, result),
            Event::Exited { guest, exit, message } => self.exited(guest, exit, message),
            Event::Allocated(result) => self.allocated(result),
            Event::Resized { guest, result } => self.resized(guest, result),
            Event::Probed { guest, kind, result } => self.probed(guest, kind, result),
            Event::Tick => self.tick(),
            Event::Reported => {
                if self.state.life == Life::Settled {
                    self.state.life = Life::Reported;
                }
            }
            Event::Leave { deadline } => {
                if !matches!(self.state.life, Life::Gone { .. }) {
                    self.state.life = Life::Leaving { deadline };
                }
            }
        }
    }

    fn changed(&mut self, wish: Wish) {
        self.state.generation = self.state.generation.max(wish.generation);
        self.state.unmet_gates = wish.unmet_gates;
        if let Some(spec) = wish.spec {
            self.respecified(spec);
        }
        if let Some(known) = wish.outcome
            && !self.state.phase().is_final()
        {
            // A phase that is final is not written over.
            self.state.outcome = Some(known);
        }
        if self.state.resize.is_none() {
            self.resize();
        }
        let Some(grace_seconds) = wish.deletion_grace_seconds else { return };
        let is_shorter = self.state.deletion.is_none_or(|deletion| grace_seconds < deletion.grace_seconds);
        if is_shorter {
            let deadline = self.later(SignedDuration::from_secs(grace_seconds.max(0)));
            let deadline = self.state.deletion.map_or(deadline, |deletion| deletion.deadline.min(deadline));
            self.state.deletion = Some(Deletion { grace_seconds, deadline });
        }
    }

    /// A container whose image was changed is started again with the new one; ephemeral containers join; other resources
    /// are asked for.
    fn respecified(&mut self, spec: std::sync::Arc<super::spec::Spec>) {
        let old = std::mem::replace(&mut self.state.spec, spec.clone());
        let joined = spec.containers.iter().skip(self.state.containers.len()).map(Container::of);
        self.state.containers = self.state.containers.iter().cloned().chain(joined).collect();
        for (at, (old, new)) in old.containers.iter().zip(spec.containers.iter()).enumerate() {
            if old.image_text != new.image_text {
                let container = &mut self.state.containers[at];
                container.trouble = None;
                if matches!(container.phase, Phase::Pulled) {
                    container.phase = if container.ended.is_some() { Phase::Ended } else { Phase::Idle };
                }
                let message = format!("Container {} definition changed, will be restarted", new.name);
                self.stop(at, self.after(spec.grace), message);
            }
        }
        self.resize();
    }

    /// One that has come to its end stays what it is, and one that is about to only has less time.
    fn rejected(&mut self, outcome: Outcome) {
        if self.state.life != Life::Active {
            return;
        }
        let ends_by = outcome.grace.map(|grace| self.after(grace.min(self.state.spec.grace)));
        self.state.ends_by = self.state.ends_by.into_iter().chain(ends_by).min();
        if !self.state.is_decided() {
            self.end(outcome);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(reason) = reason_of(&outcome.reason) {
            let is_warning = reason != "DeadlineExceeded";
            self.notice(None, is_warning, reason, outcome.message.clone());
        }
        self.state.outcome = Some(outcome);
    }

    fn prepared(&mut self, result: Result<std::net::Ipv4Addr, Failure>) {
        if self.state.sandbox != Sandbox::Preparing {
            return;
        }
        self.state.sandbox = match result {
            Ok(address) => Sandbox::Ready(address),
            Err(failure) => {
                match failure.reason {
                    CONFIG_ERROR => self.notice(None, true, "Failed", format!("Error: {}", failure.message)),
                    reason => self.notice(None, true, reason, failure.message.clone()),
                }
                let pause =
                    PREPARE_RETRY.saturating_mul(1 << self.state.prepare_failures.min(16)).min(PREPARE_RETRY_MAX);
                self.state.prepare_failures += 1;
                // What the node does not do is refused, and not tried again.
                let retry = (failure.reason != CONFIG_ERROR).then(|| self.later(pause));
                Sandbox::Failing(Trouble { reason: failure.reason, message: failure.message, settles: None, retry })
            }
        };
    }

    fn pulled(&mut self, at: usize, result: Result<Image, Failure>) {
        if !matches!(self.state.containers[at].phase, Phase::Pulling) {
            return;
        }
        match result {
            Ok(image) => {
                let container = &mut self.state.containers[at];
                container.image = Some(image);
                container.phase = Phase::Pulled;
            }
            Err(failure) => self.failed(at, failure),
        }
    }

    /// Something keeps a container from starting: said, and tried again after a while.
    fn failed(&mut self, at: usize, failure: Failure) {
        let (settles, now) = (self.later(SETTLE), self.now);
        let container = &mut self.state.containers[at];
        container.failures.attempted(now);
        let retry = container.failures.due(now);
        let trouble = Trouble {
            reason: failure.reason,
            message: failure.message,
            settles: IMAGE_FAILURES.contains(&failure.reason).then_some(settles),
            retry: Some(retry),
        };
        for (said, message) in trouble_notices(&trouble, &self.state.spec.containers[at].image_text) {
            self.notice(Some(at), true, said, message);
        }
        let container = &mut self.state.containers[at];
        container.trouble = Some(Box::new(trouble));
        container.phase = Phase::Idle;
    }

    /// An image that is none of ours: said once, and not asked for again until the pod names another.
    fn refused(&mut self, at: usize, failure: Failure) {
        if !matches!(self.state.containers[at].phase, Phase::Pulling) {
            return;
        }
        let trouble = Trouble { reason: failure.reason, message: failure.message, settles: None, retry: None };
        for (said, message) in trouble_notices(&trouble, &self.state.spec.containers[at].image_text) {
            self.notice(Some(at), true, said, message);
        }
        let container = &mut self.state.containers[at];
        container.trouble = Some(Box::new(trouble));
        container.phase = Phase::Idle;
    }

    fn started(&mut self, guest: Guest, result: Result<(), Failure>) {
        let now = self.now;
        let spec = self.state.spec.clone();
        let spec = &spec.containers[guest.container];
        let container = &mut self.state.containers[guest.container];
        if !matches!(container.phase, Phase::Starting) || container.next_restart() != guest.restart {
            return;
        }
        if let Err(failure) = result {
            return self.failed(guest.container, failure);
        }
        if container.ended.is_some() {
            container.crashes.attempted(now);
            container.ended_before = container.ended.take();
        }
        container.restarts = guest.restart;
        container.trouble = None;
        container.failures.reset();
        container.phase = Phase::Running(Running {
            since: now,
            restart: guest.restart,
            is_up: false,
            post_start: if spec.hooks.post_start.is_some() { PostStart::Pending } else { PostStart::Done },
            resources: container.resources.clone(),
            is_started: spec.probes.startup.is_none(),
            probed_ready: spec.probes.readiness.is_some().then_some(false),
            stop: None,
        });
        self.notice(Some(guest.container), false, "Created", "Container created".into());
        self.notice(Some(guest.container), false, "Started", "Container started".into());
    }

    fn exited(&mut self, guest: Guest, exit: Exit, message: String) {
        let now = self.now;
        let settles = self.later(SETTLE);
        let container_id = container_id(&self.state.spec, guest);
        let Some(running) = self.running(guest) else { return };
        let (exit_code, reason) = outcome_of(&exit);
        // What the guest left as its last words says more than how it trapped.
        let mut message = match exit {
            Exit::Trap { message: trap } if message.is_empty() => trap,
            _ => message,
        };
        message.truncate(message.floor_char_boundary(TERMINATION_MESSAGE_BYTES_MAX));
        let (reason, started_at) = (reason.into(), Some(running.since));
        let ended = Ended { exit_code, reason, message, started_at, finished_at: now, container_id };
        let unhooked = match &running.post_start {
            PostStart::Failed(message) => Some(message.to_string()),
            _ => None,
        };
        let container = &mut self.state.containers[guest.container];
        container.ended = Some(Box::new(ended));
        container.phase = Phase::Ended;
        let rule = self.state.spec.containers[guest.container].rules.about(exit_code);
        let is_for_all = rule.is_some_and(|rule| rule.is_for_all);
        let is_restarted = self.state.wants_to_run() && self.state.restarts(guest.container);
        self.state.is_starting_over |= is_restarted && is_for_all;
        let is_restarted = is_restarted && !self.state.is_starting_over;
        let container = &mut self.state.containers[guest.container];
        let is_delayed = is_restarted && container.crashes.delay_seconds(now) > 0;
        if let Some(message) = unhooked.filter(|_| is_delayed) {
            let trouble = Trouble { reason: "PostStartHookError", message, settles: Some(settles), retry: None };
            container.trouble = Some(Box::new(trouble));
        }
        if is_delayed {
            let pod = &self.state.spec.pod;
            let name = &self.state.spec.containers[guest.container].name;
            let message = format!(
                "Back-off restarting failed container {name} in pod {}_{}({})",
                pod.name, pod.namespace, pod.uid
            );
            self.notice(Some(guest.container), true, "BackOff", message);
        }
        self.settle_resize();
    }

    fn probed(&mut self, guest: Guest, kind: ProbeKind, result: Result<(), String>) {
        let Some(running) = self.running(guest) else { return };
        match (kind, &result) {
            (ProbeKind::Startup, Ok(())) => running.is_started = true,
            (ProbeKind::Readiness, _) => running.probed_ready = Some(result.is_ok()),
            (ProbeKind::Startup | ProbeKind::Liveness, Err(_)) => self.restart_unhealthy(guest, kind),
            (ProbeKind::Liveness, Ok(())) => {}
        }
    }

    fn restart_unhealthy(&mut self, guest: Guest, kind: ProbeKind) {
        let container = &self.state.spec.containers[guest.container];
        let (what, probe) = match kind {
            ProbeKind::Startup => ("startup", &container.probes.startup),
            _ => ("liveness", &container.probes.liveness),
        };
        let grace = probe.as_ref().and_then(|probe| probe.grace).unwrap_or(self.state.spec.grace);
        let message = format!("Container {} failed {what} probe, will be restarted", container.name);
        self.stop(guest.container, self.after(grace), message);
    }

    fn tick(&mut self) {
        for at in 0..self.state.containers.len() {
            let now = self.now;
            let trouble = self.state.containers[at].trouble.as_mut();
            if let Some(trouble) = trouble.filter(|trouble| trouble.settles.is_some_and(|settles| settles <= now)) {
                if trouble.reason == "PostStartHookError" {
                    self.state.containers[at].trouble = None;
                    continue;
                }
                trouble.settles = None;
                let failure = std::mem::replace(&mut trouble.reason, "ImagePullBackOff");
                let image = &self.state.spec.containers[at].image_text;
                let message = format!("Back-off pulling image {image:?}");
                trouble.message = format!("{message}: {failure}: {}", trouble.message);
                self.notice(Some(at), false, "BackOff", message);
                self.notice(Some(at), true, "Failed", "Error: ImagePullBackOff".into());
            }
        }
        let is_over_time = self.state.deadline().is_some_and(|deadline| deadline <= self.now);
        if is_over_time && !self.state.is_decided() {
            let message = "Pod was active on the node longer than the specified deadline";
            self.end(Outcome::failed("DeadlineExceeded", message));
        }
        self.retry_resize();
    }

    fn advance(&mut self) {
        match self.aim() {
            Aim::Stay => {}
            Aim::Run => self.run(),
            Aim::StartOver => self.start_over(),
            Aim::Refuse => self.refuse(),
            Aim::End { grace } => self.wind_down(grace),
        }
        self.advance_stops();
        if self.state.life == Life::Reported && self.state.deletion.is_some() {
            self.state.life = Life::Deleting;
            self.effects.push(Effect::Delete);
        }
    }

    fn aim(&self) -> Aim {
        let state = &self.state;
        match (state.life, state.deletion) {
            (Life::Settled | Life::Reported | Life::Deleting | Life::Gone { is_settled: true }, _) => Aim::Stay,
            (Life::Gone { is_settled: false }, _) => Aim::End { grace: Some(self.now) },
            (Life::Leaving { deadline }, _) => Aim::End { grace: Some(deadline) },
            (Life::Active, Some(deletion)) => {
                let deadline = state.ends_by.map_or(deletion.deadline, |ends_by| ends_by.min(deletion.deadline));
                Aim::End { grace: Some(deadline) }
            }
            (Life::Active, None) if state.outcome.is_some() || state.is_finished() => Aim::End { grace: state.ends_by },
            (Life::Active, None) if state.is_starting_over => Aim::StartOver,
            (Life::Active, None) if !state.spec.refusals.is_empty() => Aim::Refuse,
            (Life::Active, None) => Aim::Run,
        }
    }

    /// Says once why nothing happens.
    fn refuse(&mut self) {
        if self.state.sandbox != Sandbox::None {
            return;
        }
        let (reason, message) = (CONFIG_ERROR, self.state.spec.refusals.join("; "));
        self.notice(None, true, "Failed", format!("Error: {message}"));
        self.state.sandbox = Sandbox::Failing(Trouble { reason, message, settles: None, retry: None });
    }

    fn run(&mut self) {
        let is_due = match &self.state.sandbox {
            Sandbox::Ready(_) => return self.run_containers(),
            Sandbox::None => true,
            Sandbox::Failing(trouble) => trouble.retry.is_some_and(|retry| retry <= self.now),
            Sandbox::Preparing | Sandbox::Released(_) => false,
        };
        if is_due {
            self.state.sandbox = Sandbox::Preparing;
            self.effects.push(Effect::Prepare);
        }
    }

    fn run_containers(&mut self) {
        let spec = self.state.spec.clone();
        let ephemeral = (0..spec.containers.len()).filter(|at| spec.containers[*at].role == Role::Ephemeral);
        for at in ephemeral {
            self.drive(at, true);
        }
        // Images come at once; instances start one after the other.
        let mut may_start = true;
        for (at, container) in spec.containers.iter().enumerate() {
            let is_past = self.state.is_initialized && container.role == Role::Init;
            if is_past || container.role == Role::Ephemeral {
                continue;
            }
            self.drive(at, may_start);
            let now = &self.state.containers[at];
            let lets_next = match container.role {
                Role::Init => now.is_over() && now.has_succeeded() && !self.state.restarts(at),
                Role::Sidecar => {
                    self.state.is_initialized || now.running().is_some_and(|r| r.is_there() && r.is_started)
                }
                Role::Main | Role::Ephemeral => true,
            };
            if !lets_next {
                return;
            }
            may_start = may_start && !now.is_on_its_way();
            if at + 1 == spec.init_count() {
                self.state.is_initialized = true;
            }
        }
    }

    /// Starts a container whose time has come.
    fn drive(&mut self, at: usize, may_start: bool) {
        let container = &self.state.containers[at];
        let is_due = match &container.phase {
            Phase::Pulled if may_start => return self.start(at),
            Phase::Pulling | Phase::Pulled | Phase::Starting | Phase::Running(_) => false,
            Phase::Idle => container.trouble.as_ref().is_none_or(|t| t.retry.is_some_and(|retry| retry <= self.now)),
            Phase::Ended => {
                let finished = container.ended.as_ref().map_or(self.now, |ended| ended.finished_at);
                self.state.restarts(at) && container.crashes.due(finished) <= self.now
            }
        };
        if is_due {
            self.state.containers[at].phase = Phase::Pulling;
            self.effects.push(Effect::Pull { container: at });
        }
    }

    fn start(&mut self, at: usize) {
        let container = &mut self.state.containers[at];
        container.phase = Phase::Starting;
        let guest = Guest { container: at, restart: container.next_restart() };
        self.effects.push(Effect::Start { guest });
    }

    fn running(&mut self, guest: Guest) -> Option<&mut Running> {
        self.state.containers.get_mut(guest.container)?.running_mut().filter(|running| running.restart == guest.restart)
    }

    fn after(&self, grace: std::time::Duration) -> Timestamp {
        self.later(SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX))
    }

    fn later(&self, after: SignedDuration) -> Timestamp {
        self.now.saturating_add(after).unwrap_or(Timestamp::MAX)
    }

    fn notice(&mut self, container: Option<usize>, is_warning: bool, reason: &'static str, message: String) {
        self.effects.push(Effect::Notice(Notice { container, is_warning, reason, message }));
    }
}

/// Source: kubelet's reasons and exit codes; a trap is shown as what aborts a native program (134), a stop and a kill
/// as the signals they stand for (143, 137).
fn outcome_of(exit: &Exit) -> (i32, &'static str) {
    match exit {
        Exit::Code(0) => (0, "Completed"),
        Exit::Code(code) => (*code, "Error"),
        Exit::OutOfMemory => (137, "OOMKilled"),
        Exit::Trap { .. } => (134, "Error"),
        Exit::Stopped => (143, "Error"),
        Exit::Killed => (137, "Error"),
    }
}

/// What is said when a container cannot start: of its image in one event, and then why.
///
/// Source: the kubelet's `EnsureImageExists` and `startContainer`.
fn trouble_notices(trouble: &Trouble, image: &str) -> Vec<(&'static str, String)> {
    let message = trouble.message.clone();
    let about_image = match trouble.reason {
        reason if IMAGE_FAILURES.contains(&reason) => {
            Some(("Failed", format!("Failed to pull image {image:?}: {message}")))
        }
        "ErrImageNeverPull" => Some(("ErrImageNeverPull", message.clone())),
        "InvalidImageName" => Some(("InspectFailed", message.clone())),
        _ => None,
    };
    let why = if about_image.is_some() { trouble.reason.to_owned() } else { message };
    about_image.into_iter().chain([("Failed", format!("Error: {why}"))]).collect()
}

/// Rejections come with a handful of reasons, and events need them for as long as the process lives. `None`: the end of
/// its containers is all that is told.
fn reason_of(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "OutOfcpu" => "OutOfcpu",
        "OutOfmemory" => "OutOfmemory",
        "OutOfpods" => "OutOfpods",
        "DeadlineExceeded" => "DeadlineExceeded",
        "Evicted" => "Evicted",
        "Preempting" => "Preempting",
        "NodeShutdown" => "NodeShutdown",
        "Terminated" => return None,
        _ => "Failed",
    })
}

#[cfg(test)]
mod tests;
