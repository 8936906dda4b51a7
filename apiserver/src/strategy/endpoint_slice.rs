//! Endpoint slices count a generation with every change of anything but their metadata, labels aside.
//!
//! Source: `pkg/registry/discovery/endpointslice/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct EndpointSliceStrategy;

impl Strategy for EndpointSliceStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        first_generation(object.meta_mut());
        drop_topology(typed_mut::<EndpointSlice>(object));
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (slice, old) = (typed_mut::<EndpointSlice>(object), typed::<EndpointSlice>(old));
        let changed = slice.metadata.labels.iter().flatten().ne(old.metadata.labels.iter().flatten())
            || (&slice.endpoints, &slice.ports, &slice.address_type) != (&old.endpoints, &old.ports, &old.address_type);
        next_generation(&mut slice.metadata, changed);
        if slice.endpoints != old.endpoints {
            drop_topology(slice);
        }
    }
}

/// The topology of old is read and no longer written.
fn drop_topology(slice: &mut EndpointSlice) {
    slice.endpoints.iter_mut().flatten().for_each(|endpoint| endpoint.deprecated_topology = None);
}
