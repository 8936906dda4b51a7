//! The certificates of one cluster: an authority made at the first start, and what it signs.
//!
//! Kept on disk are the authority (`ca.crt`, `ca.key`), the key that signs service accounts' tokens (`sa.key`) and the
//! bearer tokens (`tokens`), each mode 0600 and created whole or not at all. Everything else is signed when it is needed: a P-256 signature costs less than reading a file,
//! and a certificate that is not kept can neither be stolen nor expire unnoticed. The key of the authority never
//! leaves [`Pki`].

mod files;
mod kubeconfig;
mod names;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use crate::auth::{Identity, ServiceAccountTokens, Tokens};

/// Years that the authority is valid.
const AUTHORITY_VALID_YEARS: i32 = 10;

/// Years that a signed certificate is valid; one is signed at every start.
const LEAF_VALID_YEARS: i32 = 1;

/// The authority of a cluster and the tokens that it accepts.
pub struct Pki {
    authority: Issuer<'static, KeyPair>,
    authority_pem: String,
    authority_der: CertificateDer<'static>,
    tokens: Tokens,
    account_tokens: Arc<ServiceAccountTokens>,
}

/// A certificate that the authority signed, with its private key.
pub struct Signed {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    pub key: PrivateKeyDer<'static>,
    pub key_pem: String,
}

/// Why the certificates cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot read or write {path}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} does not hold what it should: {problem}")]
    Content { path: String, problem: String },
    #[error("user {user} is in more groups than the one that a certificate can say")]
    Groups { user: String },
    #[error("cannot sign a certificate")]
    Sign(#[from] rcgen::Error),
}

impl Pki {
    /// The authority kept in `dir`; makes the folder, the authority and the tokens when they are not there yet.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or holds a damaged authority. A damaged one is never replaced:
    /// every client's trust hangs on it.
    pub fn open_or_create(dir: &Path) -> Result<Self, PkiError> {
        files::create_private_dir(dir)?;
        let key_pem = files::read_or_create(&dir.join("ca.key"), || Ok(KeyPair::generate()?.serialize_pem()))?;
        let key = parse_key(&key_pem, &dir.join("ca.key"))?;
        let authority_pem =
            files::read_or_create(&dir.join("ca.crt"), || Ok(authority_params().self_signed(&key)?.pem()))?;
        let account_path = dir.join("sa.key");
        let account_pem = files::read_or_create(&account_path, || Ok(KeyPair::generate()?.serialize_pem()))?;
        let account_key = parse_key(&account_pem, &account_path)?;
        let tokens = files::read_or_create(&dir.join("tokens"), || Ok(Tokens::generate().to_csv()))?;
        let tokens = Tokens::parse(&tokens)
            .map_err(|problem| PkiError::Content { path: dir.join("tokens").display().to_string(), problem })?;
        Self::assemble(key, authority_pem, &account_key, tokens)
    }

    /// An authority that lives as long as this value, for throw-away clusters and tests.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn in_memory() -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let authority_pem = authority_params().self_signed(&key)?.pem();
        Self::assemble(key, authority_pem, &KeyPair::generate()?, Tokens::generate())
    }

    fn assemble(key: KeyPair, authority_pem: String, account_key: &KeyPair, tokens: Tokens) -> Result<Self, PkiError> {
        let authority_der = CertificateDer::from_pem_slice(authority_pem.as_bytes())
            .map_err(|error| PkiError::Content { path: "ca.crt".into(), problem: error.to_string() })?;
        let authority = Issuer::from_ca_cert_der(&authority_der, key)?;
        let account_tokens = ServiceAccountTokens::signed_by(&account_key.serialize_der())
            .map_err(|problem| PkiError::Content { path: "sa.key".into(), problem })?;
        Ok(Self { authority, authority_pem, authority_der, tokens, account_tokens: Arc::new(account_tokens) })
    }

    /// The authority's certificate, as PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The bearer token of `user`, if it has one.
    pub fn token_of(&self, user: &str) -> Option<&str> {
        self.tokens.token_of(user)
    }

    pub(crate) fn authority(&self) -> &CertificateDer<'static> {
        &self.authority_der
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(crate) fn account_tokens(&self) -> &Arc<ServiceAccountTokens> {
        &self.account_tokens
    }

    /// A certificate for a server that is reached under `hosts` (names or addresses), beside the names that every API
    /// server has.
    ///
    /// # Errors
    /// When a name is no host name.
    pub fn serving_certificate(&self, hosts: &[String], addresses: &[IpAddr]) -> Result<Signed, PkiError> {
        let mut params = leaf_params("kube-apiserver", None, ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names = names::of_server(hosts, addresses)?;
        self.sign(&params)
    }

    /// A certificate by which `identity` authenticates itself: the user is its common name, the group its
    /// organisation.
    ///
    /// # Errors
    /// When `identity` is in more than one group (such a one gets a token), or no key can be made.
    pub fn client_certificate(&self, identity: &Identity) -> Result<Signed, PkiError> {
        let group = match identity.groups.as_slice() {
            [] => None,
            [one] => Some(one.as_str()),
            _ => return Err(PkiError::Groups { user: identity.user.clone() }),
        };
        self.sign(&leaf_params(&identity.user, group, ExtendedKeyUsagePurpose::ClientAuth))
    }

    /// A kubeconfig, complete in itself, by which `identity` reaches `server_url`.
    ///
    /// # Errors
    /// As [`Pki::client_certificate`].
    pub fn client_kubeconfig(&self, server_url: &str, identity: &Identity) -> Result<String, PkiError> {
        let signed = self.client_certificate(identity)?;
        Ok(kubeconfig::render(server_url, &self.authority_pem, identity, &signed))
    }

    fn sign(&self, params: &CertificateParams) -> Result<Signed, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        Ok(Signed {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// Writes a file that only its owner may read: whole or not at all, in place of what was there.
///
/// # Errors
/// When the folder of `path` cannot be written.
pub fn write_private(path: &Path, content: &str) -> Result<(), PkiError> {
    files::replace(path, content)
}

fn parse_key(pem: &str, path: &Path) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(pem)
        .map_err(|error| PkiError::Content { path: path.display().to_string(), problem: error.to_string() })
}

fn authority_params() -> CertificateParams {
    let mut params = params_valid_for(AUTHORITY_VALID_YEARS);
    params.distinguished_name.push(DnType::CommonName, "coracle-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(common_name: &str, organization: Option<&str>, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = params_valid_for(LEAF_VALID_YEARS);
    params.distinguished_name = names::subject(common_name, organization);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params
}

/// Valid from yesterday, so that a clock that runs a little behind still accepts it.
fn params_valid_for(years: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    let yesterday = jiff::Zoned::now().datetime().date().yesterday().unwrap_or_default();
    let (year, month, day) =
        (i32::from(yesterday.year()), yesterday.month().unsigned_abs(), yesterday.day().unsigned_abs());
    params.not_before = rcgen::date_time_ymd(year, month, day);
    // The 28th exists in every month of every year.
    params.not_after = rcgen::date_time_ymd(year + years, month, day.min(28));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_authority_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::open_or_create(&dir.path().join("pki")).unwrap();
        let second = Pki::open_or_create(&dir.path().join("pki")).unwrap();
        assert_eq!(first.authority_pem(), second.authority_pem());
        for file in ["ca.crt", "ca.key", "tokens"] {
            let mode = std::fs::metadata(dir.path().join("pki").join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_damaged_authority_is_said_so_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.key"), "not a key").unwrap();
        assert!(matches!(Pki::open_or_create(dir.path()), Err(PkiError::Content { .. })));
        assert_eq!(std::fs::read_to_string(dir.path().join("ca.key")).unwrap(), "not a key");
    }

    #[test]
    fn a_client_certificate_says_who_it_is() {
        let pki = Pki::in_memory().unwrap();
        let node = Identity::node("n1");
        let signed = pki.client_certificate(&node).unwrap();
        let said = crate::auth::identity_of_certificate(&signed.certificate).unwrap();
        assert_eq!((&said.user, &said.groups), (&node.user, &node.groups));
        assert!(said.extra[crate::auth::CREDENTIAL_ID][0].starts_with("X509SHA256="));
    }
}
