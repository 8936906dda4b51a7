//! DELETE of everything that a selector finds.

use std::sync::Arc;

use axum::body::Body;
use coracle_api::status::ApiError;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Response;

use super::list_options::ListOptions;
use super::options::DeleteOptions;
use super::{Call, delete, list};
use crate::cache::Cached;
use crate::fields;

/// Deletions in progress at once. Source: upstream's `--delete-collection-workers` is 1; the store commits these as one.
const AT_ONCE: usize = 16;

/// Objects that are listed at once. Source: upstream's `deleteCollectionPageSize`.
const PAGE: i64 = 10_000;

/// Source: `Store.DeleteCollection`: without a limit everything goes, page by page; what is answered is the list.
pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let mut listing = ListOptions::parse(&call.query)?;
    let selection = fields::selection(call.resource(), call.target.namespace.as_deref(), None, &call.query)?;
    let options = delete::read_options(call, body).await?;
    delete::warn_without_policy(call, &options);
    let is_whole = !listing.has_limit();
    listing.in_pages_of(PAGE);
    let (mut meta, mut objects) = (None, Vec::new());
    loop {
        let page = list::read(call, &selection, &listing).await?;
        let told = page.meta(&selection);
        delete_all(call, &page.objects, &options).await?;
        objects.extend(page.objects);
        let next = told.continue_.clone();
        let meta = meta.get_or_insert(told);
        match next {
            Some(next) if is_whole => {
                (meta.continue_, meta.remaining_item_count) = (None, None);
                listing.continued(next);
            }
            _ => return list::show(call, objects, meta.clone()),
        }
    }
}

async fn delete_all(call: &Call, objects: &[Arc<Cached>], options: &DeleteOptions) -> Result<(), ApiError> {
    let one = |object: &Arc<Cached>| {
        let object = object.clone();
        async move {
            match delete::delete(call, object.namespace().unwrap_or_default(), object.name(), options).await {
                // Somebody else was faster.
                Ok(_) | Err(ApiError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        }
    };
    stream::iter(objects.iter().map(one)).buffered(AT_ONCE).try_collect().await
}
