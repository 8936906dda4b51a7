//! Fields that stand behind feature gates of Kubernetes v1.36 which are closed: a write drops them, unless the object has had
//! them before.
//!
//! Source: `DropDisabledPodFields`, `DropDisabledTemplateFields` and the `dropDisabledFields` of the strategies.

use k8s_openapi::api::core::v1::{Lifecycle, Node, NodeSpec, Pod, PodSpec, PodTemplate, ReplicationController};
use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch};

use crate::any::AnyObject;

/// Drops what no client may set from an object that is to be created, or to replace `old`.
pub fn drop(object: &mut AnyObject, old: Option<&AnyObject>) {
    if let Some(node) = object.downcast_mut::<Node>() {
        return of_node(node, old.and_then(|old| old.downcast_ref()));
    }
    let nothing = PodSpec::default();
    let old = old.and_then(pod_spec).unwrap_or(&nothing);
    if let Some(spec) = pod_spec_mut(object) {
        of_pod(spec, old);
    }
    if let Some(status) = object.downcast_mut::<Pod>().and_then(|pod| pod.status.as_mut()) {
        status.node_allocatable_resource_claim_statuses = None;
    }
}

macro_rules! specs {
    ($object:expr, $downcast:ident; $($kind:ty: $path:expr;)*) => {{
        $(if $object.is::<$kind>() {
            return $object.$downcast::<$kind>().and_then($path);
        })*
        None
    }};
}

/// The spec of the pod that an object is, or of those that it makes.
fn pod_spec(object: &AnyObject) -> Option<&PodSpec> {
    specs! { object, downcast_ref;
        Pod: |pod| pod.spec.as_ref();
        PodTemplate: |template| template.template.as_ref()?.spec.as_ref();
        ReplicationController: |own| own.spec.as_ref()?.template.as_ref()?.spec.as_ref();
        apps::Deployment: |own| own.spec.as_ref()?.template.spec.as_ref();
        apps::ReplicaSet: |own| own.spec.as_ref()?.template.as_ref()?.spec.as_ref();
        apps::StatefulSet: |own| own.spec.as_ref()?.template.spec.as_ref();
        apps::DaemonSet: |own| own.spec.as_ref()?.template.spec.as_ref();
        batch::Job: |own| own.spec.as_ref()?.template.spec.as_ref();
        batch::CronJob: |own| own.spec.job_template.spec.as_ref()?.template.spec.as_ref();
    }
}

fn pod_spec_mut(object: &mut AnyObject) -> Option<&mut PodSpec> {
    specs! { object, downcast_mut;
        Pod: |pod| pod.spec.as_mut();
        PodTemplate: |template| template.template.as_mut()?.spec.as_mut();
        ReplicationController: |own| own.spec.as_mut()?.template.as_mut()?.spec.as_mut();
        apps::Deployment: |own| own.spec.as_mut()?.template.spec.as_mut();
        apps::ReplicaSet: |own| own.spec.as_mut()?.template.as_mut()?.spec.as_mut();
        apps::StatefulSet: |own| own.spec.as_mut()?.template.spec.as_mut();
        apps::DaemonSet: |own| own.spec.as_mut()?.template.spec.as_mut();
        batch::Job: |own| own.spec.as_mut()?.template.spec.as_mut();
        batch::CronJob: |own| own.spec.job_template.spec.as_mut()?.template.spec.as_mut();
    }
}

fn of_pod(spec: &mut PodSpec, old: &PodSpec) {
    if old.scheduling_group.is_none() {
        spec.scheduling_group = None;
    }
    if !has_stop_signal(old) {
        lifecycles_mut(spec).for_each(without_stop_signal);
    }
    let (bundles, certificates) = (has_bundle(old), has_certificate(old));
    let volumes = spec.volumes.iter_mut().flatten().filter_map(|volume| volume.projected.as_mut());
    for source in volumes.flat_map(|volume| volume.sources.iter_mut().flatten()) {
        if !bundles {
            source.cluster_trust_bundle = None;
        }
        if !certificates {
            source.pod_certificate = None;
        }
    }
}

fn lifecycles(spec: &PodSpec) -> impl Iterator<Item = &Lifecycle> {
    let own = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|own| &own.lifecycle);
    own.chain(spec.ephemeral_containers.iter().flatten().map(|guest| &guest.lifecycle)).flatten()
}

fn lifecycles_mut(spec: &mut PodSpec) -> impl Iterator<Item = &mut Option<Lifecycle>> {
    let own = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    let guests = spec.ephemeral_containers.iter_mut().flatten();
    own.map(|own| &mut own.lifecycle).chain(guests.map(|guest| &mut guest.lifecycle))
}

fn has_stop_signal(spec: &PodSpec) -> bool {
    lifecycles(spec).any(|lifecycle| lifecycle.stop_signal.is_some())
}

fn without_stop_signal(lifecycle: &mut Option<Lifecycle>) {
    let signal = lifecycle.as_mut().and_then(|lifecycle| lifecycle.stop_signal.take());
    if signal.is_some() && *lifecycle == Some(Lifecycle::default()) {
        *lifecycle = None;
    }
}

fn has_bundle(spec: &PodSpec) -> bool {
    sources(spec).any(|source| source.cluster_trust_bundle.is_some())
}

fn has_certificate(spec: &PodSpec) -> bool {
    sources(spec).any(|source| source.pod_certificate.is_some())
}

fn sources(spec: &PodSpec) -> impl Iterator<Item = &k8s_openapi::api::core::v1::VolumeProjection> {
    let projected = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    projected.flat_map(|projected| projected.sources.iter().flatten())
}

/// A kubelet's configuration can't be given through its node any more.
fn of_node(node: &mut Node, old: Option<&Node>) {
    let had = |old: &Node| old.spec.as_ref().is_some_and(|spec| spec.config_source.is_some());
    if !old.is_some_and(had) {
        node.spec.get_or_insert_with(NodeSpec::default).config_source = None;
    }
    if let Some(status) = &mut node.status
        && old.is_none_or(|old| old.status.as_ref().is_none_or(|status| status.config.is_none()))
    {
        status.config = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::tests::object;

    #[test]
    fn what_is_behind_a_closed_gate_is_dropped_unless_it_was_there() {
        let spec = r#"{"containers":[{"name":"c","image":"i","lifecycle":{"stopSignal":"SIGTERM"}}],"volumes":[{"name":"v","projected":{"sources":[{"clusterTrustBundle":{"path":"p","name":"n"}}]}}]}"#;
        let pod = object::<Pod>(&format!(r#"{{"metadata":{{"name":"p"}},"spec":{spec}}}"#));
        let job =
            object::<batch::Job>(&format!(r#"{{"metadata":{{"name":"j"}},"spec":{{"template":{{"spec":{spec}}}}}}}"#));
        for given in [pod, job] {
            let (mut created, mut updated) = (given.clone(), given.clone());
            drop(&mut created, None);
            drop(&mut updated, Some(&given));
            let spec = pod_spec(&created).expect("a spec");
            assert_eq!((spec.containers[0].lifecycle.as_ref(), has_bundle(spec)), (None, false));
            assert_eq!(pod_spec(&updated), pod_spec(&given));
        }
    }
}
