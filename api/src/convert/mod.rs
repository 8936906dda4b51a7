//! Kinds that are served in more than one version are stored in one; the others are views of it.

pub(crate) mod events;

use k8s_openapi::api::{core::v1 as core, events::v1 as events_v1};

use crate::any::AnyObject;
use crate::kind::Kind;

/// The object as it is stored.
#[must_use]
pub fn to_stored(object: AnyObject) -> AnyObject {
    object.downcast::<events_v1::Event>().map_or_else(|other| other, |event| AnyObject::new(events::to_core(event)))
}

/// A stored object as `kind` shows it.
#[must_use]
pub fn to_served(object: AnyObject, kind: &Kind) -> AnyObject {
    if kind.group != "events.k8s.io" {
        return object;
    }
    object.downcast::<core::Event>().map_or_else(|other| other, |event| AnyObject::new(events::to_events(event)))
}
