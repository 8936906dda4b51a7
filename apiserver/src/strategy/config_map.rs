//! ConfigMaps are kept as they come. Source: `pkg/registry/core/configmap/strategy.go`.

use super::Strategy;

pub(super) struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {}
