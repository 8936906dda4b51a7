//! Signatures of images, by a public key: cosign's "simple signing" payload, ECDSA over P-256. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::store::Digest;

/// The media type of a payload. Source: cosign's signature specification.
pub const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What a payload says that it is. Source: as [`PAYLOAD_TYPE`].
const PAYLOAD_KIND: &str = "cosign container image signature";
/// Source: RFC 5480.
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";

/// Somebody whose signature counts.
#[derive(Clone, Debug)]
pub struct Signer {
    point: Vec<u8>,
}

/// A public key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key of an image signer is no public key of ECDSA over P-256 in PEM (`cosign.pub`)")]
pub struct SignerError;

impl Signer {
    /// Reads `cosign.pub`.
    ///
    /// # Errors
    /// When it is no such key.
    pub fn of_pem(pem: &str) -> Result<Self, SignerError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| SignerError)?;
        let (_, key) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| SignerError)?;
        let curve = key.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
        let is_p256 = curve.is_some_and(|curve| curve.to_id_string() == P256);
        if key.algorithm.algorithm.to_id_string() != EC_PUBLIC_KEY || !is_p256 {
            return Err(SignerError);
        }
        Ok(Self { point: key.subject_public_key.data.to_vec() })
    }

    /// What tells it from another one.
    pub fn fingerprint(&self) -> String {
        Digest::of(&self.point).hex()
    }
}

/// Who of these signed that the image with this manifest is theirs.
pub fn signer<'a>(signers: &'a [Signer], image: &Digest, payload: &[u8], signature: &str) -> Option<&'a Signer> {
    let signature = STANDARD.decode(signature.trim()).ok()?;
    let verifies = |signer: &&Signer| {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &signer.point).verify(payload, &signature).is_ok()
    };
    signers.iter().find(verifies).filter(|_| speaks_of(image, payload))
}

fn speaks_of(image: &Digest, payload: &[u8]) -> bool {
    let Ok(said) = serde_json::from_slice::<Value>(payload) else { return false };
    let critical = &said["critical"];
    critical["type"] == PAYLOAD_KIND && critical["image"]["docker-manifest-digest"] == image.to_string()
}

/// The tag under which the signatures of an image lie.
pub fn tag(image: &Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    #[test]
    fn only_the_signers_word_on_this_very_image_counts() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let signer = Signer::of_pem(&pair.public_key_pem()).unwrap();
        let other = Signer::of_pem(&rcgen::KeyPair::generate().unwrap().public_key_pem()).unwrap();
        let random = SystemRandom::new();
        let signing =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pair.serialize_der(), &random).unwrap();
        let sign = |payload: &str| STANDARD.encode(signing.sign(&random, payload.as_bytes()).unwrap());
        let image = Digest::of(b"manifest");
        let is_signed = |signers: &[Signer], image: &Digest, payload: &[u8], signature: &str| {
            super::signer(signers, image, payload, signature).is_some()
        };
        let payload = |kind: &str, digest: &str| {
            format!(
                r#"{{"critical":{{"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
            )
        };
        let good = payload(PAYLOAD_KIND, &image.to_string());
        assert!(is_signed(std::slice::from_ref(&signer), &image, good.as_bytes(), &sign(&good)));
        assert!(is_signed(&[other.clone(), signer.clone()], &image, good.as_bytes(), &sign(&good)), "any of them");

        let refused = |signers: &[Signer], payload: &str, signature: &str| {
            assert!(!is_signed(signers, &image, payload.as_bytes(), signature), "{payload}");
        };
        refused(&[other], &good, &sign(&good));
        refused(&[], &good, &sign(&good));
        let signer = [signer];
        refused(&signer, &good, "");
        refused(&signer, &good, "bm9uZQ==");
        refused(&signer, &good.replace("null", "{}"), &sign(&good));
        for bad in [payload(PAYLOAD_KIND, &Digest::of(b"x").to_string()), payload("x", &image.to_string()), "{".into()]
        {
            refused(&signer, &bad, &sign(&bad));
        }
        assert!(Signer::of_pem("").is_err());
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert!(Signer::of_pem(&p384.public_key_pem()).is_err());
    }
}
