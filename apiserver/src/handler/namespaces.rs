//! Whether something may be made in a namespace. Source: the admission plugin `NamespaceLifecycle`.

use coracle_api::kinds;
use coracle_api::status::{ApiError, GroupResource};
use k8s_openapi::api::core::v1::Namespace;

use super::Call;
use crate::strategy::typed;
use crate::writer::Writer;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses to make `name` in a namespace that is not there, or that goes.
///
/// # Errors
/// That refusal.
pub(super) async fn check_open(call: &Call, name: &str) -> Result<(), ApiError> {
    let Some(namespace) = call.target.namespace.as_deref() else { return Ok(()) };
    let namespaces = call.api.resources.core("namespaces");
    let writer = Writer { api: &call.api, resource: namespaces, dry_run: true };
    let found = writer.current("", namespace).await?;
    if !found.fields.iter().any(|phase| &**phase == "Terminating") {
        return Ok(());
    }
    let loaded = namespaces.load(&found)?;
    if typed::<Namespace>(&loaded).metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    Err(ApiError::NamespaceTerminating {
        resource: GroupResource::of(&call.resource().kind),
        name: name.to_owned(),
        namespace: namespace.to_owned(),
    })
}

/// Refuses to delete a namespace that every cluster has.
///
/// # Errors
/// That refusal.
pub(super) fn check_mortal(call: &Call) -> Result<(), ApiError> {
    let namespaces = kinds::of::<Namespace>();
    if call.resource().kind.plural != namespaces.plural
        || !call.resource().kind.group.is_empty()
        || !IMMORTAL.contains(&call.name())
    {
        return Ok(());
    }
    Err(ApiError::Forbidden {
        resource: GroupResource::of(namespaces),
        name: call.name().to_owned(),
        reason: "this namespace may not be deleted".to_owned(),
    })
}
