//! POST of an eviction: a deletion that a disruption budget may refuse. Source: upstream's `EvictionREST`.

use axum::body::Body;
use coracle_api::codec;
use coracle_api::status::{self, ApiError};
use http::Response;
use k8s_openapi::api::policy::v1::Eviction;

use super::options::{DeleteOptions, WriteOptions};
use super::{Call, budget, delete};
use crate::{body, negotiate, respond};

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let asked = WriteOptions::parse(&call.query, "CreateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let eviction = codec::decode_as::<Eviction>(&body::read(body).await?, format, asked.validation)?.object;
    if eviction.metadata.name.as_deref().is_some_and(|name| !name.is_empty() && name != call.name()) {
        let own = eviction.metadata.name.as_deref().unwrap_or_default();
        return Err(ApiError::BadRequest(format!("name in URL does not match name in Eviction object: {own}")));
    }
    let mut options = DeleteOptions::check(eviction.delete_options.unwrap_or_default())?;
    options.dry_run |= asked.dry_run;
    budget::take(call, options.dry_run).await?;
    delete::delete(call, call.namespace(), call.name(), &options).await?;
    Ok(respond::status(&status::done(), call.accept))
}
