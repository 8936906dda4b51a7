//! Leases. A client that finds none makes it with the same PUT. Source: `pkg/registry/coordination/lease/strategy.go`.

use super::Strategy;

pub(super) struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    fn creates_on_update(&self) -> bool {
        true
    }
}
