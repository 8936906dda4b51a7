//! The row of an event: when it was last seen, what about, and by whom.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::api::events::v1 as events;
use serde_json::Value;

use super::{Cells, cells, since};
use crate::convert::events::to_core;

impl Cells for Event {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        row(self, now)
    }
}

impl Cells for events::Event {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        row(&to_core(self.clone()), now)
    }
}

fn row(event: &Event, now: Timestamp) -> Vec<Value> {
    let event_time = event.event_time.as_ref().map(|t| t.0);
    let first = event.first_timestamp.as_ref().map(|t| t.0).or(event_time);
    let last = event.last_timestamp.as_ref().map(|t| t.0).or(first);
    let (last, count) = match &event.series {
        Some(series) => (series.last_observed_time.as_ref().map(|t| t.0), series.count.unwrap_or(0)),
        None => (last, event.count.filter(|c| *c != 0).unwrap_or(1)),
    };
    let object = &event.involved_object;
    vec![
        since(last, now).into(),
        cells::text(event.type_.as_ref()).into(),
        cells::text(event.reason.as_ref()).into(),
        target(cells::text(object.kind.as_ref()), cells::text(object.name.as_ref())).into(),
        cells::text(object.field_path.as_ref()).into(),
        source(event).into(),
        cells::text(event.message.as_ref()).trim().into(),
        since(first, now).into(),
        count.into(),
        cells::text(event.metadata.name.as_ref()).into(),
    ]
}

fn target(kind: &str, name: &str) -> String {
    let kind = kind.to_lowercase();
    if name.is_empty() { kind } else { format!("{kind}/{name}") }
}

fn source(event: &Event) -> String {
    let source = event.source.as_ref();
    let component = source.and_then(|s| s.component.as_ref());
    let host = source.and_then(|s| s.host.as_ref());
    let component = cells::text_or(component, cells::text(event.reporting_component.as_ref()));
    let instance = cells::text_or(host, cells::text(event.reporting_instance.as_ref()));
    if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Event;

    use crate::table::tests::line;

    #[test]
    fn events_say_what_happened_to_what() {
        let json = r#"{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","name":"p","fieldPath":"spec.containers{a}"},"message":" m\n","reason":"R","type":"Normal",
            "source":{"component":"kubelet","host":"n"},"firstTimestamp":"2026-01-01T00:00:00Z","lastTimestamp":"2026-01-01T00:59:00Z","count":4}"#;
        assert_eq!(line::<Event>(json), "60s | Normal | R | pod/p | spec.containers{a} | kubelet, n | m | 60m | 4 | e");
        let json = r#"{"metadata":{"name":"e"},"involvedObject":{"kind":"Node"},"eventTime":"2026-01-01T00:59:50.000000Z","reportingComponent":"c"}"#;
        assert_eq!(line::<Event>(json), "10s |  |  | node |  | c |  | 10s | 1 | e");
    }
}
