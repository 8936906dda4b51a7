//! Tokens by which the programs in pods say which service account they are: JSON web tokens, signed with ES256.
//!
//! Nothing is kept of a token that was given: it is known again by its signature. That the account and the pod that it
//! names still exist is for the caller to see.
//!
//! Source: upstream's `pkg/serviceaccount` (the claims, and how a key is named) and RFC 7515, 7517 and 7519 (their form).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Who signs the tokens, and for whom one is when nobody else is named.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What stands before the point of a P-256 key in a `SubjectPublicKeyInfo`.
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The key that signs tokens and knows them again.
pub(crate) struct ServiceAccountTokens {
    key: EcdsaKeyPair,
    random: SystemRandom,
    /// What the key is called.
    key_id: String,
    /// The encoded header, which is the same in every token.
    header: String,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) namespace: String,
    pub(crate) account: Bound,
    /// What the token was made for.
    pub(crate) holder: Holder,
    pub(crate) audiences: Vec<String>,
    /// What tells this token from all others; empty until it is issued.
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) issued: i64,
    pub(crate) expires: i64,
}

/// The object that a token is bound to, if it is to any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) pod: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) secret: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) node: Option<Bound>,
}

/// An object that a token is bound to: when it is gone, or another has its name, the token is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// [`Claims`] as they are written.
#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: Vec<String>,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Serialize, Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Bound,
    #[serde(flatten)]
    holder: Holder,
}

impl ServiceAccountTokens {
    /// Signs with a P-256 key in PKCS #8.
    ///
    /// # Errors
    /// When `pkcs8` is no such key.
    pub(crate) fn signed_by(pkcs8: &[u8]) -> Result<Self, String> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|error| error.to_string())?;
        let key_id = BASE64.encode(Sha256::new().chain_update(SPKI_HEAD).chain_update(key.public_key()).finalize());
        let header = BASE64.encode(format!(r#"{{"alg":"ES256","kid":"{key_id}"}}"#));
        Ok(Self { key, random, key_id, header })
    }

    /// The public part of the key, as a set of JSON web keys.
    pub(crate) fn key_set(&self) -> String {
        // The point is not compressed: a byte that says so, and two coordinates.
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        let (x, y, key_id) = (BASE64.encode(x), BASE64.encode(y), &self.key_id);
        format!(
            r#"{{"keys":[{{"use":"sig","kty":"EC","kid":"{key_id}","crv":"P-256","alg":"ES256","x":"{x}","y":"{y}"}}]}}"#
        )
    }

    /// The token that says `claims`.
    ///
    /// # Errors
    /// When the machine has no randomness to sign with.
    pub(crate) fn issue(&self, claims: &Claims) -> Result<String, ring::error::Unspecified> {
        let payload = Payload {
            iss: ISSUER.to_owned(),
            sub: format!("system:serviceaccount:{}:{}", claims.namespace, claims.account.name),
            aud: claims.audiences.clone(),
            exp: claims.expires,
            iat: claims.issued,
            nbf: claims.issued,
            jti: uuid::Uuid::new_v4().to_string(),
            kubernetes: Kubernetes {
                namespace: claims.namespace.clone(),
                serviceaccount: claims.account.clone(),
                holder: claims.holder.clone(),
            },
        };
        let payload = serde_json::to_vec(&payload).map_err(|_| ring::error::Unspecified)?;
        let mut token = format!("{}.{}", self.header, BASE64.encode(payload));
        let signature = self.key.sign(&self.random, token.as_bytes())?;
        token.push('.');
        BASE64.encode_string(signature, &mut token);
        Ok(token)
    }

    /// What a token of ours says, if it is valid at `now` (seconds since 1970) and meant for `audience`.
    pub(crate) fn verify(&self, token: &str, now: i64, audience: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let payload = signed.strip_prefix(&self.header)?.strip_prefix('.')?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key())
            .verify(signed.as_bytes(), &BASE64.decode(signature).ok()?)
            .ok()?;
        let payload: Payload = serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()?;
        let ours = payload.iss == ISSUER && payload.aud.iter().any(|own| own == audience);
        let Kubernetes { namespace, serviceaccount: account, holder } = payload.kubernetes;
        (ours && payload.nbf <= now && now < payload.exp).then_some(Claims {
            namespace,
            account,
            holder,
            audiences: payload.aud,
            id: payload.jti,
            issued: payload.iat,
            expires: payload.exp,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key() -> ServiceAccountTokens {
        ServiceAccountTokens::signed_by(&rcgen::KeyPair::generate().unwrap().serialize_der()).unwrap()
    }

    fn claims() -> Claims {
        let bound = |name: &str| Bound { name: name.to_owned(), uid: format!("uid-of-{name}") };
        Claims {
            namespace: "ns".to_owned(),
            account: bound("sa"),
            holder: Holder { pod: Some(bound("pod")), ..Holder::default() },
            audiences: vec![ISSUER.to_owned()],
            id: String::new(),
            issued: 1000,
            expires: 1600,
        }
    }

    #[test]
    fn a_token_says_what_it_was_made_of_until_it_expires() {
        let key = key();
        let token = key.issue(&claims()).unwrap();
        let said = |now: i64| key.verify(&token, now, ISSUER).map(|said| Claims { id: String::new(), ..said });
        assert_eq!(said(1000), Some(claims()));
        assert_eq!(said(1599), Some(claims()));
        assert_eq!(key.verify(&token, 1600, ISSUER), None);
        assert_eq!(key.verify(&token, 999, ISSUER), None);
    }

    #[test]
    fn others_can_check_a_token_by_the_published_keys() {
        let key = key();
        let token = key.issue(&claims()).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let of = |text: &str| BASE64.decode(text).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&of(signed.split_once('.').unwrap().0)).unwrap();
        let set: serde_json::Value = serde_json::from_str(&key.key_set()).unwrap();
        let published = &set["keys"][0];
        assert_eq!((&header["kid"], &header["alg"]), (&published["kid"], &published["alg"]));
        let point = [vec![4], of(published["x"].as_str().unwrap()), of(published["y"].as_str().unwrap())].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &of(signature)).unwrap();
    }

    #[test]
    fn another_key_another_audience_and_a_changed_token_are_worth_nothing() {
        let (ours, theirs) = (key(), key());
        assert_eq!(ours.verify(&theirs.issue(&claims()).unwrap(), 1000, ISSUER), None);
        let elsewhere = Claims { audiences: vec!["vault".to_owned()], ..claims() };
        let token = ours.issue(&elsewhere).unwrap();
        assert_eq!(ours.verify(&token, 1000, ISSUER), None);
        assert_eq!(ours.verify(&token, 1000, "vault").map(|claims| claims.audiences), Some(elsewhere.audiences));
        let token = ours.issue(&claims()).unwrap();
        for at in 0..token.len() - 1 {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.verify(std::str::from_utf8(&changed).unwrap(), 1000, ISSUER), None, "changed at {at}");
        }
        for garbage in ["", ".", "..", "a.b.c", &token[..token.len() / 2]] {
            assert_eq!(ours.verify(garbage, 1000, ISSUER), None);
        }
    }
}
