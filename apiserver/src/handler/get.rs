//! GET of one object.

use axum::body::Body;
use coracle_api::status::ApiError;
use http::{Response, StatusCode};

use super::Call;
use super::list_options::revision;

/// Source: a read without a resource version is of everything that had been acknowledged; with `0` it is of whatever is
/// known; with another one it is not older than that.
pub(super) async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    if call.query.flag("export") {
        let why = "the export parameter, deprecated since v1.14, is no longer supported";
        return Err(ApiError::BadRequest(why.to_owned()));
    }
    match revision(call.query.first("resourceVersion").unwrap_or_default()).map_err(ApiError::Unclassified)? {
        None => call.api.be_fresh().await?,
        Some(0) => {}
        Some(revision) => call.api.be_at(revision).await?,
    }
    match call.resource().cache.get(&call.target.path()) {
        Some(object) => call.show(StatusCode::OK, &object),
        None => Err(call.writer(true).not_found(call.name())),
    }
}
