//! Events, under both groups. They go after an hour: see [`crate::duties`]. Source: `pkg/registry/core/event/strategy.go`.

use super::Strategy;

pub(super) struct EventStrategy;

impl Strategy for EventStrategy {
    fn creates_on_update(&self) -> bool {
        true
    }
}
