//! Tokens of a pod's service account, bound to the pod, and renewed before they end.
//!
//! Source: kubelet, the token manager: a token is renewed at 80 % of its life or after a day, and one that cannot be
//! renewed is kept while it is good.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use coracle_client::Client;
use http::Request;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

use crate::limits::{TOKEN_JITTER, TOKEN_LIFE_PERCENT, TOKEN_RETRY, TOKEN_USE_MAX};
use crate::pod::execute::chain;

/// Source: the API's default of `expirationSeconds`.
const SECONDS_DEFAULT: i64 = 3600;

/// A token, and how long it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    text: String,
    renew: Timestamp,
    expires: Timestamp,
}

/// A pod's tokens, by the volume and the path that they have.
#[derive(Debug, Default)]
pub struct Tokens(BTreeMap<(String, String), Token>);

impl Tokens {
    /// The token for a file: the one there is, unless it is time for another.
    ///
    /// # Errors
    /// When none can be had.
    pub async fn get(
        &mut self,
        volume: &str,
        source: &core::ServiceAccountTokenProjection,
        pod: &core::Pod,
        client: &Client,
        now: Timestamp,
    ) -> Result<Vec<u8>, String> {
        let place = (volume.to_owned(), source.path.clone());
        let known = self.0.get(&place);
        if let Some(known) = known.filter(|known| now < known.renew) {
            return Ok(known.text.clone().into_bytes());
        }
        let token = match (request(source, pod, client, now).await, known) {
            (Ok(token), _) => token,
            (Err(error), Some(known)) if now < known.expires => {
                tracing::warn!(volume, error, "cannot renew a token yet");
                Token { renew: (now + TOKEN_RETRY).min(known.expires), ..known.clone() }
            }
            (Err(error), Some(_)) => return Err(format!("token expired and refresh failed: {error}")),
            (Err(error), None) => return Err(format!("failed to fetch token: {error}")),
        };
        let text = token.text.clone().into_bytes();
        self.0.insert(place, token);
        Ok(text)
    }

    /// When the next one is to be renewed.
    pub fn due(&self) -> Option<Timestamp> {
        self.0.values().map(|token| token.renew).min()
    }
}

async fn request(
    source: &core::ServiceAccountTokenProjection,
    pod: &core::Pod,
    client: &Client,
    now: Timestamp,
) -> Result<Token, String> {
    let meta = &pod.metadata;
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    let account = account.filter(|name| !name.is_empty()).unwrap_or("default");
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let audiences: Vec<&String> = source.audience.iter().filter(|audience| !audience.is_empty()).collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": audiences,
            "expirationSeconds": source.expiration_seconds.unwrap_or(SECONDS_DEFAULT),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        },
    });
    let request = Request::post(format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"))
        .header("Content-Type", "application/json")
        .body(body.to_string().into())
        .map_err(|error| error.to_string())?;
    let response = client.raw(request).await.map_err(|error| chain(&error))?;
    let answer: Value = serde_json::from_slice(response.body()).map_err(|error| error.to_string())?;
    read(&answer, meta.uid.as_deref().unwrap_or_default(), now).ok_or_else(|| "the answer holds no token".into())
}

/// Reads a `TokenRequest` that was answered. The server may give a token another life than it was asked for.
fn read(answer: &Value, uid: &str, now: Timestamp) -> Option<Token> {
    let text = answer["status"]["token"].as_str()?.to_owned();
    let seconds = answer["spec"]["expirationSeconds"].as_i64().unwrap_or(SECONDS_DEFAULT).max(0);
    let told = answer["status"]["expirationTimestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let life = SignedDuration::from_secs(seconds);
    let expires = told.unwrap_or_else(|| now.saturating_add(life).unwrap_or(Timestamp::MAX));
    let issued = expires.saturating_sub(life).unwrap_or(now);
    let share = SignedDuration::from_secs(seconds.saturating_mul(TOKEN_LIFE_PERCENT) / 100);
    let used = share.min(TOKEN_USE_MAX).saturating_sub(jitter(uid, seconds));
    Some(Token { text, renew: issued.saturating_add(used).unwrap_or(expires), expires })
}

/// Pods that came together do not all renew at one moment.
fn jitter(uid: &str, seconds: i64) -> SignedDuration {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    let most = TOKEN_JITTER.as_millis().min(i128::from(seconds) * 10);
    let most = u64::try_from(most).unwrap_or(0).max(1);
    SignedDuration::from_millis(i64::try_from(hasher.finish() % most).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_renewed_at_four_fifths_of_its_life_and_after_a_day_at_the_latest() {
        let issued: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (seconds, used) in [(3607, 2885), (600, 480), (86_400, 69_120), (1_000_000, 86_400)] {
            let expires = issued + SignedDuration::from_secs(seconds);
            let answer = json!({
                "spec": {"expirationSeconds": seconds},
                "status": {"token": "t", "expirationTimestamp": expires.to_string()},
            });
            let token = read(&answer, "uid", issued).unwrap();
            let (early, late) = (token.renew.duration_since(issued), SignedDuration::from_secs(used));
            assert!(early <= late && early > late - TOKEN_JITTER, "{seconds}: {early} of {late}");
            assert_eq!(token.expires, expires);
        }
        assert_eq!(read(&json!({"status": {}}), "uid", issued), None);
    }
}
