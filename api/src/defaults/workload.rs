//! The defaults of the kinds that keep a number of pods.

use k8s_openapi::api::{apps::v1 as apps, core::v1 as core};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Defaults, pod_template, set, set_text};

impl Defaults for apps::Deployment {
    fn set_defaults(&mut self) {
        deployment(self);
    }
}

impl Defaults for apps::ReplicaSet {
    fn set_defaults(&mut self) {
        replica_set(self);
    }
}

impl Defaults for core::ReplicationController {
    fn set_defaults(&mut self) {
        replication_controller(self);
    }
}

impl Defaults for apps::DaemonSet {
    fn set_defaults(&mut self) {
        daemon_set(self);
    }
}

impl Defaults for apps::StatefulSet {
    fn set_defaults(&mut self) {
        stateful_set(self);
    }
}

impl Defaults for core::PodTemplate {
    fn set_defaults(&mut self) {
        pod_template(self.template.get_or_insert_default());
    }
}

const PROGRESS_SECONDS: i32 = 600;
const REVISIONS: i32 = 10;
const ROLLING_UPDATE: &str = "RollingUpdate";
/// How much of a deployment may be replaced at once.
const STEP: &str = "25%";

/// One replica, replaced a quarter at a time.
fn deployment(deployment: &mut apps::Deployment) {
    let spec = deployment.spec.get_or_insert_default();
    set(&mut spec.replicas, 1);
    set(&mut spec.revision_history_limit, REVISIONS);
    set(&mut spec.progress_deadline_seconds, PROGRESS_SECONDS);
    let strategy = spec.strategy.get_or_insert_default();
    set_text(&mut strategy.type_, "RollingUpdate");
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_default();
        set(&mut rolling.max_unavailable, IntOrString::String(STEP.to_owned()));
        set(&mut rolling.max_surge, IntOrString::String(STEP.to_owned()));
    }
    pod_template(&mut spec.template);
}

/// One replica.
fn replica_set(set_: &mut apps::ReplicaSet) {
    let spec = set_.spec.get_or_insert_default();
    set(&mut spec.replicas, 1);
    pod_template(spec.template.get_or_insert_default());
}

/// One replica; selector and labels are those of the template.
fn replication_controller(controller: &mut core::ReplicationController) {
    let spec = controller.spec.get_or_insert_default();
    set(&mut spec.replicas, 1);
    let Some(template) = &mut spec.template else { return };
    pod_template(template);
    let labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).filter(|l| !l.is_empty());
    if spec.selector.as_ref().is_none_or(|s| s.is_empty()) {
        spec.selector.clone_from(&labels);
    }
    if controller.metadata.labels.as_ref().is_none_or(|l| l.is_empty()) {
        controller.metadata.labels = labels;
    }
}

/// Replaced node by node, the old pod first.
fn daemon_set(set_: &mut apps::DaemonSet) {
    let spec = set_.spec.get_or_insert_default();
    set(&mut spec.revision_history_limit, REVISIONS);
    let strategy = spec.update_strategy.get_or_insert_default();
    set_text(&mut strategy.type_, ROLLING_UPDATE);
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE) {
        let rolling = strategy.rolling_update.get_or_insert_default();
        set(&mut rolling.max_unavailable, IntOrString::Int(1));
        set(&mut rolling.max_surge, IntOrString::Int(0));
    }
    pod_template(&mut spec.template);
}

/// One replica, replaced in order; what it claims outlives it.
fn stateful_set(set_: &mut apps::StatefulSet) {
    let spec = set_.spec.get_or_insert_default();
    set(&mut spec.replicas, 1);
    set(&mut spec.revision_history_limit, REVISIONS);
    set_text(&mut spec.pod_management_policy, "OrderedReady");
    let strategy = spec.update_strategy.get_or_insert_default();
    if strategy.type_.as_ref().is_none_or(String::is_empty) {
        strategy.type_ = Some(ROLLING_UPDATE.to_owned());
        strategy.rolling_update.get_or_insert_default();
    }
    if strategy.type_.as_deref() == Some(ROLLING_UPDATE)
        && let Some(rolling) = &mut strategy.rolling_update
    {
        set(&mut rolling.partition, 0);
    }
    let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    set_text(&mut retention.when_deleted, "Retain");
    set_text(&mut retention.when_scaled, "Retain");
    for claim in spec.volume_claim_templates.iter_mut().flatten() {
        set_text(&mut claim.status.get_or_insert_default().phase, "Pending");
        set(&mut claim.spec.get_or_insert_default().volume_mode, "Filesystem".to_owned());
    }
    pod_template(&mut spec.template);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1 as apps;

    use crate::validation::tests::object;

    #[test]
    fn sets_have_what_kubernetes_gives_them() {
        let set = object::<apps::StatefulSet>(r#"{"spec":{"volumeClaimTemplates":[{"metadata":{"name":"d"}}]}}"#);
        let json: serde_json::Value = serde_json::from_slice(&set.encode()).expect("JSON");
        let spec = &json["spec"];
        assert_eq!(spec["updateStrategy"].to_string(), r#"{"rollingUpdate":{"partition":0},"type":"RollingUpdate"}"#);
        assert_eq!(
            spec["volumeClaimTemplates"][0].to_string(),
            r#"{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"d"},"spec":{"resources":{},"volumeMode":"Filesystem"},"status":{"phase":"Pending"}}"#
        );
        let set = object::<apps::StatefulSet>(r#"{"spec":{"updateStrategy":{"type":"OnDelete"}}}"#);
        let json: serde_json::Value = serde_json::from_slice(&set.encode()).expect("JSON");
        assert_eq!(json["spec"]["updateStrategy"].to_string(), r#"{"type":"OnDelete"}"#);
    }
}
