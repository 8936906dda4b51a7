//! The rows of what keeps a number of pods, and of templates and revisions of them.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
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

impl Cells for apps::DaemonSet {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        daemon_set(self, age(&self.metadata, now))
    }
}

impl Cells for apps::StatefulSet {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        stateful_set(self, age(&self.metadata, now))
    }
}

impl Cells for apps::ControllerRevision {
    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let owners = self.metadata.owner_references.iter().flatten();
        let controller = owners.into_iter().find(|o| o.controller == Some(true)).map(cells::qualified);
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            controller.unwrap_or_else(|| cells::NONE.to_owned()).into(),
            self.revision.into(),
            age(&self.metadata, now).into(),
        ]
    }
}

impl Cells for core::PodTemplate {
    fn cells(&self, _: Timestamp) -> Vec<Value> {
        let template = self.template.as_ref();
        let (names, images) = cells::containers(template.and_then(|t| t.spec.as_ref()));
        vec![
            cells::text(self.metadata.name.as_ref()).into(),
            names.into(),
            images.into(),
            cells::labels(template.and_then(|t| t.metadata.as_ref()).and_then(|m| m.labels.as_ref())).into(),
        ]
    }
}

fn daemon_set(set: &apps::DaemonSet, age: String) -> Vec<Value> {
    let spec = set.spec.as_ref();
    let default = apps::DaemonSetStatus::default();
    let status = set.status.as_ref().unwrap_or(&default);
    let pod = spec.and_then(|s| s.template.spec.as_ref());
    let (names, images) = cells::containers(pod);
    vec![
        cells::text(set.metadata.name.as_ref()).into(),
        status.desired_number_scheduled.into(),
        status.current_number_scheduled.into(),
        status.number_ready.into(),
        status.updated_number_scheduled.unwrap_or(0).into(),
        status.number_available.unwrap_or(0).into(),
        cells::labels(pod.and_then(|p| p.node_selector.as_ref())).into(),
        age.into(),
        names.into(),
        images.into(),
        selector::format_labels(spec.map(|s| &s.selector)).into(),
    ]
}

fn stateful_set(set: &apps::StatefulSet, age: String) -> Vec<Value> {
    let spec = set.spec.as_ref();
    let desired = spec.and_then(|s| s.replicas).unwrap_or(0);
    let ready = set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0);
    let (names, images) = cells::containers(spec.and_then(|s| s.template.spec.as_ref()));
    vec![
        cells::text(set.metadata.name.as_ref()).into(),
        format!("{ready}/{desired}").into(),
        age.into(),
        names.into(),
        images.into(),
    ]
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
        selected(spec.map(|s| &s.selector)).into(),
    ]
}

/// The selector of a deployment, which is nothing where others say that there is none.
fn selected(selector: Option<&LabelSelector>) -> String {
    match selector::format_labels(selector).as_str() {
        cells::NONE => String::new(),
        "<error>" => "<invalid>".to_owned(),
        text => text.to_owned(),
    }
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
        for (selector, expected) in [
            ("{}", ""),
            (r#"{"matchExpressions":[{"key":"a","operator":"In","values":["c","b"]}]}"#, "a in (b,c)"),
            (r#"{"matchExpressions":[{"key":"a","operator":"Near"}]}"#, "<invalid>"),
        ] {
            let json = format!(r#"{{"metadata":{{"name":"w"}},"spec":{{"selector":{selector},{template}}}}}"#);
            assert_eq!(
                line::<apps::Deployment>(&json),
                format!("w | 0/0 | 0 | 0 | <unknown> | a,b | i:1,j | {expected}")
            );
        }
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

    #[test]
    fn sets_and_revisions() {
        let template = r#""selector":{"matchLabels":{"a":"b"}},"template":{"spec":{"nodeSelector":{"d":"s"},"containers":[{"name":"a","image":"i"}]}}"#;
        let status =
            r#"{"desiredNumberScheduled":3,"currentNumberScheduled":2,"numberReady":1,"numberMisscheduled":0}"#;
        assert_eq!(
            line::<apps::DaemonSet>(&format!(
                r#"{{"metadata":{{"name":"d"}},"spec":{{{template}}},"status":{status}}}"#
            )),
            "d | 3 | 2 | 1 | 0 | 0 | d=s | <unknown> | a | i | a=b"
        );
        assert_eq!(
            line::<apps::StatefulSet>(&format!(
                r#"{{"metadata":{{"name":"s"}},"spec":{{"replicas":2,{template}}},"status":{{"replicas":2,"readyReplicas":1}}}}"#
            )),
            "s | 1/2 | <unknown> | a | i"
        );
        let owner = r#"{"apiVersion":"apps/v1","kind":"StatefulSet","name":"s","uid":"u","controller":true}"#;
        assert_eq!(
            line::<apps::ControllerRevision>(&format!(
                r#"{{"metadata":{{"name":"r","ownerReferences":[{owner}]}},"revision":3}}"#
            )),
            "r | statefulset.apps/s | 3 | <unknown>"
        );
        assert_eq!(
            line::<core::PodTemplate>(
                r#"{"metadata":{"name":"t"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}"#
            ),
            "t | c | i | a=b"
        );
    }
}
