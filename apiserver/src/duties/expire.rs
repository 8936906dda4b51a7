//! Lets events go that nobody has added to for an hour.
//!
//! Source: upstream gives each event a lease in etcd, renewed with every write; here they are looked through now and
//! then, so that the store needs no clock.

use std::sync::Arc;

use coracle_api::any::AnyObject;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::limits;
use crate::writer::Writer;

/// Deletions in progress at once.
const AT_ONCE: usize = 32;

/// Looks through the events until `shutdown`.
pub(crate) async fn run(api: Arc<Api>, shutdown: CancellationToken) {
    let mut ticks = interval(limits::EVENT_SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => sweep(&api).await,
        }
    }
}

async fn sweep(api: &Api) {
    let events = api.resources.core("events");
    let ttl = SignedDuration::try_from(limits::EVENT_TTL).unwrap_or(SignedDuration::MAX);
    let Ok(before) = Timestamp::now().checked_sub(ttl) else { return };
    let writer = Writer { api, resource: events, dry_run: false };
    let old = api.list_all(events).into_iter().filter(|cached| {
        let object = events.load(cached).ok();
        object.and_then(|object| last_seen(&object)).is_some_and(|seen| seen < before)
    });
    // One that is written to in between stays.
    stream::iter(old)
        .for_each_concurrent(AT_ONCE, async |cached| {
            let _ = writer.remove(&cached).await;
        })
        .await;
}

/// When an event was last added to.
fn last_seen(object: &AnyObject) -> Option<Timestamp> {
    let event = object.downcast_ref::<Event>()?;
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let times = [
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        series.map(|time| time.0),
    ];
    times.into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn an_event_lives_from_its_last_repetition() {
        let at = |second| Time(Timestamp::from_second(second).expect("a time"));
        let mut event = Event { last_timestamp: Some(at(20)), ..Event::default() };
        event.metadata.creation_timestamp = Some(at(10));
        assert_eq!(last_seen(&AnyObject::new(event)), Timestamp::from_second(20).ok());
        assert_eq!(last_seen(&AnyObject::new(Event::default())), None);
    }
}
