//! The rows of bindings.

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Cells, age, cells};

impl Cells for RoleBinding {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        binding(&self.metadata, &self.role_ref, self.subjects.as_deref().unwrap_or_default(), now)
    }
}

impl Cells for ClusterRoleBinding {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        binding(&self.metadata, &self.role_ref, self.subjects.as_deref().unwrap_or_default(), now)
    }
}

fn binding(meta: &ObjectMeta, role: &RoleRef, subjects: &[Subject], now: Timestamp) -> Vec<Value> {
    let of_kind = |kind: &str| -> Value {
        let subjects = subjects.iter().filter(|s| s.kind == kind);
        let names = subjects.map(|s| match kind {
            "ServiceAccount" => format!("{}/{}", cells::text(s.namespace.as_ref()), s.name),
            _ => s.name.clone(),
        });
        names.collect::<Vec<_>>().join(", ").into()
    };
    vec![
        cells::text(meta.name.as_ref()).into(),
        format!("{}/{}", role.kind, role.name).into(),
        age(meta, now).into(),
        of_kind("User"),
        of_kind("Group"),
        of_kind("ServiceAccount"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::line;

    #[test]
    fn bindings_show_whom_they_bind() {
        let json = r#"{"metadata":{"name":"b"},"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"u"},{"kind":"Group","name":"g"},{"kind":"Group","name":"h"},{"kind":"ServiceAccount","name":"s","namespace":"n"}]}"#;
        assert_eq!(line::<RoleBinding>(json), "b | Role/r | <unknown> | u | g, h | n/s");
    }
}
