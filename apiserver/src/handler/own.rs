//! Writes of the server itself, on the path that those of its clients take.

use std::sync::Arc;

use coracle_api::any::AnyObject;
use coracle_api::codec::FieldValidation;
use coracle_api::status::ApiError;
use http::HeaderMap;

use super::options::{DeleteOptions, WriteOptions};
use super::owner::Owner;
use super::{Call, delete, update};
use crate::api::Api;
use crate::auth::Identity;
use crate::negotiate::Accept;
use crate::query::Query;
use crate::resource::Resource;
use crate::route::{Subresource, Target, Verb};
use crate::strategy::Part;

/// As whom the server manages fields.
const MANAGER: &str = "kube-apiserver";

/// Changes an object, or its status, to what `make` makes of its newest state; what it leaves as it is is not written.
///
/// # Errors
/// When there is no such object, or the change is refused.
pub(crate) async fn change(
    api: &Arc<Api>,
    resource: &Arc<Resource>,
    name: &str,
    part: Part,
    make: impl Fn(&AnyObject) -> AnyObject,
) -> Result<(), ApiError> {
    let subresource = (part == Part::Status).then_some(Subresource::Status);
    let call = call(api, resource, None, name, Verb::Update, subresource);
    let options = WriteOptions {
        dry_run: false,
        validation: FieldValidation::Ignore,
        field_manager: Some(MANAGER.to_owned()),
        force: false,
    };
    let owner = Owner::of(&call, part, &options);
    update::change(&call, part, false, Some(&owner), |old| {
        let mut new = make(old);
        new.meta_mut().resource_version = None;
        Ok(new)
    })
    .await
    .map(drop)
}

/// Deletes an object, or begins to. That there is none is as good.
///
/// # Errors
/// When it cannot be deleted.
pub(crate) async fn remove(
    api: &Arc<Api>,
    resource: &Arc<Resource>,
    namespace: Option<&str>,
    name: &str,
) -> Result<(), ApiError> {
    let call = call(api, resource, namespace, name, Verb::Delete, None);
    let options = DeleteOptions::check(Default::default())?;
    match delete::delete(&call, namespace.unwrap_or_default(), name, &options).await {
        Ok(_) | Err(ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn call(
    api: &Arc<Api>,
    resource: &Arc<Resource>,
    namespace: Option<&str>,
    name: &str,
    verb: Verb,
    subresource: Option<Subresource>,
) -> Call {
    Call {
        api: api.clone(),
        identity: Identity::apiserver(),
        target: Target {
            verb,
            resource: resource.clone(),
            namespace: namespace.map(str::to_owned),
            name: Some(name.to_owned()),
            subresource,
            behind: None,
        },
        query: Query::default(),
        headers: HeaderMap::new(),
        upgrade: None,
        accept: Accept::JSON,
        warnings: Default::default(),
    }
}
