//! Probes: asking a guest how it is, and counting the answers.
//!
//! [`Tally`] is the pure part. A prober is one task a container; it sleeps between two looks and tells the worker only
//! when a probe changes its mind. Source: kubelet's `prober`, with its thresholds.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::ask::{Action, Answer, Asked};
use super::spec::Probes;
use super::state::ProbeKind;

/// One probe, with defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub action: Action,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub successes: u32,
    pub failures: u32,
    /// Grace of the container that this probe ends, instead of the pod's.
    pub grace: Option<Duration>,
}

/// Counts answers until they make a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    verdict: Option<bool>,
    run: (bool, u32),
}

impl Tally {
    /// Takes an answer; the verdict, when this answer changed it.
    pub fn count(&mut self, is_success: bool, probe: &Probe) -> Option<bool> {
        self.run = if self.run.0 == is_success { (is_success, self.run.1 + 1) } else { (is_success, 1) };
        let enough = if is_success { probe.successes } else { probe.failures };
        if self.run.1 < enough || self.verdict == Some(is_success) {
            return None;
        }
        self.verdict = Some(is_success);
        self.verdict
    }
}

/// What a prober tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A probe changed its mind.
    Verdict(ProbeKind, Result<(), String>),
    /// One attempt did not go well, whatever that means for the verdict.
    Attempt(ProbeKind, Answer),
}

/// Whoever a prober tells.
pub trait Hear: Send + Sync {
    /// Takes a finding.
    fn hear(&self, finding: Finding) -> impl Future<Output = ()> + Send;
}

/// Probes a container that started at `since` until it is dropped: the startup probe first, then the two others side by
/// side.
///
/// # Cancel safety
/// May be dropped at any point.
pub async fn watch(probes: Probes, asked: Asked, since: Instant, tell: impl Hear) {
    if let Some(startup) = &probes.startup
        && !repeat(ProbeKind::Startup, Some(startup), &asked, since, &tell).await
    {
        return;
    }
    let readiness = repeat(ProbeKind::Readiness, probes.readiness.as_deref(), &asked, since, &tell);
    let liveness = repeat(ProbeKind::Liveness, probes.liveness.as_deref(), &asked, since, &tell);
    tokio::join!(readiness, liveness);
}

/// Asks again and again: a readiness probe for good, the others until they have come to their end. Whether the last
/// verdict was a good one.
async fn repeat(kind: ProbeKind, probe: Option<&Probe>, asked: &Asked, since: Instant, tell: &impl Hear) -> bool {
    let Some(probe) = probe else { return true };
    let mut tally = Tally::default();
    let mut next = Instant::now().max(since + probe.initial_delay);
    loop {
        sleep_until(next).await;
        next = Instant::now().max(next + probe.period);
        let verdict = attempt(kind, probe, &mut tally, asked, tell).await;
        match (kind, verdict) {
            (ProbeKind::Startup, Some(is_success)) => return is_success,
            // The container is about to end for it.
            (ProbeKind::Liveness, Some(false)) => return false,
            _ => {}
        }
    }
}

async fn attempt(kind: ProbeKind, probe: &Probe, tally: &mut Tally, asked: &Asked, tell: &impl Hear) -> Option<bool> {
    let answer = asked.ask(&probe.action, probe.timeout).await;
    let result = match &answer {
        Answer::Well | Answer::Warned(_) => Some(Ok(())),
        Answer::Failed(reason) => Some(Err(reason.clone())),
        Answer::Unasked(_) => None,
    };
    if answer != Answer::Well {
        tell.hear(Finding::Attempt(kind, answer)).await;
    }
    // What could not be asked says nothing.
    let result = result?;
    let verdict = tally.count(result.is_ok(), probe);
    if verdict.is_some() {
        tell.hear(Finding::Verdict(kind, result)).await;
    }
    verdict
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn probe(action: Action) -> Probe {
        let period = Duration::from_secs(10);
        let timeout = Duration::from_secs(1);
        Probe { action, initial_delay: Duration::ZERO, period, timeout, successes: 1, failures: 3, grace: None }
    }

    #[test]
    fn a_verdict_takes_as_many_answers_as_its_threshold() {
        let probe = probe(Action::Tcp { host: None, port: 1 });
        let mut tally = Tally::default();
        let verdicts: Vec<_> = [false, false, true, true, false, false, false, false, true]
            .map(|answer| tally.count(answer, &probe))
            .into();
        let (yes, no) = (Some(true), Some(false));
        assert_eq!(verdicts, [None, None, yes, None, None, None, no, None, yes]);
    }
}
