//! The identity in a client certificate.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Identity;

/// The user (common name) and groups (organisations) of a certificate that the handshake has verified; `None` when it
/// names no user.
///
/// Source: upstream's x509 request authenticator, `CommonNameUserConversion`.
pub fn identity_of_certificate(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    Some(Identity { user, groups })
}
