//! Roles and their bindings. Source: `pkg/registry/rbac/*/strategy.go`.

use super::Strategy;

pub(super) struct AccessStrategy;

impl Strategy for AccessStrategy {
    fn creates_on_update(&self) -> bool {
        true
    }
}
