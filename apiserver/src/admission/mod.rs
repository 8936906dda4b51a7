//! What is done to, and asked of, an object between its decoding and its storing, beyond the rules of its kind: one file
//! a plugin, and their order in [`PLUGINS`].
//!
//! First every plugin may change the object ([`admit`]); then the strategy prepares it and it is validated; then every
//! plugin may refuse it ([`validate`]). A plugin says by a cheap look whether an object concerns it, so that a write that
//! concerns none costs a few comparisons.
//!
//! Source: the plugins that are on by default, and upstream's `AllOrderedPlugins`.

mod certificates;
mod default_ingress_class;
mod default_storage_class;
mod default_tolerations;
mod limit_ranger;
mod pod_security;
mod priority;
mod resource_quota;
mod runtime_class;
mod secrets;
mod service_account;
mod storage_protection;
mod taint_nodes;
pub(crate) mod topology_labels;
mod volume_resize;

use async_trait::async_trait;
use coracle_api::any::AnyObject;
use coracle_api::object::Object;
use coracle_api::status::{ApiError, GroupResource};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::Api;
use crate::auth::Identity;
use crate::cache::{Scope, Selection};
use crate::resource::Resource;
use crate::strategy::{Part, typed};

/// In upstream's order.
static PLUGINS: [&dyn Plugin; 15] = [
    &limit_ranger::LimitRanger,
    &service_account::ServiceAccounts,
    &taint_nodes::TaintNodes,
    &pod_security::PodSecurity,
    &priority::Priority,
    &default_tolerations::DefaultTolerations,
    &default_storage_class::DefaultStorageClass,
    &storage_protection::StorageProtection,
    &volume_resize::VolumeResize,
    &runtime_class::RuntimeClasses,
    &certificates::CertificateDecisions,
    &certificates::CertificateSubjects,
    &default_ingress_class::DefaultIngressClass,
    &topology_labels::TopologyLabels,
    &resource_quota::ResourceQuotas,
];

/// A rule of the cluster's, beside those of a kind.
#[async_trait]
trait Plugin: Send + Sync {
    /// Whether the write is one that the plugin looks at.
    fn concerns(&self, review: &Review<'_>) -> bool;

    /// Completes the object.
    ///
    /// # Errors
    /// When what it asks for is not there.
    async fn admit(&self, _review: &mut Review<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// Looks at the object as it is to be stored.
    ///
    /// # Errors
    /// When it may not be.
    async fn validate(&self, _review: &Review<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// What the client is told of an object that is let in.
    ///
    /// # Errors
    /// When what it asks for cannot be read.
    fn warnings(&self, _review: &Review<'_>) -> Result<Vec<String>, ApiError> {
        Ok(Vec::new())
    }
}

/// A write that is looked at.
pub(crate) struct Review<'a> {
    pub(crate) api: &'a Api,
    pub(crate) resource: &'a Resource,
    pub(crate) part: Part,
    pub(crate) object: &'a mut AnyObject,
    /// What it replaces: nothing when it is created.
    pub(crate) old: Option<&'a AnyObject>,
    /// Who writes.
    pub(crate) identity: &'a Identity,
    pub(crate) dry_run: bool,
}

/// Lets every plugin complete the object.
///
/// # Errors
/// The first refusal.
pub(crate) async fn admit(review: &mut Review<'_>) -> Result<(), ApiError> {
    for plugin in PLUGINS {
        if plugin.concerns(review) {
            plugin.admit(review).await?;
        }
    }
    Ok(())
}

/// Lets every plugin refuse the object; what is to be said of one that none refuses.
///
/// # Errors
/// The first refusal.
pub(crate) async fn validate(review: &Review<'_>) -> Result<Vec<String>, ApiError> {
    let mut warnings = Vec::new();
    for plugin in PLUGINS {
        if plugin.concerns(review) {
            plugin.validate(review).await?;
            warnings.extend(plugin.warnings(review)?);
        }
    }
    Ok(warnings)
}

impl Review<'_> {
    /// Whether an object of this type is to be created.
    fn creates<T: Object>(&self) -> bool {
        self.old.is_none() && self.is_main::<T>()
    }

    /// Whether an object of this type, and not a subresource of it, is to be written.
    fn is_main<T: Object>(&self) -> bool {
        self.part == Part::Main && self.object.downcast_ref::<T>().is_some()
    }

    fn object<T: Object>(&self) -> &T {
        typed(self.object)
    }

    fn object_mut<T: Object>(&mut self) -> &mut T {
        crate::strategy::typed_mut(self.object)
    }

    /// The name, or what it will begin with.
    fn name(&self) -> &str {
        match self.object.name() {
            "" => self.object.meta().generate_name.as_deref().unwrap_or_default(),
            name => name,
        }
    }

    /// The refusal of the write.
    fn forbidden(&self, reason: impl Into<String>) -> ApiError {
        let resource = GroupResource::of(&self.resource.kind);
        ApiError::Forbidden { resource, name: self.name().to_owned(), reason: reason.into() }
    }

    /// The objects of a kind of the core group in the object's namespace, in the order of their names.
    ///
    /// # Errors
    /// When one that is stored cannot be read.
    fn neighbours(&self, plural: &str) -> Result<Vec<AnyObject>, ApiError> {
        let resource = self.api.resources.core(plural);
        let scope = Scope::Namespace(self.object.namespace().to_owned());
        let found = resource.cache.list(&Selection::of(scope), None, None, self.api.cache.seen()).objects;
        found.iter().map(|object| resource.load(object)).collect()
    }
}

/// The name of the newest of the objects of a kind that are marked, the first by name of those of one age.
fn newest<T: Object>(
    api: &Api,
    resource: &Resource,
    is_marked: fn(&ObjectMeta) -> bool,
) -> Result<Option<String>, ApiError> {
    let mut newest: Option<ObjectMeta> = None;
    let created = |meta: &ObjectMeta| meta.creation_timestamp.as_ref().map(|time| time.0);
    // In the order of their names, so that the first of those of one age stays.
    for cached in api.list_all(resource) {
        let object = resource.load(&cached)?;
        let meta = typed::<T>(&object).metadata();
        if is_marked(meta) && newest.as_ref().is_none_or(|other| created(meta) > created(other)) {
            newest = Some(meta.clone());
        }
    }
    Ok(newest.and_then(|meta| meta.name))
}

/// Whether a kubelet shows a pod that it runs by itself.
fn is_mirror(pod: &Pod) -> bool {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR))
}
