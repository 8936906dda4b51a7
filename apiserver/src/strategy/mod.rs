//! What is particular to a kind: how an object is completed before it is stored, which part of it which write may
//! touch, how it is deleted. One file a kind; everything that is the same for all kinds is in [`crate::handler`].
//!
//! Source: upstream's registry strategies (`RESTCreateStrategy`, `RESTUpdateStrategy`, `RESTDeleteStrategy`) and the
//! admission plugins that are on by default.

mod access;
mod autoscaler;
mod certificate;
mod claim;
mod config_map;
mod counted;
mod custom;
mod daemon_set;
mod definition;
mod deployment;
mod device;
mod endpoint_slice;
mod endpoints;
mod event;
mod generation;
mod job;
mod lease;
mod limit_range;
mod local;
mod namespace;
mod node;
mod persistent_volume;
pub(crate) mod pod;
mod pod_template;
mod priority_class;
mod replica_set;
mod replication_controller;
pub(crate) mod reset;
mod resource_quota;
mod secret;
mod service;
mod service_account;
mod stateful_set;
mod storage;

pub(crate) use service::Allocators;

use async_trait::async_trait;
use coracle_api::any::AnyObject;
use coracle_api::kind::{Kind, Model};
use coracle_api::object::Object;
use coracle_api::status::ApiError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::Api;
use crate::auth::Identity;

/// The rules of one kind. Every method has the answer of a kind that has no rule of its own.
///
/// The objects that are passed in are of the strategy's kind; see [`typed`].
#[async_trait]
pub(crate) trait Strategy: Send + Sync + 'static {
    /// Completes an object that is to be created, and forgets what its creator may not set.
    fn prepare_for_create(&self, _object: &mut AnyObject) {}

    /// Writes into an object that is to be created who asks for it.
    fn ask_for(&self, _object: &mut AnyObject, _identity: &Identity) {}

    /// Keeps of `old` what an update may not touch.
    fn prepare_for_update(&self, _object: &mut AnyObject, _old: &AnyObject) {}

    /// Keeps of `old` everything but the status.
    fn prepare_for_status(&self, _object: &mut AnyObject, _old: &AnyObject) {}

    /// Keeps of `old` everything but what another subresource is there to change.
    fn prepare_for_part(&self, _part: Part, _object: &mut AnyObject, _old: &AnyObject) {}

    /// Looks at the cluster: fills in what the cluster gives, and refuses what it does not allow.
    ///
    /// # Errors
    /// When the object may not be created.
    async fn admit(&self, _api: &Api, _object: &mut AnyObject, _dry_run: bool) -> Result<(), ApiError> {
        Ok(())
    }

    /// As [`Strategy::admit`], for an update of `old`.
    ///
    /// # Errors
    /// When the object may not be changed so.
    fn admit_update(
        &self,
        _api: &Api,
        _object: &mut AnyObject,
        _old: &AnyObject,
        _dry_run: bool,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    /// Gives back what one state of an object has and another has not: after an update what the old one had, after an
    /// update that was refused what the new one took.
    fn replaced(&self, _api: &Api, _gone: &AnyObject, _stays: &AnyObject) {}

    /// Gives back what [`Strategy::admit`] took for an object that is not there after all, or no longer.
    fn released(&self, _api: &Api, _object: &AnyObject) {}

    /// Whether a write goes on when its client has gone: one that takes something must see to it that it is stored or
    /// given back.
    fn outlives_client(&self) -> bool {
        false
    }

    /// Whether a PUT creates what is not there.
    fn creates_on_update(&self) -> bool {
        false
    }

    /// How long an object may take to end: `None` when the kind is deleted at once.
    fn grace_seconds(&self, _object: &AnyObject, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// A finalizer that every object gets when its deletion begins.
    fn deletion_finalizer(&self) -> Option<&'static str> {
        None
    }

    /// Marks an object whose deletion begins.
    fn begin_deletion(&self, _object: &mut AnyObject) {}

    /// Whether something beyond its finalizers still holds an object that is being deleted.
    fn held_beyond_finalizers(&self, _object: &AnyObject) -> bool {
        false
    }

    /// Whether a deletion is answered with what was deleted, and not with a `Status`.
    fn shows_deleted(&self) -> bool {
        false
    }

    /// Whether dependents are left behind when the client does not say what becomes of them.
    fn orphans_by_default(&self) -> bool {
        false
    }
}

/// What a subresource with a path of its own writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status.
    Main,
    Status,
    /// A pod's ephemeral containers.
    EphemeralContainers,
    /// A pod's resources.
    Resize,
    /// A namespace's own finalizers.
    Finalize,
    /// Whether a certificate is to be issued.
    Approval,
}

/// The rules of a kind of the table.
pub(crate) fn of(kind: &Kind) -> &'static dyn Strategy {
    if kind.model.custom().is_some() {
        return &custom::CustomStrategy;
    }
    match (&*kind.group, &*kind.plural) {
        ("", "configmaps") => &config_map::ConfigMapStrategy,
        ("", "endpoints") => &endpoints::EndpointsStrategy,
        ("" | "events.k8s.io", "events") => &event::EventStrategy,
        ("", "limitranges") => &limit_range::LimitRangeStrategy,
        ("", "namespaces") => &namespace::NamespaceStrategy,
        ("", "nodes") => &node::NodeStrategy,
        ("", "persistentvolumeclaims") => &claim::ClaimStrategy,
        ("", "persistentvolumes") => &persistent_volume::PersistentVolumeStrategy,
        ("", "pods") => &pod::PodStrategy,
        ("", "podtemplates") => &pod_template::PodTemplateStrategy,
        ("", "replicationcontrollers") => &replication_controller::ReplicationControllerStrategy,
        ("", "resourcequotas") => &resource_quota::ResourceQuotaStrategy,
        ("", "secrets") => &secret::SecretStrategy,
        ("", "serviceaccounts") => &service_account::ServiceAccountStrategy,
        ("", "services") => &service::ServiceStrategy,
        ("apiextensions.k8s.io", "customresourcedefinitions") => &definition::DefinitionStrategy,
        ("apps", "daemonsets") => &daemon_set::DaemonSetStrategy,
        ("apps", "deployments") => &deployment::DeploymentStrategy,
        ("apps", "replicasets") => &replica_set::ReplicaSetStrategy,
        ("apps", "statefulsets") => &stateful_set::StatefulSetStrategy,
        ("autoscaling", "horizontalpodautoscalers") => &autoscaler::AutoscalerStrategy,
        ("batch", "cronjobs") => &counted::CronJobStrategy,
        ("batch", "jobs") => &job::JobStrategy,
        ("coordination.k8s.io", "leases") => &lease::LeaseStrategy,
        ("discovery.k8s.io", "endpointslices") => &endpoint_slice::EndpointSliceStrategy,
        ("policy", "poddisruptionbudgets") => &counted::PodDisruptionBudgetStrategy,
        ("scheduling.k8s.io", "priorityclasses") => &priority_class::PriorityClassStrategy,
        ("storage.k8s.io", "csidrivers") => &storage::DriverStrategy,
        ("storage.k8s.io", "csinodes" | "storageclasses" | "volumeattributesclasses") => &storage::ShownWhenDeleted,
        ("storage.k8s.io", "volumeattachments") => &storage::AttachmentStrategy,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => &generation::MutatingPolicyStrategy,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings") => &generation::MutatingBindingStrategy,
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => &generation::MutatingWebhookStrategy,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => &counted::ValidatingPolicyStrategy,
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => &generation::ValidatingBindingStrategy,
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => &generation::ValidatingWebhookStrategy,
        ("apiregistration.k8s.io", "apiservices") => &local::ApiServiceStrategy,
        ("certificates.k8s.io", "certificatesigningrequests") => &certificate::CertificateStrategy,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => &counted::FlowSchemaStrategy,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => &counted::PriorityLevelStrategy,
        ("networking.k8s.io", "ingressclasses") => &generation::IngressClassStrategy,
        ("networking.k8s.io", "ingresses") => &counted::IngressStrategy,
        ("networking.k8s.io", "networkpolicies") => &generation::NetworkPolicyStrategy,
        ("networking.k8s.io", "servicecidrs") => &local::ServiceCidrStrategy,
        ("rbac.authorization.k8s.io", _) => &access::AccessStrategy,
        ("resource.k8s.io", "deviceclasses") => &device::DeviceClassStrategy,
        ("resource.k8s.io", "resourceclaims") => &device::ResourceClaimStrategy,
        ("resource.k8s.io", "resourceclaimtemplates") => &device::ClaimTemplateStrategy,
        ("resource.k8s.io", "resourceslices") => &device::ResourceSliceStrategy,
        _ => &Plain,
    }
}

/// Whether a PUT must say which version it replaces. Source: `AllowUnconditionalUpdate` of each strategy.
pub(crate) fn needs_version(kind: &Kind) -> bool {
    if matches!(kind.model, Model::Custom(_)) {
        return true;
    }
    match (&*kind.group, &*kind.plural) {
        ("storage.k8s.io", plural) => !matches!(plural, "storageclasses" | "volumeattributesclasses"),
        ("coordination.k8s.io", "leases")
        | ("node.k8s.io", "runtimeclasses")
        | ("policy", "poddisruptionbudgets")
        | ("admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io", _) => true,
        _ => false,
    }
}

/// A kind without rules of its own.
struct Plain;

impl Strategy for Plain {}

/// The object of a strategy's own kind.
pub(crate) fn typed<T: Object>(object: &AnyObject) -> &T {
    object.downcast_ref().expect("a strategy is given objects of its own kind")
}

/// The object of a strategy's own kind, to be changed.
pub(crate) fn typed_mut<T: Object>(object: &mut AnyObject) -> &mut T {
    object.downcast_mut().expect("a strategy is given objects of its own kind")
}

/// Keeps of `was` the metadata that a write of the status may not touch. Source: `metav1.ResetObjectMetaForStatus`.
fn keep_metadata(meta: &mut ObjectMeta, was: &ObjectMeta) {
    meta.deletion_timestamp.clone_from(&was.deletion_timestamp);
    meta.generation = was.generation;
    meta.labels.clone_from(&was.labels);
    meta.annotations.clone_from(&was.annotations);
    meta.finalizers.clone_from(&was.finalizers);
    meta.owner_references.clone_from(&was.owner_references);
}

/// The first generation of an object that counts them.
fn first_generation(meta: &mut ObjectMeta) {
    meta.generation = Some(1);
}

/// Counts a generation when what it stands for has changed.
fn next_generation(meta: &mut ObjectMeta, changed: bool) {
    if changed {
        meta.generation = Some(meta.generation.unwrap_or_default() + 1);
    }
}
