//! What a registry asks of those who ask it: `WWW-Authenticate`, read. Pure. Sources: RFC 9110; the distribution's
//! "token authentication specification".

use http::{HeaderMap, header};

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token that `realm` gives.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// A name and a password.
    Basic,
}

impl Challenge {
    /// The challenge of an answer; of several, the one for a token.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<Self> = values.flat_map(parse).collect();
        let is_bearer = |challenge: &&Self| matches!(challenge, Self::Bearer { .. });
        all.iter().find(is_bearer).or(all.first()).cloned()
    }
}

/// One header may hold several: `Bearer realm="…",service="…", Basic realm="…"`.
fn parse(value: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut scheme = String::new();
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_whitespace()).unwrap_or(rest.len());
        let word = rest[..end].to_ascii_lowercase();
        rest = &rest[end..];
        if let Some(after) = rest.strip_prefix('=') {
            let (value, after) = unquote(after);
            parameters.push((word, value));
            rest = after;
        } else if !word.is_empty() {
            challenges.extend(finish(&scheme, &mut parameters));
            scheme = word;
        }
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    challenges.extend(finish(&scheme, &mut parameters));
    challenges
}

fn finish(scheme: &str, parameters: &mut Vec<(String, String)>) -> Option<Challenge> {
    let parameters = std::mem::take(parameters);
    let value = |name: &str| parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    match scheme {
        "bearer" => {
            Some(Challenge::Bearer { realm: value("realm")?, service: value("service"), scope: value("scope") })
        }
        "basic" => Some(Challenge::Basic),
        _ => None,
    }
}

/// A value, quoted or not, and what comes after it.
fn unquote(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut is_escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if is_escaped => {
                value.push(c);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        let table = [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            (
                r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push""#,
                Some(bearer("https://auth.example/token", Some("reg"), Some("repository:a/b:pull,push"))),
            ),
            (r#"basic realm="a, b", bearer  realm="c\"d" , service=e"#, Some(bearer("c\"d", Some("e"), None))),
            ("Negotiate", None),
            ("Bearer service=\"no realm\"", None),
            ("Bearer realm=\"open", Some(bearer("open", None, None))),
            ("=,=,\"", None),
            ("", None),
        ];
        for (value, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::WWW_AUTHENTICATE, value.parse().unwrap());
            assert_eq!(Challenge::of(&headers), want, "{value}");
        }
    }
}
