//! What is done around a container's life: its hooks, and when it counts as running.
//!
//! Source: kubelet, `startContainer` and `executePreStopHook`.

use super::Step;
use crate::pod::state::{Effect, Guest, HookKind, PostStart, Stage};

impl Step {
    /// The guest is there: its `postStart` hook runs beside it, and it is probed once that has ended.
    pub(super) fn up(&mut self, guest: Guest) {
        let Some(running) = self.running(guest).filter(|running| !running.is_up) else { return };
        running.is_up = true;
        if running.post_start == PostStart::Pending {
            self.effects.push(Effect::Hook { guest, kind: HookKind::PostStart });
        } else {
            self.probe(guest);
        }
    }

    pub(super) fn hooked(&mut self, guest: Guest, kind: HookKind, result: Result<(), String>) {
        match kind {
            HookKind::PostStart => self.post_started(guest, result),
            HookKind::PreStop => self.pre_stopped(guest, &result),
        }
    }

    fn post_started(&mut self, guest: Guest, result: Result<(), String>) {
        let Some(running) = self.running(guest).filter(|it| it.post_start == PostStart::Pending) else { return };
        let Err(message) = result else {
            running.post_start = PostStart::Done;
            return self.probe(guest);
        };
        let is_stopping = running.stop.is_some();
        running.post_start = PostStart::Failed(message.into());
        if !is_stopping {
            // The hook's own words may hold secrets: they are for the status alone.
            self.notice(Some(guest.container), true, "FailedPostStartHook", "PostStartHook failed".into());
            self.stop(guest.container, self.after(self.state.spec.grace), "FailedPostStartHook".into());
        }
    }

    fn pre_stopped(&mut self, guest: Guest, result: &Result<(), String>) {
        let Some(running) = self.running(guest) else { return };
        let Some(stop) = running.stop.as_mut().filter(|stop| stop.stage == Stage::Hook) else { return };
        stop.stage = Stage::Turn;
        if result.is_err() {
            self.notice(Some(guest.container), true, "FailedPreStopHook", "PreStopHook failed".into());
        }
    }

    fn probe(&mut self, guest: Guest) {
        let has_probes = !self.state.spec.containers[guest.container].probes.is_empty();
        if has_probes && self.running(guest).is_some_and(|running| running.stop.is_none()) {
            self.effects.push(Effect::Probe { guest });
        }
    }
}
