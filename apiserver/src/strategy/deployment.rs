//! Deployments. Source: `pkg/registry/apps/deployment/strategy.go`.

use coracle_api::any::AnyObject;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};

use super::{Strategy, first_generation, next_generation, typed, typed_mut};

pub(super) struct DeploymentStrategy;

impl Strategy for DeploymentStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        let deployment = typed_mut::<Deployment>(object);
        deployment.status = Some(DeploymentStatus::default());
        first_generation(&mut deployment.metadata);
    }

    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (deployment, old) = (typed_mut::<Deployment>(object), typed::<Deployment>(old));
        deployment.status.clone_from(&old.status);
        // Annotations are copied to replica sets, so their change is one of what is wanted.
        let changed = deployment.spec != old.spec || deployment.metadata.annotations != old.metadata.annotations;
        next_generation(&mut deployment.metadata, changed);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (deployment, old) = (typed_mut::<Deployment>(object), typed::<Deployment>(old));
        deployment.spec.clone_from(&old.spec);
        deployment.metadata.labels.clone_from(&old.metadata.labels);
    }
}
