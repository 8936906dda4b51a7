//! What somebody may do. Source: `pkg/registry/authorization`.

use coracle_api::status::ApiError;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
};

use super::Call;
use crate::auth::{self, Attributes, Decision, Identity};

/// What who asks may do.
pub(super) fn own(call: &Call, review: &mut SelfSubjectAccessReview) -> Result<(), ApiError> {
    let spec = &review.spec;
    let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    review.status = Some(decide(call, &call.identity, resource, path));
    Ok(())
}

pub(super) fn of_subject(call: &Call, review: &mut SubjectAccessReview) -> Result<(), ApiError> {
    review.status = Some(decide_for(call, &review.spec));
    Ok(())
}

pub(super) fn of_local_subject(call: &Call, review: &mut LocalSubjectAccessReview) -> Result<(), ApiError> {
    review.status = Some(decide_for(call, &review.spec));
    Ok(())
}

/// Everything that who asks may do in a namespace.
pub(super) fn rules(call: &Call, review: &mut SelfSubjectRulesReview) -> Result<(), ApiError> {
    let namespace = review.spec.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() {
        return Err(ApiError::BadRequest("no namespace on request".to_owned()));
    }
    let rules = call.api.authorizer.rules(&call.identity, namespace);
    review.status = Some(SubjectRulesReviewStatus {
        resource_rules: rules.resources,
        non_resource_rules: rules.paths,
        incomplete: false,
        evaluation_error: None,
    });
    Ok(())
}

fn decide_for(call: &Call, spec: &SubjectAccessReviewSpec) -> SubjectAccessReviewStatus {
    let identity = Identity {
        user: spec.user.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    decide(call, &identity, spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref())
}

fn decide(
    call: &Call,
    identity: &Identity,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> SubjectAccessReviewStatus {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let asked = resource.cloned().unwrap_or_default();
    let (group, version, plural) = (text(&asked.group), text(&asked.version), text(&asked.resource));
    let (subresource, namespace, name) = (said(&asked.subresource), said(&asked.namespace), said(&asked.name));
    let verb = resource.map_or_else(|| path.map(|p| text(&p.verb)), |r| Some(text(&r.verb))).unwrap_or_default();
    let at = path.map(|p| text(&p.path)).unwrap_or_default();
    let attributes = Attributes {
        verb: &verb,
        path: &at,
        resource: resource.is_some().then(|| auth::ResourceAttributes {
            group: &group,
            version: &version,
            resource: &plural,
            subresource: subresource.as_deref(),
            namespace: namespace.as_deref(),
            name: name.as_deref(),
        }),
    };
    match call.api.authorizer.authorize(identity, &attributes) {
        Decision::Allow => SubjectAccessReviewStatus { allowed: true, ..SubjectAccessReviewStatus::default() },
        Decision::Deny { reason } => SubjectAccessReviewStatus {
            allowed: false,
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            ..SubjectAccessReviewStatus::default()
        },
    }
}
