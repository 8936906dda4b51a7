//! POST to the resources that only take and answer: nothing of them is stored.

mod access;
mod subject;

use axum::body::Body;
use coracle_api::AnyObject;
use coracle_api::object::Object;
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::{codec, validation};
use http::{Response, StatusCode};

use super::options::WriteOptions;
use super::{Call, bind, meta};
use crate::{body, negotiate, respond};

/// Answers a question of whichever kind.
pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    match &*call.resource().kind.kind {
        "SelfSubjectReview" => answer(call, body, subject::myself).await,
        "TokenReview" => answer(call, body, subject::of_token).await,
        "SelfSubjectAccessReview" => answer(call, body, access::own).await,
        "SubjectAccessReview" => answer(call, body, access::of_subject).await,
        "LocalSubjectAccessReview" => answer(call, body, access::of_local_subject).await,
        "SelfSubjectRulesReview" => answer(call, body, access::rules).await,
        _ => bind::run(call, body).await,
    }
}

/// Reads a question, lets it be completed with its answer, and shows both.
async fn answer<T: Object>(
    call: &Call,
    body: Body,
    complete: fn(&Call, &mut T) -> Result<(), ApiError>,
) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let mut review = call.told(codec::decode_as::<T>(&body::read(body).await?, format, options.validation)?);
    meta::place(review.metadata_mut(), call.target.namespace.as_deref())?;
    let errors = validation::create(&AnyObject::new(review.clone()));
    if !errors.is_empty() {
        // These have no kind in their refusals, as upstream has it.
        let kind = GroupKind { group: call.resource().kind.group.clone(), kind: "".into() };
        return Err(ApiError::Invalid { kind, name: String::new(), errors });
    }
    complete(call, &mut review)?;
    Ok(respond::document(StatusCode::CREATED, review.encode(), call.accept))
}
