//! DELETE of everything that a selector finds.

use std::sync::Arc;

use axum::body::Body;
use coracle_api::status::ApiError;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Response;

use super::{Call, delete, list};
use crate::cache::Cached;
use crate::fields;

/// Deletions in progress at once. Source: upstream's `--delete-collection-workers` is 1; the store commits these as one.
const AT_ONCE: usize = 16;

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = delete::read_options(call, body).await?;
    call.api.be_fresh().await?;
    let selection = fields::selection(call.resource(), call.target.namespace.as_deref(), None, &call.query)?;
    let found = call.resource().cache.list(&selection, None, None, call.api.cache.seen());
    let one = |object: Arc<Cached>| {
        let options = &options;
        async move {
            match delete::delete(call, object.namespace().unwrap_or_default(), object.name(), options).await {
                Ok(deleted) => Ok(Some(deleted.object)),
                // Somebody else was faster.
                Err(ApiError::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        }
    };
    let deleted: Vec<Option<Arc<Cached>>> =
        stream::iter(found.objects).map(one).buffered(AT_ONCE).try_collect().await?;
    list::show(call, deleted.into_iter().flatten().collect(), list::meta_at(call.api.cache.seen()))
}
