//! Secrets are kept as they come; their type is fixed by validation. Source: `pkg/registry/core/secret/strategy.go`.

use super::Strategy;

pub(super) struct SecretStrategy;

impl Strategy for SecretStrategy {}
