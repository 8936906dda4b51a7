//! The query of a URL, read by name as upstream reads its options.

use std::num::{IntErrorKind, ParseIntError};

use coracle_api::status::ApiError;

/// The parameters in their order, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The first value of a parameter, which may be empty.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may stand more than once.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on. Source: upstream's conversion of query parameters to `bool`, for which even an empty one is.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A switch that has a third state.
    pub(crate) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.first(name).map(|_| self.flag(name))
    }

    /// A whole number.
    ///
    /// # Errors
    /// When it is none, as Go's `strconv` says it.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let parse = |value: &str| {
            value.parse().map_err(|error: ParseIntError| {
                let why = not_an_integer(&error);
                ApiError::BadRequest(format!("strconv.ParseInt: parsing {value:?}: {why}"))
            })
        };
        self.first(name).map(parse).transpose()
    }
}

/// What Go says of text that is no integer.
fn not_an_integer(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

/// The number that a resource version is, which Go reads without a sign.
///
/// # Errors
/// What Go says of one that is none.
pub(crate) fn parse_version(text: &str) -> Result<u64, String> {
    let told = |why: &str| format!("strconv.ParseUint: parsing {text:?}: {why}");
    if text.starts_with('+') {
        return Err(told("invalid syntax"));
    }
    text.parse().map_err(|error| told(not_an_integer(&error)))
}

/// Undoes percent-encoding, and in a query also `+` for a space. What is not UTF-8 then becomes the replacement
/// character, which no name holds.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| *byte == b'%' || (plus_is_space && *byte == b'+')) {
        return text.to_owned();
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| escaped_byte(&bytes[at + 1..])).flatten();
        decoded.push(match escaped {
            Some(byte) => byte,
            None if plus_is_space && bytes[at] == b'+' => b' ',
            None => bytes[at],
        });
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Percent-encodes everything that has a meaning in a URL.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

fn escaped_byte(hex: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*hex.first()?)? << 4 | digit(*hex.get(1)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let query = Query::parse("labelSelector=a%20in%20(b,c)&watch=1&limit=&x=y+z&x=2&w=FALSE&bad=%zz%4");
        assert_eq!(query.get("labelSelector"), Some("a in (b,c)"));
        assert_eq!(query.get("limit"), None);
        assert_eq!(query.all("x").collect::<Vec<_>>(), ["y z", "2"]);
        assert!(query.flag("watch") && query.flag("limit") && !query.flag("w") && !query.flag("none"));
        assert_eq!(query.optional_flag("none"), None);
        assert_eq!(query.get("bad"), Some("%zz%4"));
    }

    #[test]
    fn versions() {
        assert_eq!(parse_version("12"), Ok(12));
        for (text, why) in
            [("x", "invalid syntax"), ("+1", "invalid syntax"), ("99999999999999999999", "value out of range")]
        {
            assert_eq!(parse_version(text), Err(format!("strconv.ParseUint: parsing {text:?}: {why}")));
        }
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        for text in ["", "a-b_c.d~e", "2026-01-01T00:00:00+02:00", "a b/c?d=é"] {
            assert_eq!(decode(&encode(text), true), text);
        }
    }

    #[test]
    fn numbers() {
        let query = Query::parse("limit=5&other=banana&empty=");
        assert_eq!(query.integer("limit").expect("a number"), Some(5));
        for (name, why) in [
            ("other", "strconv.ParseInt: parsing \"banana\": invalid syntax"),
            ("empty", "strconv.ParseInt: parsing \"\": invalid syntax"),
        ] {
            assert_eq!(query.integer(name), Err(ApiError::BadRequest(why.to_owned())));
        }
        assert_eq!(query.integer("none").expect("absent"), None);
    }
}
