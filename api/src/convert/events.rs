//! Events are one kind of objects, shown in two versions: `v1`, in which they are stored, and `events.k8s.io/v1`.
//!
//! Source: the conversions of `pkg/apis/core`.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1 as core, events::v1 as events};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// The event as `events.k8s.io/v1` has it.
#[must_use]
pub fn to_events(event: core::Event) -> events::Event {
    events::Event {
        metadata: event.metadata,
        action: event.action,
        deprecated_count: event.count,
        deprecated_first_timestamp: event.first_timestamp,
        deprecated_last_timestamp: event.last_timestamp,
        deprecated_source: event.source,
        event_time: event.event_time,
        note: event.message,
        reason: event.reason,
        regarding: Some(event.involved_object),
        related: event.related,
        reporting_controller: event.reporting_component,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|s| events::EventSeries {
            count: s.count.unwrap_or_default(),
            last_observed_time: s.last_observed_time.unwrap_or(MicroTime(Timestamp::UNIX_EPOCH)),
        }),
        type_: event.type_,
    }
}

/// The event as `v1` has it.
#[must_use]
pub fn to_core(event: events::Event) -> core::Event {
    core::Event {
        metadata: event.metadata,
        action: event.action,
        count: event.deprecated_count,
        event_time: event.event_time,
        first_timestamp: event.deprecated_first_timestamp,
        involved_object: event.regarding.unwrap_or_default(),
        last_timestamp: event.deprecated_last_timestamp,
        message: event.note,
        reason: event.reason,
        related: event.related,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|s| core::EventSeries {
            count: Some(s.count),
            // The time before all times is none: it stands where none was given.
            last_observed_time: Some(s.last_observed_time).filter(|time| time.0 != Timestamp::UNIX_EPOCH),
        }),
        source: event.deprecated_source,
        type_: event.type_,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::any::AnyObject;
    use crate::convert::{to_served, to_stored};
    use crate::kinds;
    use crate::object::Object;

    #[test]
    fn both_versions_show_the_same_event() {
        let event = core::Event::decode(
            br#"{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p"},"message":"m","count":3,
            "reportingComponent":"c","source":{"component":"s"},"series":{"count":2,"lastObservedTime":"2026-01-01T00:00:00.000000Z"}}"#,
        )
        .unwrap();
        let shown = to_served(AnyObject::new(event.clone()), kinds::of::<events::Event>());
        let typed = shown.downcast_ref::<events::Event>().unwrap();
        assert_eq!((typed.note.as_deref(), typed.deprecated_count), (Some("m"), Some(3)));
        assert_eq!(to_stored(shown, kinds::of::<core::Event>()).downcast::<core::Event>().unwrap(), event);
    }
}
