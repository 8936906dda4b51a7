//! Events, in both versions.

use k8s_openapi::api::{core::v1 as core_v1, events::v1 as events_v1};

use super::Validate;
use super::meta::{self, Naming};
use super::rules::{one_of, required, text};
use crate::convert::events::to_core;
use crate::field::{Errors, Path};
use crate::names;

impl Validate for core_v1::Event {
    fn validate(&self, errors: &mut Errors) {
        core(self, errors);
    }

    fn validate_update(&self, _: &Self, errors: &mut Errors) {
        core_fields(self, errors);
    }
}

impl Validate for events_v1::Event {
    fn validate(&self, errors: &mut Errors) {
        events(self, errors);
    }
}

const TYPES: [&str; 2] = ["Normal", "Warning"];
const NAME_BYTES_MAX: usize = 128;
const NOTE_BYTES_MAX: usize = 1024;

/// Events of the older version may be called anything that a URL can hold.
const NAMING: Naming = Naming { name: names::path_segment, namespaced: true };

pub(super) fn core(event: &core_v1::Event, errors: &mut Errors) {
    meta::create(&event.metadata, NAMING, errors);
    core_fields(event, errors);
}

/// The namespace of the event is that of what it is about; of what is in no namespace it is `default`.
pub(super) fn core_fields(event: &core_v1::Event, errors: &mut Errors) {
    let about = text(event.involved_object.namespace.as_ref());
    let own = text(event.metadata.namespace.as_ref());
    let fits = if about.is_empty() { matches!(own, "" | "default" | "kube-system") } else { own == about };
    if !fits {
        let path = Path::new("involvedObject");
        errors.invalid(&path.child("namespace"), about, "does not match event.namespace");
    }
    if event.event_time.is_some() {
        modern(event, errors);
    }
}

pub(super) fn events(event: &events_v1::Event, errors: &mut Errors) {
    let stored = to_core(event.clone());
    core(&stored, errors);
    if stored.event_time.is_none() {
        errors.required(&Path::new("eventTime"), "");
        modern(&stored, errors);
    }
}

/// What is asked of events that tell their time exactly.
fn modern(event: &core_v1::Event, errors: &mut Errors) {
    let controller = text(event.reporting_component.as_ref());
    required(controller, &Path::new("reportingController"), errors);
    if !controller.is_empty() {
        errors.invalid_each(&Path::new("reportingController"), controller, names::qualified(controller));
    }
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
    match text(event.type_.as_ref()) {
        "" => errors.required(&Path::new("type"), ""),
        type_ => one_of(type_, &TYPES, &Path::new("type"), errors),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{core::v1 as core_v1, events::v1 as events_v1};

    use crate::validation::tests::refused;

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
        let expected = ["reportingController Required", "reportingInstance Required", "type NotSupported"];
        assert_eq!(refused::<events_v1::Event>(event), expected);
    }
}
