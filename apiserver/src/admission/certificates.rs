//! Who may decide about requests for certificates, and what nobody may ask for.
//!
//! Source: the admission plugins `CertificateApproval`, `CertificateSigning` and `CertificateSubjectRestriction`.

use async_trait::async_trait;
use coracle_api::status::ApiError;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use super::{Plugin, Review};
use crate::auth::{Attributes, Decision, MASTERS, ResourceAttributes};
use crate::strategy::{Part, typed};

/// Who signs for clients of the API server.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Approving, and signing, is for those who may do so for the signer.
pub(super) struct CertificateDecisions;

#[async_trait]
impl Plugin for CertificateDecisions {
    fn concerns(&self, review: &Review<'_>) -> bool {
        matches!(review.part, Part::Approval | Part::Status)
            && review.old.is_some()
            && review.object.downcast_ref::<CertificateSigningRequest>().is_some()
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        let Some(old) = review.old.map(typed::<CertificateSigningRequest>) else { return Ok(()) };
        let (verb, word) = match review.part {
            Part::Approval => ("approve", "approve"),
            _ if signs(old, review.object()) => ("sign", "sign"),
            _ => return Ok(()),
        };
        // Upstream goes by the signer that stands, which nobody changes here.
        let signer = &old.spec.signer_name;
        if may(review, verb, signer) {
            return Ok(());
        }
        Err(review.forbidden(format!("user not permitted to {word} requests with signerName {signer:?}")))
    }
}

/// Whether a write of the status is one of a signer: of the certificate, or of the conditions.
fn signs(old: &CertificateSigningRequest, new: &CertificateSigningRequest) -> bool {
    let of = |request: &CertificateSigningRequest| {
        let status = request.status.clone().unwrap_or_default();
        (status.certificate.unwrap_or_default(), status.conditions.unwrap_or_default())
    };
    of(old) != of(new)
}

/// Whether the user may do this for a signer, or for all of its domain.
fn may(review: &Review<'_>, verb: &str, signer: &str) -> bool {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    [signer, &domain].into_iter().any(|name| {
        let resource = ResourceAttributes {
            group: "certificates.k8s.io",
            version: "*",
            resource: "signers",
            subresource: None,
            namespace: None,
            name: Some(name),
        };
        let attributes = Attributes { verb, path: "", resource: Some(resource) };
        review.api.authorizer.authorize(review.identity, &attributes) == Decision::Allow
    })
}

/// Nobody becomes one of those who may do everything by asking for a certificate.
pub(super) struct CertificateSubjects;

#[async_trait]
impl Plugin for CertificateSubjects {
    fn concerns(&self, review: &Review<'_>) -> bool {
        review.creates::<CertificateSigningRequest>()
            && review.object::<CertificateSigningRequest>().spec.signer_name == CLIENT_SIGNER
    }

    async fn validate(&self, review: &Review<'_>) -> Result<(), ApiError> {
        if asks_for_everything(&review.object::<CertificateSigningRequest>().spec.request.0) {
            return Err(review.forbidden(format!("use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")));
        }
        Ok(())
    }
}

fn asks_for_everything(pem: &[u8]) -> bool {
    let Some(Ok(block)) = Pem::iter_from_buffer(pem).next() else { return false };
    let Ok((_, request)) = X509CertificationRequest::from_der(&block.contents) else { return false };
    let groups = request.certification_request_info.subject.iter_organization();
    groups.filter_map(|group| group.as_str().ok()).any(|group| group == MASTERS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use coracle_api::object::Object as _;

    use super::*;

    #[test]
    fn a_status_is_signed_when_a_certificate_or_a_condition_is_new() {
        let of = |status: &str| {
            let json = format!(r#"{{"spec":{{"request":"","signerName":"a.b/c"}},"status":{status}}}"#);
            CertificateSigningRequest::decode(json.as_bytes()).unwrap()
        };
        let old = of("{}");
        for (status, expected) in [
            ("{}", false),
            (r#"{"conditions":[]}"#, false),
            (r#"{"certificate":"YQ=="}"#, true),
            (r#"{"conditions":[{"type":"Failed","status":"True"}]}"#, true),
        ] {
            assert_eq!(signs(&old, &of(status)), expected, "{status}");
        }
    }
}
