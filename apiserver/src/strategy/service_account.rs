//! Service accounts. Source: `pkg/registry/core/serviceaccount/strategy.go`.

use super::Strategy;

pub(super) struct ServiceAccountStrategy;

impl Strategy for ServiceAccountStrategy {
    fn shows_deleted(&self) -> bool {
        true
    }
}
