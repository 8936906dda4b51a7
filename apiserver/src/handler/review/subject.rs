//! Who somebody is. Source: `pkg/registry/authentication`.

use coracle_api::status::ApiError;
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::Call;
use crate::auth::{ISSUER, Identity};
use crate::clock;

/// Who asks.
pub(super) fn myself(call: &Call, review: &mut SelfSubjectReview) -> Result<(), ApiError> {
    review.metadata = ObjectMeta { creation_timestamp: Some(Time(clock::now())), ..ObjectMeta::default() };
    review.status = Some(SelfSubjectReviewStatus { user_info: Some(user_info(&call.identity)) });
    Ok(())
}

/// Whose token it is.
pub(super) fn of_token(call: &Call, review: &mut TokenReview) -> Result<(), ApiError> {
    if review.spec.token.is_empty() {
        return Err(ApiError::BadRequest("token is required for TokenReview in authentication".to_owned()));
    }
    let ours = [ISSUER.to_owned()];
    let asked = review.spec.audiences.as_deref().filter(|audiences| !audiences.is_empty()).unwrap_or(&ours);
    let known = asked.iter().find_map(|audience| call.api.identity_of_token(&review.spec.token, audience));
    review.status = Some(match known {
        Some((identity, audiences)) => TokenReviewStatus {
            authenticated: Some(true),
            user: Some(user_info(&identity.authenticated())),
            audiences: Some(asked.iter().filter(|audience| audiences.contains(audience)).cloned().collect()),
            error: None,
        },
        None => TokenReviewStatus { error: Some("invalid bearer token".to_owned()), ..TokenReviewStatus::default() },
    });
    Ok(())
}

fn user_info(identity: &Identity) -> UserInfo {
    UserInfo {
        username: Some(identity.user.clone()),
        uid: Some(identity.uid.clone()).filter(|uid| !uid.is_empty()),
        groups: Some(identity.groups.clone()),
        extra: Some(identity.extra.clone()).filter(|extra| !extra.is_empty()),
    }
}
