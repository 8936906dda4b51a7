//! The rows of deployments, replica sets and replication controllers.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use serde_json::Value;

use super::{Cells, age, cells};
use crate::selector;

impl Cells for core::ReplicationController {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        replication_controller(self, age(&self.metadata, now))
    }
}

impl Cells for apps::ReplicaSet {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        replica_set(self, age(&self.metadata, now))
    }
}

impl Cells for apps::Deployment {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        deployment(self, age(&self.metadata, now))
    }
}

fn deployment(deployment: &apps::Deployment, age: String) -> Vec<Value> {
    let spec = deployment.spec.as_ref();
    let status = deployment.status.as_ref();
    let desired = spec.and_then(|s| s.replicas).unwrap_or(0);
    let ready = status.and_then(|s| s.ready_replicas).unwrap_or(0);
    let (names, images) = cells::containers(spec.and_then(|s| s.template.spec.as_ref()));
    vec![
        cells::text(deployment.metadata.name.as_ref()).into(),
        format!("{ready}/{desired}").into(),
        status.and_then(|s| s.updated_replicas).unwrap_or(0).into(),
        status.and_then(|s| s.available_replicas).unwrap_or(0).into(),
        age.into(),
        names.into(),
        images.into(),
        selector::format_labels(spec.map(|s| &s.selector)).into(),
    ]
}

fn replica_set(set: &apps::ReplicaSet, age: String) -> Vec<Value> {
    let spec = set.spec.as_ref();
    let status = set.status.as_ref();
    let (names, images) = cells::containers(spec.and_then(|s| s.template.as_ref()).and_then(|t| t.spec.as_ref()));
    vec![
        cells::text(set.metadata.name.as_ref()).into(),
        spec.and_then(|s| s.replicas).unwrap_or(0).into(),
        status.map_or(0, |s| s.replicas).into(),
        status.and_then(|s| s.ready_replicas).unwrap_or(0).into(),
        age.into(),
        names.into(),
        images.into(),
        selector::format_labels(spec.map(|s| &s.selector)).into(),
    ]
}

fn replication_controller(controller: &core::ReplicationController, age: String) -> Vec<Value> {
    let spec = controller.spec.as_ref();
    let status = controller.status.as_ref();
    let (names, images) = cells::containers(spec.and_then(|s| s.template.as_ref()).and_then(|t| t.spec.as_ref()));
    vec![
        cells::text(controller.metadata.name.as_ref()).into(),
        spec.and_then(|s| s.replicas).unwrap_or(0).into(),
        status.map_or(0, |s| s.replicas).into(),
        status.and_then(|s| s.ready_replicas).unwrap_or(0).into(),
        age.into(),
        names.into(),
        images.into(),
        cells::labels(spec.and_then(|s| s.selector.as_ref())).into(),
    ]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};

    use crate::table::tests::line;

    #[test]
    fn replicas_are_counted() {
        let template = r#""template":{"spec":{"containers":[{"name":"a","image":"i:1"},{"name":"b","image":"j"}]}}"#;
        assert_eq!(
            line::<apps::Deployment>(&format!(
                r#"{{"metadata":{{"name":"w"}},"spec":{{"replicas":3,"selector":{{"matchLabels":{{"app":"x"}}}},{template}}},"status":{{"readyReplicas":1,"updatedReplicas":2}}}}"#
            )),
            "w | 1/3 | 2 | 0 | <unknown> | a,b | i:1,j | app=x"
        );
        assert_eq!(
            line::<apps::ReplicaSet>(&format!(
                r#"{{"metadata":{{"name":"w"}},"spec":{{"replicas":3,"selector":{{}},{template}}},"status":{{"replicas":2,"readyReplicas":1}}}}"#
            )),
            "w | 3 | 2 | 1 | <unknown> | a,b | i:1,j | <none>"
        );
        assert_eq!(
            line::<core::ReplicationController>(&format!(
                r#"{{"metadata":{{"name":"w"}},"spec":{{"replicas":0,"selector":{{"a":"1","b":"2"}},{template}}}}}"#
            )),
            "w | 0 | 0 | 0 | <unknown> | a,b | i:1,j | a=1,b=2"
        );
    }
}
