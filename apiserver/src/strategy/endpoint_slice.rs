//! Endpoint slices count a generation with every change of anything but their version.
//!
//! Source: `pkg/registry/discovery/endpointslice/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct EndpointSliceStrategy;

impl Strategy for EndpointSliceStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        first_generation(object.meta_mut());
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (slice, old) = (typed_mut::<EndpointSlice>(object), typed::<EndpointSlice>(old));
        let (meta, old_meta) = (&slice.metadata, &old.metadata);
        let changed = (meta.labels != old_meta.labels)
            || (meta.annotations != old_meta.annotations)
            || (meta.owner_references != old_meta.owner_references)
            || (meta.finalizers != old_meta.finalizers)
            || (&slice.endpoints, &slice.ports, &slice.address_type) != (&old.endpoints, &old.ports, &old.address_type);
        next_generation(&mut slice.metadata, changed);
    }
}
