//! Requests for certificates: who asks is written down, and only the approval decides.
//!
//! Source: `pkg/registry/certificates/certificates/strategy.go`.

use async_trait::async_trait;
use coracle_api::any::AnyObject;
use coracle_api::field::Path;
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::{kinds, validation};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::error::X509Error;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use super::{Part, Strategy, typed, typed_mut};
use crate::api::Api;
use crate::auth::Identity;
use crate::clock;

pub(super) struct CertificateStrategy;

#[async_trait]
impl Strategy for CertificateStrategy {
    fn prepare_for_create(&self, object: &mut AnyObject) {
        typed_mut::<CertificateSigningRequest>(object).status = Some(CertificateSigningRequestStatus::default());
    }

    fn ask_for(&self, object: &mut AnyObject, identity: &Identity) {
        let spec = &mut typed_mut::<CertificateSigningRequest>(object).spec;
        spec.username = Some(identity.user.clone());
        spec.uid = Some(identity.uid.clone()).filter(|uid| !uid.is_empty());
        spec.groups = Some(identity.groups.clone());
        spec.extra = Some(identity.extra.clone()).filter(|extra| !extra.is_empty());
    }

    async fn admit(&self, _api: &Api, object: &mut AnyObject, _dry_run: bool) -> Result<(), ApiError> {
        if !is_forged(&typed::<CertificateSigningRequest>(object).spec.request.0) {
            return Ok(());
        }
        let mut errors = validation::create(object);
        let spec = Path::new("spec");
        let request = &typed::<CertificateSigningRequest>(object).spec.request;
        errors.invalid(&spec.child("request"), request, "x509: the signature is not that of the key in the request");
        let kind = GroupKind::of(kinds::of::<CertificateSigningRequest>());
        Err(ApiError::Invalid { kind, name: object.name().to_owned(), errors })
    }

    /// What is asked for cannot be changed, nor what was decided.
    fn prepare_for_update(&self, object: &mut AnyObject, old: &AnyObject) {
        let (request, old) = both(object, old);
        request.spec.clone_from(&old.spec);
        request.status.clone_from(&old.status);
    }

    fn prepare_for_status(&self, object: &mut AnyObject, old: &AnyObject) {
        let (request, old) = both(object, old);
        request.spec.clone_from(&old.spec);
        keep_decisions(request, old);
        date_conditions(request, old);
    }

    fn prepare_for_part(&self, part: Part, object: &mut AnyObject, old: &AnyObject) {
        if part != Part::Approval {
            return;
        }
        let (request, old) = both(object, old);
        request.spec.clone_from(&old.spec);
        let conditions = request.status.take().and_then(|status| status.conditions);
        let certificate = old.status.as_ref().and_then(|status| status.certificate.clone());
        request.status = Some(CertificateSigningRequestStatus { certificate, conditions });
        date_conditions(request, old);
    }
}

fn both<'o>(
    object: &'o mut AnyObject,
    old: &'o AnyObject,
) -> (&'o mut CertificateSigningRequest, &'o CertificateSigningRequest) {
    (typed_mut(object), typed(old))
}

/// What was decided stays as it was decided, if it is there still: that it is not, or is new, is for validation to refuse.
fn keep_decisions(request: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
    let had = old.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let Some(conditions) = request.status.as_mut().and_then(|status| status.conditions.as_mut()) else { return };
    for type_ in ["Approved", "Denied"] {
        let was: Vec<_> = had.iter().filter(|condition| condition.type_ == type_).collect();
        if conditions.iter().filter(|condition| condition.type_ == type_).count() == was.len() {
            let same = conditions.iter_mut().filter(|condition| condition.type_ == type_);
            same.zip(was).for_each(|(condition, was)| condition.clone_from(was));
        }
    }
}

/// A condition that does not say since when it holds has held since now, or as long as it has been there.
fn date_conditions(request: &mut CertificateSigningRequest, old: &CertificateSigningRequest) {
    let now = Time(clock::now());
    let had = old.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let conditions = request.status.as_mut().and_then(|status| status.conditions.as_mut());
    for condition in conditions.into_iter().flatten() {
        condition.last_update_time.get_or_insert_with(|| now.clone());
        let same = had.iter().find(|c| (&c.type_, &c.status) == (&condition.type_, &condition.status));
        let since = same.and_then(|c| c.last_transition_time.clone());
        condition.last_transition_time.get_or_insert_with(|| since.unwrap_or_else(|| now.clone()));
    }
}

/// Whether the signature of a request is another's than the key's in it. That it is a request at all is for validation
/// to see.
fn is_forged(pem: &[u8]) -> bool {
    let Some(Ok(block)) = Pem::iter_from_buffer(pem).next() else { return false };
    let Ok((_, request)) = X509CertificationRequest::from_der(&block.contents) else { return false };
    matches!(request.verify_signature(), Err(X509Error::SignatureVerificationError))
}
