//! URLs.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::eval::{Error, Evaluator};
use super::super::value::{Key, Value};
use super::{Answer, traversal};

/// An absolute URL, or a path from the root.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Url {
    pub(in super::super) text: String,
    scheme: String,
    /// With its port.
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// Source: Go's `url.ParseRequestURI`.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return None;
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if !text.starts_with('/') && is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
            _ if text.starts_with('/') => (String::new(), text),
            _ => return None,
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
            None => ("", rest),
        };
        if !path.is_empty() && !path.starts_with('/') {
            return None;
        }
        let host = host.rsplit('@').next().unwrap_or_default();
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        let bad_host = host.bytes().any(|b| b == b' ' || b == b'<' || b == b'>' || b == b'"');
        if bad_host || port.is_some_and(|port| !port.bytes().all(|b| b.is_ascii_digit())) || !escapes_are_whole(path) {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            scheme,
            host: host.to_owned(),
            path: path.replace(' ', "%20"),
            query: query.to_owned(),
        })
    }

    fn name_and_port(&self) -> (&str, &str) {
        match self.host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (&self.host, ""),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit()))
}

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    use Value::{Bool, String, Url as Link};
    Some(match (name, args) {
        ("isURL", [String(text)]) => e.charge(traversal(text.len())).map(|()| Bool(Url::parse(text).is_some())),
        ("url", [String(text)]) => e.charge(traversal(text.len())).and_then(|()| {
            let invalid = || Error::new(format!("URL parse error during conversion from string: {:?}", &**text));
            Url::parse(text).map(|url| Link(Rc::new(url))).ok_or_else(invalid)
        }),
        ("getScheme", [Link(url)]) => Ok(Value::text(url.scheme.as_str())),
        ("getHost", [Link(url)]) => Ok(Value::text(url.host.as_str())),
        ("getHostname", [Link(url)]) => Ok(Value::text(url.name_and_port().0.trim_matches(['[', ']']))),
        ("getPort", [Link(url)]) => Ok(Value::text(url.name_and_port().1)),
        ("getEscapedPath", [Link(url)]) => Ok(Value::text(url.path.as_str())),
        ("getQuery", [Link(url)]) => e.charge(traversal(url.query.len())).map(|()| query(&url.query)),
        _ => return None,
    })
}

fn query<'a>(query: &str) -> Value<'a> {
    let mut map: BTreeMap<Key, Vec<Value<'a>>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if let (Some(name), Some(value)) = (unescaped(name), unescaped(value)) {
            map.entry(Key::String(name.into())).or_default().push(Value::text(value));
        }
    }
    Value::Map(Rc::new(map.into_iter().map(|(name, values)| (name, Value::list(values))).collect()))
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let code = digit(bytes.next())? * 16 + digit(bytes.next())?;
                out.push(u8::try_from(code).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}
