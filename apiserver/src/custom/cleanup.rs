//! A definition that is being deleted: its objects go first, and then what holds it.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/controller/finalizer/crd_finalizer.go`.

use std::sync::Arc;
use std::time::Duration;

use coracle_api::any::AnyObject;
use coracle_api::status::ApiError;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use tokio::time::Instant;

use super::status::{self, CLEANUP, Condition};
use crate::api::Api;
use crate::cache::{Cached, Scope, Selection, Start, WatchStream};
use crate::handler::own;
use crate::resource::Resource;
use crate::strategy::Part;

/// Deletions in progress at once.
const AT_ONCE: usize = 32;

/// How long objects that are held are waited for before all are looked at again.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long after a failure it is tried again: twice as long after each, and not longer than the second.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long to wait before the next try, after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        failures => PAUSE.saturating_mul(2_u32.saturating_pow(failures - 1)).min(PAUSE_MAX),
    }
}

/// Whether a definition waits for its objects.
pub(super) fn is_wanted(definition: &CustomResourceDefinition) -> bool {
    let meta = &definition.metadata;
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(|finalizer| finalizer == CLEANUP)
}

/// Deletes the objects of a definition, and lets it go once they are gone.
///
/// # Errors
/// When something could not be written.
pub(super) async fn run(
    api: &Arc<Api>,
    definitions: &Arc<Resource>,
    name: &str,
    objects: Option<&Arc<Resource>>,
) -> Result<(), ApiError> {
    let tell = async |condition: &Condition| {
        let told = |old: &AnyObject| changed(old, |definition| status::set(definition, condition));
        own::change(api, definitions, name, Part::Status, told).await
    };
    match objects {
        Some(objects) => {
            tell(&status::DELETION_IN_PROGRESS).await?;
            while !empty(api, objects).await? {}
            tell(&status::DELETION_COMPLETED).await?;
        }
        None => tell(&status::NEVER_ESTABLISHED).await?,
    }
    let let_go = |definition: &mut CustomResourceDefinition| {
        let finalizers = definition.metadata.finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != CLEANUP);
    };
    match own::change(api, definitions, name, Part::Main, |old| changed(old, let_go)).await {
        Ok(()) | Err(ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn changed(old: &AnyObject, change: impl FnOnce(&mut CustomResourceDefinition)) -> AnyObject {
    let mut new = old.clone();
    if let Some(definition) = new.downcast_mut() {
        change(definition);
    }
    new
}

/// Deletes everything that there is, and waits a while for what is held. Whether nothing is left.
async fn empty(api: &Arc<Api>, objects: &Arc<Resource>) -> Result<bool, ApiError> {
    let deadline = Instant::now() + PATIENCE;
    let selection = Arc::new(Selection::of(Scope::All));
    api.be_fresh().await?;
    let Ok(beginning) = objects.cache.watch(selection, Start::Now, api.cache.seen()) else { return Ok(false) };
    let mut watch = WatchStream::new(api.cache.clone(), beginning, 0, false, false, deadline);
    let delete =
        |object: Arc<Cached>| async move { own::remove(api, objects, object.namespace(), object.name()).await };
    stream::iter(api.list_all(objects)).map(Ok).try_for_each_concurrent(AT_ONCE, delete).await?;
    loop {
        if objects.cache.sizes().0 == 0 {
            return Ok(true);
        }
        if watch.next().await.is_none() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_it_slower() {
        let millis = [0, 1, 2, 3, 10, 11, 40, u32::MAX].map(|failures| pause(failures).as_millis());
        assert_eq!(millis, [0, 100, 200, 400, 51_200, 60_000, 60_000, 60_000]);
    }
}
