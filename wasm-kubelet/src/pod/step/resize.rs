//! Other resources for a pod that runs: asked of the node, given to the containers, and then to their instances.
//!
//! Source: kubelet, `allocation.Manager` and `doPodResizeAction`. Only what is due is done: while the node lacks
//! something, containers keep what they have, and also start with it.

use jiff::SignedDuration;

use super::Step;
use crate::pod::state::{Effect, Guest, Lack, Resize};

/// How long a resize that the node has no room for waits before it is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

impl Step {
    /// Asks for what the spec wants, if that is another than what the containers have.
    pub(super) fn resize(&mut self) {
        let wants = self
            .state
            .containers
            .iter()
            .zip(&self.state.spec.containers)
            .any(|(container, spec)| !spec.resources.differences(&container.resources).is_empty());
        if wants && self.state.wants_to_run() {
            self.state.resize = Some(Box::new(Resize::Asked));
            self.effects.push(Effect::Allocate);
        } else if matches!(self.state.resize.as_deref(), Some(Resize::Pending { .. })) {
            self.state.resize = None;
        }
    }

    pub(super) fn retry_resize(&mut self) {
        let now = self.now;
        let is_due = |retry: Option<jiff::Timestamp>| retry.is_some_and(|retry| retry <= now);
        if matches!(self.state.resize.as_deref(), Some(Resize::Pending { retry, .. }) if is_due(*retry)) {
            self.resize();
        }
    }

    pub(super) fn allocated(&mut self, result: Result<(), Lack>) {
        if self.state.resize.as_deref() != Some(&Resize::Asked) {
            return;
        }
        if let Err(lack) = result {
            let retry = (!lack.is_infeasible).then(|| self.later(RETRY));
            self.state.resize = Some(Box::new(Resize::Pending { lack, retry }));
            return;
        }
        let spec = self.state.spec.clone();
        self.state.resize = Some(Box::new(Resize::Under { error: None }));
        for (at, spec) in spec.containers.iter().enumerate() {
            let changed = spec.resources.differences(&self.state.containers[at].resources);
            self.state.containers[at].resources = spec.resources.clone();
            let Some(running) = self.state.containers[at].running() else { continue };
            let guest = Guest { container: at, restart: running.restart };
            if changed.iter().any(|name| spec.restarts_for.iter().any(|other| other == name)) {
                let message = format!("Container {} resize requires restart", spec.name);
                self.stop(at, self.after(self.state.spec.grace), message);
            } else if !changed.is_empty() {
                self.effects.push(Effect::Resize { guest });
            }
        }
        self.settle_resize();
    }

    pub(super) fn resized(&mut self, guest: Guest, result: Result<(), String>) {
        let given = self.state.containers[guest.container].resources.clone();
        let Some(running) = self.running(guest) else { return };
        match result {
            Ok(()) => running.resources = given,
            Err(error) => {
                if let Some(Resize::Under { error: said }) = self.state.resize.as_deref_mut() {
                    *said = Some(error);
                }
            }
        }
        self.settle_resize();
    }

    /// A resize is over once every instance runs with what its container has been given.
    pub(super) fn settle_resize(&mut self) {
        let is_even = |container: &crate::pod::state::Container| {
            container.running().is_none_or(|running| running.resources.differences(&container.resources).is_empty())
        };
        let is_under = matches!(self.state.resize.as_deref(), Some(Resize::Under { .. }));
        if is_under && self.state.containers.iter().all(is_even) {
            self.state.resize = None;
        }
    }
}
