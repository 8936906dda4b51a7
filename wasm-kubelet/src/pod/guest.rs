//! What is done to a container that runs: it is waited for, probed, its hooks are run, it is resized, stopped and killed.

use std::sync::Arc;

use coracle_client::EventType;
use k8s_openapi::api::core::v1 as core;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::ask::{Answer, Asked};
use super::farewell;
use super::host::Host;
use super::mailbox::Outbox;
use super::probe::{self, Finding, Hear};
use super::spec::{Probes, Spec};
use super::state::{Event, Guest, HookKind, ProbeKind};
use super::worker::{Message, Shared, Worker};
use crate::runtime::{Container, Limits};

impl Worker {
    /// Keeps a container that was started, and waits for its end.
    pub(super) fn attend(&mut self, guest: Guest, container: Arc<dyn Container>) {
        let (host, logs, outbox) = (self.host.clone(), self.logs(), self.outbox.clone());
        let (spec, waited) = (self.state().spec.clone(), container.clone());
        self.host.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = waited.ready() => {
                    let _ = outbox.send(Message::Event(Event::Up(guest))).await;
                }
                _ = waited.wait() => {}
            }
            let exit = waited.wait().await;
            let spec = &spec.containers[guest.container];
            host.logs.end(&logs, &spec.name, guest.restart);
            let message = farewell::message(&host, &logs, spec, guest, &*waited, &exit).await;
            let _ = outbox.send(Message::Event(Event::Exited { guest, exit, message })).await;
        });
        let slot = &mut self.shared.guests()[guest.container];
        slot.newest = Some(guest.restart);
        slot.since = Some(Instant::now());
        slot.live = Some(container);
    }

    /// Lets go of a container that has ended.
    pub(super) fn bury(&mut self, guest: Guest) {
        let slot = &mut self.shared.guests()[guest.container];
        if slot.newest == Some(guest.restart) {
            slot.live = None;
            slot.watch(None);
            slot.hook(None);
        }
    }

    /// Begins to probe it.
    pub(super) fn probe(&self, guest: Guest) -> Option<Event> {
        self.watch(guest, self.state().spec.containers[guest.container].probes.clone());
        None
    }

    fn watch(&self, guest: Guest, probes: Probes) {
        let Some(asked) = self.asked(guest) else { return };
        let mut guests = self.shared.guests();
        let slot = &mut guests[guest.container];
        let since = slot.since.unwrap_or_else(Instant::now);
        let tell = Prober {
            guest,
            host: self.host.clone(),
            outbox: self.outbox.clone(),
            regarding: self.regarding(Some(guest.container)),
        };
        let watched = (!probes.is_empty())
            .then(|| self.host.tasks.spawn(probe::watch(probes, asked, since, tell)).abort_handle());
        slot.watch(watched);
    }

    /// Runs a hook; what it comes to is told when it has ended.
    pub(super) fn hook(&self, guest: Guest, kind: HookKind) -> Option<Event> {
        let spec = self.state().spec.clone();
        let hooks = &spec.containers[guest.container].hooks;
        let hook = match kind {
            HookKind::PostStart => hooks.post_start.clone(),
            HookKind::PreStop => hooks.pre_stop.clone(),
        };
        if kind == HookKind::PreStop {
            self.leave_readiness(guest);
        }
        let (Some(hook), Some(asked)) = (hook, self.asked(guest)) else {
            return Some(Event::Hooked { guest, kind, result: Ok(()) });
        };
        let outbox = self.outbox.clone();
        let task = self.host.tasks.spawn(async move {
            let Spec { pod, containers, .. } = &*spec;
            let pod = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
            let result = asked.run(&hook, &containers[guest.container].name, &pod).await;
            if let Err(message) = &result {
                tracing::debug!(%pod, message, "a hook failed");
            }
            let _ = outbox.send(Message::Event(Event::Hooked { guest, kind, result })).await;
        });
        self.shared.guests()[guest.container].hook(Some(task.abort_handle()));
        None
    }

    /// Asks it to end: no hook runs any more, and what it still serves is still found out.
    pub(super) fn stop(&self, guest: Guest) -> Option<Event> {
        self.leave_readiness(guest);
        self.with_live(guest, |live| live.stop())
    }

    /// Ends it.
    pub(super) fn kill(&self, guest: Guest) -> Option<Event> {
        self.with_live(guest, |live| live.kill())
    }

    /// Of the probes of a container that is to end, only readiness goes on. Source: kubelet, `StopLivenessAndStartup`.
    fn leave_readiness(&self, guest: Guest) {
        let readiness = self.state().spec.containers[guest.container].probes.readiness.clone();
        self.watch(guest, Probes { readiness, ..Probes::default() });
    }

    /// Gives the running instance what its container has.
    pub(super) fn resize(&self, guest: Guest) -> Option<Event> {
        let resources = &self.state().containers[guest.container].resources;
        let limits = Limits::of(resources);
        let live = self.live(guest)?;
        let held = live.usage().memory_bytes;
        let result = match limits.memory_bytes_max.filter(|max| *max < held) {
            Some(max) => Err(format!("attempting to set pod memory limit ({max}) below current usage ({held})")),
            None => live.resize(limits).map_err(|error| error.message),
        };
        Some(Event::Resized { guest, result })
    }

    fn asked(&self, guest: Guest) -> Option<Asked> {
        Some(Asked { address: self.address?, container: self.live(guest)? })
    }

    fn live(&self, guest: Guest) -> Option<Arc<dyn Container>> {
        let guests = self.shared.guests();
        let slot = &guests[guest.container];
        slot.live.clone().filter(|_| slot.newest == Some(guest.restart))
    }

    fn with_live(&self, guest: Guest, act: impl Fn(&dyn Container)) -> Option<Event> {
        self.shared.guests()[guest.container].hook(None);
        if let Some(live) = self.live(guest) {
            act(&*live);
        }
        None
    }
}

impl Shared {
    /// Ends everything of a pod whose worker has failed.
    pub(super) fn abandon(&self) {
        for slot in self.guests().iter_mut() {
            if let Some(live) = slot.live.take() {
                live.kill();
            }
            slot.watch(None);
            slot.hook(None);
        }
    }
}

impl super::worker::Slot {
    /// Another prober instead of the one there is.
    fn watch(&mut self, prober: Option<AbortHandle>) {
        if let Some(old) = std::mem::replace(&mut self.prober, prober) {
            old.abort();
        }
    }

    /// Another hook instead of the one that runs.
    fn hook(&mut self, hook: Option<AbortHandle>) {
        if let Some(old) = std::mem::replace(&mut self.hook, hook) {
            old.abort();
        }
    }
}

/// Tells a worker what its container's prober finds.
struct Prober {
    guest: Guest,
    host: Arc<Host>,
    outbox: Outbox,
    regarding: core::ObjectReference,
}

impl Hear for Prober {
    async fn hear(&self, finding: Finding) {
        match finding {
            Finding::Verdict(kind, result) => {
                let _ = self.outbox.send(Message::Event(Event::Probed { guest: self.guest, kind, result })).await;
            }
            Finding::Attempt(kind, answer) => {
                if let Some((reason, message)) = told(kind, &answer) {
                    self.host.recorder.event_on(self.regarding.clone(), EventType::Warning, reason, message);
                }
            }
        }
    }
}

/// The event of an attempt that did not go well. Source: kubelet, `prober.probe`.
fn told(kind: ProbeKind, answer: &Answer) -> Option<(&'static str, String)> {
    let what = match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Readiness => "Readiness",
        ProbeKind::Liveness => "Liveness",
    };
    match answer {
        Answer::Well => None,
        Answer::Warned(text) => Some(("ProbeWarning", format!("{what} probe warning: {text}"))),
        Answer::Failed(text) => Some(("Unhealthy", format!("{what} probe failed: {text}"))),
        Answer::Unasked(text) => {
            Some(("Unhealthy", format!("{what} probe errored and resulted in unknown state: {text}")))
        }
    }
}
