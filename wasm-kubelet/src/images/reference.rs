//! What an `image:` field names: a file, an address on the web, or a name in the node's own store.

use std::path::PathBuf;

use super::store::Digest;

/// A parsed image reference. Its `Display` is the canonical form, and parses to the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `file:///abs/app.wasm`, on the node.
    File { path: PathBuf, digest: Option<Digest> },
    /// `https://host/app.wasm`.
    Https { url: String, digest: Option<Digest> },
    /// Anything else: `hello`, `hello:v1`, `registry.example/team/hello:v1`, as loaded into the node's store.
    Name { name: String, tag: String, digest: Option<Digest> },
}

/// An image field that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("couldn't parse image name {0:?}: it is empty")]
    Empty(String),
    #[error("couldn't parse image name {0:?}: plain http is refused, use https")]
    PlainHttp(String),
    #[error("couldn't parse image name {0:?}: the scheme {1:?} is not file or https")]
    Scheme(String, String),
    #[error("couldn't parse image name {0:?}: a file needs an absolute path such as file:///dir/app.wasm")]
    RelativeFile(String),
    #[error("couldn't parse image name {0:?}: no host in it")]
    NoHost(String),
    #[error("couldn't parse image name {0:?}: a digest is sha256 and 64 lower-case hexadecimal digits")]
    Digest(String),
    #[error("couldn't parse image name {0:?}: invalid reference format")]
    Format(String),
}

/// Longest name with its tag, in bytes. Source: distribution reference grammar.
const NAME_BYTES_MAX: usize = 255;
/// Longest tag. Source: distribution reference grammar.
const TAG_BYTES_MAX: usize = 128;

impl Reference {
    /// Reads an `image:` field.
    ///
    /// # Errors
    /// When it names nothing that this node could have.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let owned = || text.to_owned();
        if text.trim().is_empty() {
            return Err(ReferenceError::Empty(owned()));
        }
        match text.split_once("://") {
            Some(("file", rest)) => {
                let (path, digest) = split_fragment(text, rest)?;
                if !path.starts_with('/') || path.ends_with('/') {
                    return Err(ReferenceError::RelativeFile(owned()));
                }
                Ok(Self::File { path: PathBuf::from(path), digest })
            }
            Some(("https", rest)) => {
                let (address, digest) = split_fragment(text, rest)?;
                let host = address.split('/').next().unwrap_or_default();
                if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '@') {
                    return Err(ReferenceError::NoHost(owned()));
                }
                Ok(Self::Https { url: format!("https://{address}"), digest })
            }
            Some(("http", _)) => Err(ReferenceError::PlainHttp(owned())),
            Some((scheme, _)) => Err(ReferenceError::Scheme(owned(), scheme.to_owned())),
            None => Self::parse_name(text),
        }
    }

    /// Source: the grammar of distribution references: lower-case path components, an optional tag, an optional digest.
    fn parse_name(text: &str) -> Result<Self, ReferenceError> {
        let format_error = || ReferenceError::Format(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(text, digest.strip_prefix("sha256:").unwrap_or("")))),
            None => (text, None),
        };
        let digest = digest.transpose()?;
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[last_slash..].rfind(':') {
            Some(at) => (&rest[..last_slash + at], &rest[last_slash + at + 1..]),
            None => (rest, "latest"),
        };
        let well_formed = name.len() <= NAME_BYTES_MAX && is_name(name) && is_tag(tag);
        if !well_formed {
            return Err(format_error());
        }
        Ok(Self::Name { name: name.to_owned(), tag: tag.to_owned(), digest })
    }

    /// The digest that the image must have, where the reference fixes one.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::File { digest, .. } | Self::Https { digest, .. } | Self::Name { digest, .. } => digest.as_ref(),
        }
    }

    /// The registry's host and the name there, for a name that has a host. Source: distribution references: the first
    /// component is a host if there is a dot or a colon in it, or if it is `localhost`.
    pub fn registry(&self) -> Option<(&str, &str)> {
        let Self::Name { name, .. } = self else { return None };
        let (host, path) = name.split_once('/')?;
        let is_host = host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|b| b.is_ascii_uppercase());
        is_host.then_some((host, path))
    }

    /// The name by digest alone, under which the store keeps what a registry gave; the tag beside a digest says nothing.
    pub fn exact_name(&self) -> Option<String> {
        match self {
            Self::Name { name, digest: Some(digest), .. } => Some(format!("{name}@{digest}")),
            _ => None,
        }
    }

    /// The name under which the store keeps it: without the digest.
    pub fn store_name(&self) -> String {
        match self {
            Self::File { path, .. } => format!("file://{}", path.display()),
            Self::Https { url, .. } => url.clone(),
            Self::Name { name, tag, .. } => format!("{name}:{tag}"),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.store_name())?;
        match (self, self.digest()) {
            (_, None) => Ok(()),
            (Self::Name { .. }, Some(digest)) => write!(f, "@{digest}"),
            (_, Some(digest)) => write!(f, "#sha256={}", digest.hex()),
        }
    }
}

fn split_fragment<'a>(whole: &str, rest: &'a str) -> Result<(&'a str, Option<Digest>), ReferenceError> {
    match rest.split_once('#') {
        None => Ok((rest, None)),
        Some((address, fragment)) => {
            let hex = fragment.strip_prefix("sha256=").unwrap_or("");
            Ok((address, Some(parse_digest(whole, hex)?)))
        }
    }
}

fn parse_digest(whole: &str, hex: &str) -> Result<Digest, ReferenceError> {
    Digest::from_hex(hex).ok_or_else(|| ReferenceError::Digest(whole.to_owned()))
}

fn is_name(name: &str) -> bool {
    let mut components = name.split('/').peekable();
    let mut first = true;
    while let Some(component) = components.next() {
        let is_host = first && components.peek().is_some();
        first = false;
        let ok = if is_host { is_host_or_path(component) } else { is_path(component) };
        if !ok {
            return false;
        }
    }
    true
}

fn is_host_or_path(component: &str) -> bool {
    let (host, port) = component.split_once(':').map_or((component, None), |(host, port)| (host, Some(port)));
    let port_ok = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let host_ok = !host.is_empty()
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && host.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    port_ok && host_ok
}

fn is_path(component: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(component.bytes().next())
        && edge(component.bytes().last())
        && component.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_have_one_canonical_form() {
        let table = [
            ("hello".to_owned(), "hello:latest".to_owned()),
            ("hello:v1".into(), "hello:v1".into()),
            ("Localhost:5000/team/hello".into(), "Localhost:5000/team/hello:latest".into()),
            ("ghcr.io/a/b:v1.2_3".into(), "ghcr.io/a/b:v1.2_3".into()),
            (format!("hello@sha256:{HEX}"), format!("hello:latest@sha256:{HEX}")),
            ("file:///srv/a b.wasm".into(), "file:///srv/a b.wasm".into()),
            (format!("file:///a.wasm#sha256={HEX}"), format!("file:///a.wasm#sha256={HEX}")),
            ("https://example.org/x.wasm?y=1".into(), "https://example.org/x.wasm?y=1".into()),
        ];
        for (text, want) in table {
            let parsed = Reference::parse(&text).unwrap();
            assert_eq!(parsed.to_string(), want);
            assert_eq!(Reference::parse(&parsed.to_string()).unwrap(), parsed, "the canonical form means the same");
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        let table = [
            "",
            " ",
            "http://x/y.wasm",
            "ftp://x/y",
            "file://relative.wasm",
            "file:///dir/",
            "https:///x.wasm",
            "https://user@host/x",
            "Hello",
            "a//b",
            "hello:",
            "hello:-x",
            "hello@sha256:12",
            "-a",
            "a b",
            "../etc/passwd",
            "file:///a.wasm#md5=1",
        ];
        for text in table {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }
}
