//! POST of a token request: a token by which a pod's program is its service account. Source: upstream's `TokenREST`.

use axum::body::Body;
use coracle_api::object::Object as _;
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::{codec, validation};
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::options::WriteOptions;
use super::{Call, namespaces};
use crate::auth::{Bound, Claims, ISSUER};
use crate::writer::{Writer, path};
use crate::{body, clock, negotiate, respond};

/// How long a token lasts when the request does not say.
const EXPIRATION_SECONDS: i64 = 3600;

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let mut request =
        call.told(codec::decode_as::<TokenRequest>(&body::read(body).await?, format, options.validation)?);
    namespaces::check_open(call, call.name()).await?;
    let account = match call.api.service_account(call.namespace(), call.name()).await {
        Some(account) => account,
        None => return Err(call.writer(true).not_found(call.name())),
    };
    let errors = validation::token_request(&request);
    if !errors.is_empty() {
        let kind = GroupKind::fixed("authentication.k8s.io", "TokenRequest");
        return Err(ApiError::Invalid { kind, name: String::new(), errors });
    }
    let now = clock::now();
    let spec = request.spec.get_or_insert_default();
    let seconds = *spec.expiration_seconds.get_or_insert(EXPIRATION_SECONDS);
    let audiences = spec.audiences.get_or_insert_default();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let expires = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    let uid = account.meta().uid.clone().unwrap_or_default();
    let claims = Claims {
        namespace: call.namespace().to_owned(),
        account: Bound { name: call.name().to_owned(), uid: uid.clone() },
        pod: spec.bound_object_ref.as_ref().map(|bound| pod(call, bound)).transpose()?,
        audiences: audiences.clone(),
        id: String::new(),
        issued: now.as_second(),
        expires: expires.as_second(),
    };
    let token = call.api.account_tokens.issue(&claims);
    let token = token.map_err(|_| ApiError::Internal("the token cannot be signed".to_owned()))?;
    let meta = &mut request.metadata;
    (meta.name, meta.namespace) = (Some(call.name().to_owned()), Some(call.namespace().to_owned()));
    (meta.uid, meta.creation_timestamp) = (Some(uid), Some(Time(now)));
    request.status = Some(TokenRequestStatus { expiration_timestamp: Some(Time(expires)), token: Some(token) });
    Ok(respond::document(StatusCode::CREATED, request.encode(), call.accept))
}

/// The pod that the token is to be bound to.
///
/// # Errors
/// When it is no pod, or there is none of this name and uid.
fn pod(call: &Call, bound: &BoundObjectReference) -> Result<Bound, ApiError> {
    if (bound.api_version.as_deref(), bound.kind.as_deref()) != (Some("v1"), Some("Pod")) {
        return Err(ApiError::BadRequest("cannot bind token to a resource that is no Pod".to_owned()));
    }
    let name = bound.name.clone().unwrap_or_default();
    let pods = call.api.resources.core("pods");
    let found = pods.cache.get(&path(call.namespace(), &name));
    let writer = Writer { api: &call.api, resource: pods, dry_run: true };
    let found = found.ok_or_else(|| writer.not_found(&name))?;
    let uid = pods.load(&found)?.meta().uid.clone().unwrap_or_default();
    if bound.uid.as_deref().is_some_and(|asked| !asked.is_empty() && asked != uid) {
        let asked = bound.uid.clone().unwrap_or_default();
        let why = format!("the UID in the bound object reference ({asked}) does not match the UID in record ({uid})");
        return Err(writer.conflict(&name, &why));
    }
    Ok(Bound { name, uid })
}
