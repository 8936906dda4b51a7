//! Kinds that are served in more than one version are stored in one; the others are views of it.

pub mod autoscaling;
pub(crate) mod events;

use std::sync::Arc;

use k8s_openapi::api::autoscaling::{v1 as autoscaling_v1, v2 as autoscaling_v2};
use k8s_openapi::api::{core::v1 as core, events::v1 as events_v1};

use crate::any::AnyObject;
use crate::custom::CustomModel;
use crate::kind::Kind;

/// The object as it is stored, as an object of the kind `stored`.
#[must_use]
pub fn to_stored(object: AnyObject, stored: &Kind) -> AnyObject {
    if let Some(model) = stored.model.custom() {
        return custom_as(object, model);
    }
    object
        .convert::<events_v1::Event, _>(events::to_core)
        .or_else(|other| other.convert::<autoscaling_v1::HorizontalPodAutoscaler, _>(autoscaling::to_v2))
        .unwrap_or_else(|same| same)
}

/// A custom object in another version of its kind.
fn custom_as(mut object: AnyObject, model: &Arc<CustomModel>) -> AnyObject {
    if let Some(custom) = object.custom_mut() {
        custom.convert(model);
    }
    object
}

/// A stored object as `kind` shows it.
#[must_use]
pub fn to_served(object: AnyObject, kind: &Kind) -> AnyObject {
    if let Some(model) = kind.model.custom() {
        return custom_as(object, model);
    }
    let shown = match (&*kind.group, &*kind.version) {
        ("events.k8s.io", "v1") => object.convert::<core::Event, _>(events::to_events),
        ("autoscaling", "v1") => object.convert::<autoscaling_v2::HorizontalPodAutoscaler, _>(autoscaling::to_v1),
        _ => return object,
    };
    shown.unwrap_or_else(|same| same)
}
