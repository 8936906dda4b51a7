//! Events, in both versions.

use k8s_openapi::api::{core::v1 as core_v1, events::v1 as events_v1};

use super::Validate;
use super::meta::{self, Naming};
use super::rules::{immutable, required, text};
use crate::convert::events::to_core;
use crate::field::{Errors, Path};
use crate::names;

impl Validate for core_v1::Event {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, NAMING, errors);
        both(self, "reportingComponent", errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        both(self, "reportingComponent", errors);
    }
}

impl Validate for events_v1::Event {
    fn validate(&self, errors: &mut Errors) {
        meta::create(&self.metadata, meta::IN_NAMESPACE, errors);
        let stored = to_core(self.clone());
        both(&stored, "reportingController", errors);
        newer(&stored, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        let (stored, before) = (to_core(self.clone()), to_core(old.clone()));
        both(&stored, "reportingController", errors);
        if stored.series != before.series {
            series(&stored, errors);
        }
        unchanged(&stored, &before, errors);
    }
}

const TYPES: [&str; 2] = ["Normal", "Warning"];
const NAME_BYTES_MAX: usize = 128;
const NOTE_BYTES_MAX: usize = 1024;
const COUNT_MIN: i32 = 2;

/// Events of the older version may be called anything that a URL can hold.
const NAMING: Naming = Naming { name: names::path_segment, namespaced: true };

/// What both versions ask for. The namespace of the event is that of what it is about; of what is in no namespace it
/// is `default`. An event that tells its time exactly says more, `controller` being the path of who tells it.
fn both(event: &core_v1::Event, controller: &str, errors: &mut Errors) {
    let about = text(event.involved_object.namespace.as_ref());
    let own = text(event.metadata.namespace.as_ref());
    let exact = event.event_time.is_some();
    let fits = match about {
        "" => matches!(own, "" | "default") || (exact && own == "kube-system"),
        about => exact || own == about,
    };
    if !fits {
        let path = Path::new("involvedObject");
        errors.invalid(&path.child("namespace"), about, "does not match event.namespace");
    }
    if exact {
        told(event, controller, errors);
    }
}

/// What is asked of events that tell their time exactly.
fn told(event: &core_v1::Event, controller: &str, errors: &mut Errors) {
    let teller = text(event.reporting_component.as_ref());
    required(teller, &Path::new(controller), errors);
    errors.invalid_each(&Path::new(controller), teller, names::qualified(teller));
    for (field, value) in [
        ("reportingInstance", text(event.reporting_instance.as_ref())),
        ("action", text(event.action.as_ref())),
        ("reason", text(event.reason.as_ref())),
    ] {
        required(value, &Path::new(field), errors);
        if value.len() > NAME_BYTES_MAX {
            errors.invalid(&Path::new(field), "", &format!("can have at most {NAME_BYTES_MAX} characters"));
        }
    }
    if text(event.message.as_ref()).len() > NOTE_BYTES_MAX {
        errors.invalid(&Path::new("message"), "", &format!("can have at most {NOTE_BYTES_MAX} characters"));
    }
}

/// What the newer version asks for and what it has no more.
fn newer(event: &core_v1::Event, errors: &mut Errors) {
    series(event, errors);
    if event.event_time.is_none() {
        errors.required(&Path::new("eventTime"), "");
    }
    let type_ = text(event.type_.as_ref());
    if !TYPES.contains(&type_) {
        errors.invalid(&Path::new("type"), "", &format!("has invalid value: {type_}"));
    }
    let source = event.source.as_ref();
    for (field, is_set) in [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.is_some_and(|count| count != 0)),
        ("source", source.is_some_and(|s| !text(s.component.as_ref()).is_empty() || !text(s.host.as_ref()).is_empty())),
    ] {
        if is_set {
            errors.invalid(&Path::new(field), "", "needs to be unset");
        }
    }
}

fn series(event: &core_v1::Event, errors: &mut Errors) {
    let Some(series) = &event.series else { return };
    let path = Path::new("series");
    if series.count.unwrap_or(0) < COUNT_MIN {
        errors.invalid(&path.child("count"), "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required(&path.child("lastObservedTime"), "");
    }
}

/// Of an event of the newer version only its series goes on.
fn unchanged(new: &core_v1::Event, old: &core_v1::Event, errors: &mut Errors) {
    immutable(&new.involved_object, &old.involved_object, &Path::new("involvedObject"), errors);
    immutable(&new.first_timestamp, &old.first_timestamp, &Path::new("firstTimestamp"), errors);
    immutable(&new.last_timestamp, &old.last_timestamp, &Path::new("lastTimestamp"), errors);
    immutable(&new.count.unwrap_or(0), &old.count.unwrap_or(0), &Path::new("count"), errors);
    immutable(&new.event_time, &old.event_time, &Path::new("eventTime"), errors);
    immutable(&new.related, &old.related, &Path::new("related"), errors);
    for (field, new, old) in [
        ("reason", &new.reason, &old.reason),
        ("message", &new.message, &old.message),
        ("type", &new.type_, &old.type_),
        ("action", &new.action, &old.action),
        ("reportingController", &new.reporting_component, &old.reporting_component),
        ("reportingInstance", &new.reporting_instance, &old.reporting_instance),
    ] {
        immutable(&text(new.as_ref()), &text(old.as_ref()), &Path::new(field), errors);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{core::v1 as core_v1, events::v1 as events_v1};

    use crate::validation::tests::{refused, refused_update};

    #[test]
    fn events_are_where_their_objects_are() {
        let about = |namespace: &str| {
            format!(r#"{{"metadata":{{"name":"e","namespace":"n"}},"involvedObject":{{"namespace":"{namespace}"}}}}"#)
        };
        assert_eq!(refused::<core_v1::Event>(&about("n")), [""; 0]);
        assert_eq!(refused::<core_v1::Event>(&about("m")), ["involvedObject.namespace Invalid"]);
    }

    #[test]
    fn the_newer_version_asks_for_more() {
        let event = r#"{"metadata":{"name":"e","namespace":"n"},"regarding":{"namespace":"n"},"eventTime":"2026-01-01T00:00:00.000000Z","reason":"R","action":"A","type":"Odd"}"#;
        let expected = [
            "reportingController Required",
            "reportingController Invalid",
            "reportingController Invalid",
            "reportingInstance Required",
            "type Invalid",
        ];
        assert_eq!(refused::<events_v1::Event>(event), expected);
    }

    #[test]
    fn only_the_series_goes_on() {
        let event = |more: &str| {
            format!(
                r#"{{"metadata":{{"name":"e","namespace":"n"}},"regarding":{{"namespace":"n"}},"eventTime":"2026-01-01T00:00:00.000000Z","reason":"R","type":"Normal","reportingController":"c","reportingInstance":"i"{more}}}"#
            )
        };
        let old = event(r#","action":"A""#);
        let series =
            |count: i32| format!(r#","series":{{"count":{count},"lastObservedTime":"2026-01-01T00:00:01.000000Z"}}"#);
        for (new, expected) in [
            (event(&format!(r#","action":"A"{}"#, series(2))), &[][..]),
            (event(&format!(r#","action":"A"{}"#, series(1))), &["series.count Invalid"]),
            (event(r#","action":"B","note":"x""#), &["message Invalid", "action Invalid"]),
        ] {
            assert_eq!(refused_update::<events_v1::Event>(&old, &new), expected, "{new}");
        }
        let deprecated = event(r#","action":"A","deprecatedCount":1,"deprecatedSource":{"component":"c"}"#);
        assert_eq!(refused::<events_v1::Event>(&deprecated), ["count Invalid", "source Invalid"]);
    }
}
