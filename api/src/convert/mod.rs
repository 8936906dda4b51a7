//! Kinds that are served in more than one version are stored in one; the others are views of it.

pub(crate) mod events;

use k8s_openapi::api::{core::v1 as core, events::v1 as events_v1};

use crate::any::AnyObject;
use crate::kind::Kind;

/// The object as it is stored.
#[must_use]
pub fn to_stored(object: AnyObject) -> AnyObject {
    object.convert::<events_v1::Event, _>(events::to_core).unwrap_or_else(|same| same)
}

/// A stored object as `kind` shows it.
#[must_use]
pub fn to_served(object: AnyObject, kind: &Kind) -> AnyObject {
    if kind.group != "events.k8s.io" {
        return object;
    }
    object.convert::<core::Event, _>(events::to_events).unwrap_or_else(|same| same)
}
