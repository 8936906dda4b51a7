//! The rows of kinds that have little to show.

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1 as coordination, core::v1 as core};
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for core::ConfigMap {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let entries = cells::len(self.data.as_ref()) + cells::len(self.binary_data.as_ref());
        vec![cells::text(self.metadata.name.as_ref()).into(), entries.into(), age(&self.metadata, now).into()]
    }
}

impl Cells for core::Secret {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            cells::text(self.type_.as_ref()).into(),
            cells::len(self.data.as_ref()).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for core::Namespace {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let phase = self.status.as_ref().and_then(|s| s.phase.as_ref());
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            cells::text(phase).into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for core::ServiceAccount {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![cells::text(self.metadata.name.as_ref()).into(), age(&self.metadata, now).into()]
    }
}

impl Cells for coordination::Lease {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let holder = self.spec.as_ref().and_then(|s| s.holder_identity.as_ref());
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            cells::text(holder).into(),
            age(&self.metadata, now).into(),
        ]
    }
}
