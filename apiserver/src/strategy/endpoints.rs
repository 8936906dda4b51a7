//! Endpoints. Source: `pkg/registry/core/endpoint/strategy.go`.

use super::Strategy;

pub(super) struct EndpointsStrategy;

impl Strategy for EndpointsStrategy {
    fn creates_on_update(&self) -> bool {
        true
    }
}
