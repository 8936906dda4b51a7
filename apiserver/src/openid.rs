//! What programs outside the cluster need to know to check the tokens of service accounts: who issues them, and the keys
//! that they are signed with.
//!
//! Source: upstream's `pkg/routes/openidmetadata.go` and `pkg/serviceaccount/openidmetadata.go`; RFC 7517 and OpenID
//! Connect Discovery.

use std::net::SocketAddr;

use axum::body::Body;
use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};

use crate::auth::{ISSUER, ServiceAccountTokens};
use crate::config::Config;
use crate::respond;

/// Where the documents are.
pub(crate) const CONFIGURATION: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/openid/v1/jwks";

/// The media type of a set of keys.
pub(crate) const KEY_SET: &str = "application/jwk-set+json";

/// One of the two documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    /// Who issues, and where the keys are.
    Configuration,
    Keys,
}

/// A document, for a server that is reached at `external`.
pub(crate) fn answer(document: Document, tokens: &ServiceAccountTokens, external: &str) -> Response<Body> {
    let mut response = match document {
        Document::Configuration => respond::typed_json("application/json", configuration(external)),
        Document::Keys => respond::typed_json(KEY_SET, tokens.key_set()),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

fn configuration(external: &str) -> String {
    format!(
        r#"{{"issuer":"{ISSUER}","jwks_uri":"https://{external}{KEYS}","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}}"#
    )
}

/// The host and port by which others reach a server that listens at `address`: the first of its names where it listens
/// at every address, and the name that the issuer has where it does not listen at all.
pub(crate) fn external(config: &Config, address: Option<SocketAddr>) -> String {
    match (address, config.names.first()) {
        (Some(address), Some(name)) if address.ip().is_unspecified() => format!("{name}:{}", address.port()),
        (Some(address), _) => address.to_string(),
        (None, _) => ISSUER.trim_start_matches("https://").to_owned(),
    }
}
