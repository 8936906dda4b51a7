//! How containers end: their `preStop` hooks run at once, side by side; then each is asked in its turn, and killed when
//! the grace period is over. Source: kubelet, `killContainer` and `terminationOrdering`.

use jiff::{SignedDuration, Timestamp};

use super::{Aim, Step};
use crate::pod::spec::Role;
use crate::pod::state::{Effect, Guest, Life, Phase, Stage, Stop};

/// What a container has to end in once it is asked, however much of its grace went by before.
/// Source: kubelet, `minimumGracePeriodInSeconds`.
const GRACE_MIN: SignedDuration = SignedDuration::from_secs(2);

impl Step {
    /// Ends all containers, and settles once nothing runs.
    pub(super) fn wind_down(&mut self, grace: Option<Timestamp>) {
        self.stop_all(grace);
        if !self.state.is_busy() {
            self.settle();
        }
    }

    /// Ends all containers, and has them forget that they ran once nothing does. Source: KEP 5532.
    pub(super) fn start_over(&mut self) {
        self.stop_all(None);
        if self.state.is_busy() {
            return;
        }
        for (container, spec) in self.state.containers.iter_mut().zip(&self.state.spec.containers) {
            if spec.role != Role::Ephemeral && container.ended.is_some() {
                container.restarts = container.next_restart();
                container.ended_before = container.ended.take();
                container.trouble = None;
                container.phase = Phase::Idle;
            }
        }
        self.state.is_initialized = self.state.spec.init_count() == 0;
        self.state.is_starting_over = false;
        self.run();
    }

    fn stop_all(&mut self, grace: Option<Timestamp>) {
        let deadline = grace.unwrap_or_else(|| self.after(self.state.spec.grace));
        for at in 0..self.state.containers.len() {
            let container = &mut self.state.containers[at];
            match container.phase {
                Phase::Pulling | Phase::Pulled if container.ended.is_some() => container.phase = Phase::Ended,
                Phase::Pulling | Phase::Pulled => container.phase = Phase::Idle,
                Phase::Running(_) => {
                    let message = format!("Stopping container {}", self.state.spec.containers[at].name);
                    self.stop(at, deadline, message);
                }
                _ => {}
            }
        }
    }

    /// Has a container end, once; a second time may only bring its deadline nearer.
    pub(super) fn stop(&mut self, at: usize, deadline: Timestamp, message: String) {
        let (now, has_hook) = (self.now, self.state.spec.containers[at].hooks.pre_stop.is_some());
        let Some(running) = self.state.containers[at].running_mut() else { return };
        if let Some(stop) = &mut running.stop {
            if deadline < stop.wanted {
                stop.wanted = deadline;
                stop.deadline = stop.deadline.min(deadline);
            }
            return;
        }
        let stage = if has_hook && deadline > now { Stage::Hook } else { Stage::Turn };
        running.stop = Some(Stop { since: now, wanted: deadline, deadline, stage });
        let guest = Guest { container: at, restart: running.restart };
        self.notice(Some(at), false, "Killing", message);
        if stage == Stage::Hook {
            let kind = crate::pod::state::HookKind::PreStop;
            self.effects.push(Effect::Hook { guest, kind });
        }
    }

    /// Brings the end of each container as far as it can be now.
    pub(super) fn advance_stops(&mut self) {
        for at in 0..self.state.containers.len() {
            self.advance_stop(at);
        }
    }

    fn advance_stop(&mut self, at: usize) {
        let has_turn = self.has_turn(at);
        let has_time = !matches!(self.state.life, Life::Gone { .. } | Life::Leaving { .. });
        let is_killed = self.state.spec.containers[at].hooks.is_killed;
        let (now, least) = (self.now, self.later(GRACE_MIN));
        let Some(running) = self.state.containers[at].running_mut() else { return };
        let guest = Guest { container: at, restart: running.restart };
        let Some(stop) = &mut running.stop else { return };
        if stop.stage == Stage::Hook && stop.deadline <= now {
            stop.stage = Stage::Turn;
        }
        if stop.stage == Stage::Turn && (has_turn || stop.deadline <= now) {
            stop.stage = Stage::Asked;
            if stop.since < now && has_time {
                stop.deadline = stop.deadline.max(least);
            }
            if is_killed {
                stop.deadline = now;
            } else {
                self.effects.push(Effect::Stop { guest });
            }
        }
        if stop.stage == Stage::Asked && stop.deadline <= now {
            stop.stage = Stage::Killed;
            self.effects.push(Effect::Kill { guest });
        }
    }

    /// Whether those have ended that are to end before this one: with their pod, sidecars end after those whom they
    /// serve, the last one first.
    fn has_turn(&self, at: usize) -> bool {
        if self.state.spec.containers[at].role != Role::Sidecar
            || !matches!(self.aim(), Aim::End { .. } | Aim::StartOver)
        {
            return true;
        }
        let ends_before = |other: usize, role: Role| match role {
            Role::Sidecar => other > at,
            Role::Init | Role::Main => true,
            Role::Ephemeral => false,
        };
        let is_busy = |phase: &Phase| matches!(phase, Phase::Starting | Phase::Running(_));
        !self.state.each().any(|(other, container, role)| ends_before(other, role) && is_busy(&container.phase))
    }

    fn settle(&mut self) {
        self.state.life = match self.state.life {
            Life::Leaving { deadline } => Life::Leaving { deadline },
            Life::Gone { .. } => Life::Gone { is_settled: true },
            _ => Life::Settled,
        };
        if matches!(self.state.life, Life::Leaving { .. }) {
            return;
        }
        let address = self.state.address();
        if self.state.sandbox != crate::pod::state::Sandbox::None {
            self.effects.push(Effect::Release);
        }
        self.state.sandbox = crate::pod::state::Sandbox::Released(address);
    }
}
