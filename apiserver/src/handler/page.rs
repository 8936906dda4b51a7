//! Where a list goes on: the tokens that a client gives back to have the next page.
//!
//! Source: upstream's `storage.EncodeContinue` and `DecodeContinue`, whose form they have.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_api::status::ApiError;
use serde::{Deserialize, Serialize};

use crate::cache::{Scope, Selection};

/// Where a list goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// The revision of the first page; `None` to go on with what there is now.
    pub(super) revision: Option<u64>,
    /// The path to begin with.
    pub(super) start: String,
}

/// A token as it is encoded.
#[derive(Serialize, Deserialize)]
struct Encoded {
    #[serde(default)]
    v: String,
    #[serde(default)]
    rv: i64,
    #[serde(default)]
    start: String,
}

const VERSION: &str = "meta.k8s.io/v1";

/// In place of a revision: whatever is newest.
const NEWEST: i64 = -1;

impl Token {
    /// What comes after the object at `path`.
    pub(super) fn after(revision: u64, path: &str) -> Self {
        Self { revision: Some(revision), start: format!("{path}\0") }
    }

    /// The same place, in what there is now.
    pub(super) fn in_newest(start: &str) -> Self {
        Self { revision: None, start: start.to_owned() }
    }

    /// Encodes the token for a list of `selection`: within a namespace, that is not said again.
    pub(super) fn encode(&self, selection: &Selection) -> String {
        let start = self.start.strip_prefix(&place(selection)).unwrap_or(&self.start).to_owned();
        let rv = self.revision.map_or(NEWEST, |revision| i64::try_from(revision).unwrap_or(i64::MAX));
        let encoded = Encoded { v: VERSION.to_owned(), rv, start };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&encoded).expect("a token is two texts and a number"))
    }

    /// Reads a token for a list of `selection`.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn decode(text: &str, selection: &Selection) -> Result<Self, ApiError> {
        let bad = |why: &str| ApiError::BadRequest(format!("invalid continue token: continue key is not valid{why}"));
        let json = URL_SAFE_NO_PAD.decode(text).map_err(|error| bad(&format!(": {error}")))?;
        let token: Encoded = serde_json::from_slice(&json).map_err(|error| bad(&format!(": {error}")))?;
        if token.v != VERSION {
            return Err(bad(&format!(": server does not recognize this encoded version {}", token.v)));
        }
        if token.rv == 0 {
            return Err(bad(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if token.start.is_empty() {
            return Err(bad(": encoded start key empty (version meta.k8s.io/v1)"));
        }
        let start = token.start.strip_prefix('/').unwrap_or(&token.start);
        if !is_clean(start) {
            return Err(bad(&format!(": {}", token.start)));
        }
        Ok(Self { revision: u64::try_from(token.rv).ok(), start: place(selection) + start })
    }
}

/// Whether a path leads nowhere but down.
fn is_clean(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// How every path of a selection begins.
fn place(selection: &Selection) -> String {
    match &selection.scope {
        Scope::Namespace(namespace) => format!("{namespace}/"),
        Scope::All | Scope::Object(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decoded(json: &str) -> Result<Token, String> {
        let selection = Selection::of(Scope::Namespace("ns".to_owned()));
        Token::decode(&URL_SAFE_NO_PAD.encode(json), &selection).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_read_back() {
        for scope in [Scope::All, Scope::Namespace("ns".to_owned())] {
            let selection = Selection::of(scope);
            for token in [Token::after(7, "ns/a"), Token::in_newest("ns/a\0")] {
                assert_eq!(Token::decode(&token.encode(&selection), &selection).unwrap(), token);
            }
        }
        // It is valid in the namespace in which it was given alone.
        let given = Token::after(7, "ns/a").encode(&Selection::of(Scope::Namespace("ns".to_owned())));
        let other = Selection::of(Scope::Namespace("other".to_owned()));
        assert_eq!(Token::decode(&given, &other).unwrap().start, "other/a\0");
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let bad = "invalid continue token: continue key is not valid: ";
        for (json, why) in [
            ("{}", "server does not recognize this encoded version "),
            (r#"{"v":"v2","rv":1,"start":"a"}"#, "server does not recognize this encoded version v2"),
            (
                r#"{"v":"meta.k8s.io/v1","start":"a"}"#,
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (r#"{"v":"meta.k8s.io/v1","rv":1}"#, "encoded start key empty (version meta.k8s.io/v1)"),
            (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../b"}"#, "../b"),
            (r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a//b"}"#, "a//b"),
        ] {
            assert_eq!(decoded(json).unwrap_err(), format!("{bad}{why}"), "{json}");
        }
        for text in ["banana", "", "====", "e30=", "e31"] {
            let selection = Selection::of(Scope::All);
            assert!(Token::decode(text, &selection).is_err(), "{text}");
        }
    }
}
