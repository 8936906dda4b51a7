//! POST of a token request: a token by which a pod's program is its service account. Source: upstream's `TokenREST`.

use axum::body::Body;
use coracle_api::field::{Errors, Path};
use coracle_api::object::Object as _;
use coracle_api::status::{ApiError, GroupKind, GroupResource};
use coracle_api::{codec, validation};
use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::options::WriteOptions;
use super::{Call, namespaces};
use crate::auth::{Bound, Claims, Holder, ISSUER};
use crate::writer::{Writer, path};
use crate::{body, clock, negotiate, respond};

/// How long a token lasts when the request does not say.
const EXPIRATION_SECONDS: i64 = 3600;

pub(super) async fn run(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let format = negotiate::body_type(&call.headers)?;
    let mut request =
        call.told(codec::decode_as::<TokenRequest>(&body::read(body).await?, format, options.validation)?);
    is_of_account(call, &request)?;
    namespaces::check_open(call, call.name()).await?;
    let account = match call.api.service_account(call.namespace(), call.name()).await {
        Some(account) => account,
        None => return Err(call.writer(true).not_found(call.name())),
    };
    let errors = validation::token_request(&request);
    if !errors.is_empty() {
        return Err(ApiError::Invalid { kind: kind(), name: String::new(), errors });
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
        holder: spec.bound_object_ref.as_ref().map(|asked| holder(call, asked)).transpose()?.unwrap_or_default(),
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

/// A request that names another account is none for this one. Source: upstream's `TokenREST`, whose refusal tells the kind
/// and the account.
fn is_of_account(call: &Call, request: &TokenRequest) -> Result<(), ApiError> {
    let meta = &request.metadata;
    for (field, told, is, what) in [
        ("name", &meta.name, call.name(), "must match the service account name if specified"),
        ("namespace", &meta.namespace, call.namespace(), "must match the service account namespace if specified"),
    ] {
        if let Some(told) = told.as_deref().filter(|told| !told.is_empty() && *told != is) {
            let mut errors = Errors::new();
            errors.invalid(&Path::new("metadata").child(field), told, what);
            return Err(ApiError::Invalid { kind: kind(), name: call.name().to_owned(), errors });
        }
    }
    Ok(())
}

fn kind() -> GroupKind {
    GroupKind::fixed("authentication.k8s.io", "TokenRequest")
}

/// The object that the token is to be bound to.
///
/// # Errors
/// When it is none that a token can be bound to, or there is none of this name and uid.
fn holder(call: &Call, asked: &BoundObjectReference) -> Result<Holder, ApiError> {
    let (version, kind) = (text(&asked.api_version), text(&asked.kind));
    let (plural, namespace) = match (version, kind) {
        ("v1", "Pod") => ("pods", call.namespace()),
        ("v1", "Secret") => ("secrets", call.namespace()),
        ("v1", "Node") => ("nodes", ""),
        _ => return Err(ApiError::BadRequest(format!("cannot bind token to object of type {version}, Kind={kind}"))),
    };
    let resource = call.api.resources.core(plural);
    let name = text(&asked.name).to_owned();
    let writer = Writer { api: &call.api, resource, dry_run: true };
    let found = resource.cache.get(&path(namespace, &name)).ok_or_else(|| writer.not_found(&name))?;
    let object = resource.load(&found)?;
    let account = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    if object.downcast_ref().is_some_and(|pod| account(pod).as_deref() != Some(call.name())) {
        return Err(ApiError::BadRequest(format!(
            "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
            call.name()
        )));
    }
    let uid = object.meta().uid.clone().unwrap_or_default();
    let told = text(&asked.uid);
    if !told.is_empty() && told != uid {
        // Upstream names the kind where a resource should stand.
        let resource = GroupResource { group: "".into(), resource: kind.to_owned().into() };
        let message = format!(
            "the UID in the bound object reference ({told}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::Conflict { resource, name, message });
    }
    let bound = Some(Bound { name, uid });
    Ok(match plural {
        "pods" => Holder { pod: bound, ..Holder::default() },
        "secrets" => Holder { secret: bound, ..Holder::default() },
        _ => Holder { node: bound, ..Holder::default() },
    })
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}
