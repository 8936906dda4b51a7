//! Keeps the history of a store bounded, by age and by size.
//!
//! Source: the API server's compactor for etcd, which every five minutes forgets what was history five minutes before.
//! The bounds on size are our own: an embedded store has no quota, and must not fill a small disk within five minutes.
//! On a disk that is full no history is kept at all: what was deleted is to make room for what is new.
//!
//! [`run`] is the effect and [`Policy::plan`] the decision. Whoever owns the store runs one compactor beside it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{Error, Revision, Store, Usage};

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// History is kept for at least this long, if its size allows, and for no more than twice as long.
    pub age: Duration,
    /// Above this many bytes of history, half of them are forgotten.
    pub bytes_max: u64,
    /// Above this many events of history, half of them are forgotten.
    pub events_max: u64,
    /// How often the size is looked at. Between two looks the history can grow past its bounds.
    pub check_interval: Duration,
}

impl Default for Policy {
    /// Five minutes as upstream, at most 64 MiB and 200,000 events, looked at every five seconds.
    fn default() -> Self {
        Self {
            age: Duration::from_secs(5 * 60),
            bytes_max: 64 << 20,
            events_max: 200_000,
            check_interval: Duration::from_secs(5),
        }
    }
}

impl Policy {
    /// What should become the oldest revision; `aged` is the newest revision that is old enough to go.
    fn plan(&self, usage: &Usage, aged: Revision) -> Option<Revision> {
        let before = if usage.is_full { usage.newest } else { aged.max(self.oldest_by_size(usage)) };
        (before > usage.oldest).then_some(before)
    }

    /// The revision from which on half of what is allowed is left, on the assumption that events are about equal.
    fn oldest_by_size(&self, usage: &Usage) -> Revision {
        if usage.history_bytes <= self.bytes_max && usage.history_events <= self.events_max {
            return usage.oldest;
        }
        let event_bytes = (usage.history_bytes / usage.history_events.max(1)).max(1);
        let keep = (self.events_max / 2).min(self.bytes_max / 2 / event_bytes);
        Revision(usage.newest.0.saturating_sub(keep)).max(usage.oldest)
    }
}

/// Compacts the store by the policy until `shutdown`, or until the store is closed.
///
/// A compaction that fails is logged and tried again: a full disk may have room later.
///
/// # Cancel safety
///
/// Can be dropped at any await: it has no state but the time.
pub async fn run(store: Arc<dyn Store>, policy: Policy, shutdown: CancellationToken) {
    // Why it ended makes no difference.
    let _ = shutdown.run_until_cancelled(compact_until_closed(&*store, policy)).await;
}

async fn compact_until_closed(store: &dyn Store, policy: Policy) {
    let mut checks = interval(policy.check_interval);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut mark = Mark { at: Instant::now(), revision: Revision::ZERO };
    loop {
        checks.tick().await;
        match compact_once(store, &policy, &mut mark).await {
            Ok(()) => {}
            Err(Error::Closed) => return,
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the store was not compacted"),
        }
    }
}

/// The newest revision at some time: once that is long enough ago, everything before it is old.
struct Mark {
    at: Instant,
    revision: Revision,
}

async fn compact_once(store: &dyn Store, policy: &Policy, mark: &mut Mark) -> Result<(), Error> {
    let usage = store.usage().await?;
    let mut aged = Revision::ZERO;
    if mark.at.elapsed() >= policy.age {
        aged = mark.revision;
        *mark = Mark { at: Instant::now(), revision: usage.newest };
    }
    let Some(before) = policy.plan(&usage, aged) else { return Ok(()) };
    store.compact(before).await?;
    tracing::debug!(%before, newest = %usage.newest, "compacted the store");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_goes_by_age_or_by_size() {
        let policy = Policy { bytes_max: 1000, events_max: 100, ..Policy::default() };
        // events, bytes, aged → oldest
        let table = [
            (0, 0, 0, None),
            (100, 1000, 0, None),
            (100, 1000, 950, Some(950)),
            (100, 1000, 899, None),
            (101, 500, 0, Some(950)),
            (101, 500, 980, Some(980)),
            (50, 1001, 0, Some(975)),
            (1, 2000, 0, Some(1000)),
        ];
        for (history_events, history_bytes, aged, expected) in table {
            let (oldest, newest) = (Revision(900), Revision(1000));
            let usage = Usage { history_events, history_bytes, oldest, newest, ..Usage::default() };
            let planned = policy.plan(&usage, Revision(aged));
            assert_eq!(planned, expected.map(Revision), "{history_events} events, {history_bytes} bytes, {aged}");
            let full = Usage { is_full: true, ..usage };
            assert_eq!(policy.plan(&full, Revision(aged)), Some(newest), "on a full disk");
        }
    }
}
