//! What a body says that it is, read apart from the rest when it has to be refused.
//!
//! Source: `SimpleMetaFactory.Interpret` and the errors of `runtime.Scheme`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use super::syntax;
use crate::go::json_name;
use crate::kinds;

/// Options and answers that Go knows in every version.
const EVERYWHERE: [&str; 8] = [
    "CreateOptions",
    "DeleteOptions",
    "GetOptions",
    "ListOptions",
    "PatchOptions",
    "Status",
    "UpdateOptions",
    "WatchEvent",
];

/// As Go prints the type that it reads a header into.
const GO_TYPE: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// Bytes of a body that a refusal shows.
const SHOWN_BYTES: usize = 30;

/// The `apiVersion` and `kind` of a body; each is empty when it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) version: Cow<'a, str>,
    pub(super) kind: Cow<'a, str>,
}

/// Reads the header of a body.
///
/// # Errors
/// When the body is no JSON object, or its header no text.
pub(super) fn read(json: &[u8]) -> Result<Header<'static>, String> {
    let unread = |why: String| format!("couldn't get version/kind; json parse error: {why}");
    syntax::check(json).map_err(unread)?;
    let value: Value = match serde_json::from_slice(json) {
        Ok(value) => value,
        // It is well formed; what is wrong with it the caller has found.
        Err(_) => return Ok(Header::default()),
    };
    let members = match &value {
        Value::Object(members) => members,
        Value::Null => return Ok(Header::default()),
        other => {
            let found = json_name(other);
            return Err(unread(format!("json: cannot unmarshal {found} into Go value of type {GO_TYPE}")));
        }
    };
    let text = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(Cow::Borrowed("")),
        Some(Value::String(text)) => Ok(Cow::Owned(text.clone())),
        Some(other) => {
            let found = json_name(other);
            Err(unread(format!("json: cannot unmarshal {found} into Go struct field .{name} of type string")))
        }
    };
    let header = Header { version: text("apiVersion")?, kind: text("kind")? };
    match header.version.matches('/').count() {
        0 | 1 => Ok(header),
        _ => Err(format!("unexpected GroupVersion string: {}", header.version)),
    }
}

/// The beginning of a body: as text when it looks like an object, else in hexadecimal. Source: upstream's `summarizeData`.
pub(super) fn summary(body: &[u8]) -> String {
    let Some(first) = body.first() else { return "<empty>".to_owned() };
    let shown = &body[..body.len().min(SHOWN_BYTES)];
    let mut text = match first {
        b'{' => String::from_utf8_lossy(shown).into_owned(),
        _ => shown.iter().fold(String::new(), |mut text, byte| {
            // A string takes every text.
            let _ = write!(text, "{byte:02x}");
            text
        }),
    };
    if body.len() > SHOWN_BYTES {
        text.push_str(" ...");
    }
    text
}

impl Header<'_> {
    /// The version without its group.
    pub(super) fn version(&self) -> &str {
        self.version.rsplit('/').next().unwrap_or_default()
    }

    /// Whether Kubernetes has such a kind.
    pub(super) fn is_registered(&self) -> bool {
        let mut of_version = kinds::all().iter().filter(|kind| kind.api_version() == self.version).peekable();
        let everywhere = of_version.peek().is_some() && EVERYWHERE.contains(&&*self.kind);
        everywhere
            || of_version.any(|kind| kind.kind == self.kind || self.kind.strip_suffix("List") == Some(&kind.kind))
    }

    /// What Go says of a kind that its scheme, declared at `place`, doesn't have.
    pub(super) fn not_registered(&self, place: &str) -> String {
        format!("no kind {:?} is registered for version {:?} in scheme {place:?}", self.kind, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_refused() {
        for (json, expected) in [
            (r#"{"apiVersion":"v1","kind":"Pod"}"#, Ok(("v1", "Pod"))),
            ("null", Ok(("", ""))),
            (r#"{"kind":null}"#, Ok(("", ""))),
            ("", Err("couldn't get version/kind; json parse error: unexpected end of JSON input")),
            (
                r#"{"kind":5}"#,
                Err(
                    "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string",
                ),
            ),
            (
                "[]",
                Err(
                    r#"couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#,
                ),
            ),
            (r#"{"apiVersion":"a/b/c"}"#, Err("unexpected GroupVersion string: a/b/c")),
        ] {
            let expected = expected
                .map(|(version, kind)| Header { version: version.into(), kind: kind.into() })
                .map_err(str::to_owned);
            assert_eq!(read(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn bodies_are_shown_in_short() {
        assert_eq!(summary(b""), "<empty>");
        assert_eq!(summary(b"{\"a\":"), "{\"a\":");
        assert_eq!(summary(b"<x/>"), "3c782f3e");
        assert_eq!(summary(&[b'{'; 40]), format!("{} ...", "{".repeat(30)));
    }

    #[test]
    fn kinds_are_known() {
        for (version, kind, known) in [
            ("v1", "Pod", true),
            ("v1", "PodList", true),
            ("apps/v1", "DeleteOptions", true),
            ("v1", "Deployment", false),
            ("apps/v9", "Deployment", false),
        ] {
            let header = Header { version: version.into(), kind: kind.into() };
            assert_eq!(header.is_registered(), known, "{header:?}");
        }
    }
}
