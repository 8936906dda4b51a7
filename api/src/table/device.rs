//! The rows of `resource.k8s.io`.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for DeviceClass {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![cells::text(self.metadata.name.as_ref()).into(), age(&self.metadata, now).into()]
    }
}

impl Cells for ResourceClaimTemplate {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![cells::text(self.metadata.name.as_ref()).into(), age(&self.metadata, now).into()]
    }
}

impl Cells for ResourceClaim {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![cells::text(self.metadata.name.as_ref()).into(), state(self).into(), age(&self.metadata, now).into()]
    }
}

/// `allocated,reserved`
fn state(claim: &ResourceClaim) -> String {
    let deleted = claim.metadata.deletion_timestamp.is_some();
    let status = claim.status.as_ref();
    let allocated = status.is_some_and(|s| s.allocation.is_some());
    let reserved = allocated && status.and_then(|s| s.reserved_for.as_ref()).is_some_and(|r| !r.is_empty());
    let states =
        [(deleted, "deleted"), (!allocated && !deleted, "pending"), (allocated, "allocated"), (reserved, "reserved")];
    states.into_iter().filter(|(is, _)| *is).map(|(_, state)| state).collect::<Vec<_>>().join(",")
}

impl Cells for ResourceSlice {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            cells::text(self.spec.node_name.as_ref()).into(),
            self.spec.driver.clone().into(),
            self.spec.pool.name.clone().into(),
            age(&self.metadata, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    #[test]
    fn what_kubectl_shows() {
        for (status, expected) in [
            ("{}", "pending"),
            (r#"{"allocation":{}}"#, "allocated"),
            (r#"{"allocation":{},"reservedFor":[{"resource":"pods","name":"p","uid":"u"}]}"#, "allocated,reserved"),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"c"}},"spec":{{}},"status":{status}}}"#);
            assert_eq!(line::<ResourceClaim>(&json), format!("c | {expected} | <unknown>"));
        }
        let slice = r#"{"metadata":{"name":"s"},"spec":{"driver":"d","pool":{"name":"p","generation":0,"resourceSliceCount":1}}}"#;
        assert_eq!(line::<ResourceSlice>(slice), "s |  | d | p | <unknown>");
    }
}
