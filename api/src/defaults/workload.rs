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

const PROGRESS_SECONDS: i32 = 600;
const REVISIONS: i32 = 10;
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
