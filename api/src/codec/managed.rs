//! Splits the managers of an object's fields off its JSON, and joins them to it again.
//!
//! They are as long as the object itself, and nobody but [field ownership](crate::ownership) reads them: so objects are
//! decoded and encoded without them, and they are kept as text. In what is stored they are the last of the metadata.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

const METADATA: &[u8] = b"metadata";
const MANAGED: &[u8] = b"managedFields";

/// An object without its `managedFields`, and those as they stand there: nothing when it has none, or null.
pub(crate) fn split(json: &[u8]) -> Option<(Vec<u8>, Bytes)> {
    let metadata = find(json, 0, METADATA)?;
    let found = find(json, metadata.value.start, MANAGED)?;
    let mut rest = Vec::with_capacity(json.len());
    rest.extend_from_slice(&json[..found.cut.start]);
    rest.extend_from_slice(&json[found.cut.end..]);
    let value = json[found.value].trim_ascii();
    let managed = if value == b"null" { Bytes::new() } else { Bytes::copy_from_slice(value) };
    Some((rest, managed))
}

/// The object with its managers as the last of its metadata. It must be one that the codec wrote, without any.
pub(crate) fn join(object: Bytes, managed: &[u8]) -> Bytes {
    if managed.is_empty() {
        return object;
    }
    let Some(Found { value: metadata, .. }) = find(&object, 0, METADATA) else { return object };
    let end = metadata.end - 1;
    let mut out = BytesMut::with_capacity(object.len() + managed.len() + MANAGED.len() + 4);
    out.extend_from_slice(&object[..end]);
    if metadata.len() > 2 {
        out.extend_from_slice(b",");
    }
    out.extend_from_slice(b"\"managedFields\":");
    out.extend_from_slice(managed);
    out.extend_from_slice(&object[end..]);
    out.freeze()
}

/// A member of an object.
struct Found {
    value: Range<usize>,
    /// What to leave out so that the rest is an object: the member and one of the commas around it.
    cut: Range<usize>,
}

/// Finds a member of the object that begins at `at`.
fn find(json: &[u8], at: usize, wanted: &[u8]) -> Option<Found> {
    let mut reader = Members::new(json, at)?;
    let mut previous_end = None;
    loop {
        let (name, value) = reader.next_member()??;
        if &json[name.clone()] == wanted {
            let cut = match previous_end {
                Some(end) => end..value.end,
                None => {
                    let after = skip_space(json, value.end);
                    let end = if json.get(after) == Some(&b',') { after + 1 } else { after };
                    name.start - 1..end
                }
            };
            return Some(Found { value, cut });
        }
        previous_end = Some(value.end);
    }
}

/// Goes through the members of an object, whatever space is between them.
struct Members<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Members<'j> {
    fn new(json: &'j [u8], at: usize) -> Option<Self> {
        let at = skip_space(json, at);
        (json.get(at) == Some(&b'{')).then_some(Self { json, at: at + 1 })
    }

    /// The next name, without its quotes, and value; `Some(None)` at the end, `None` where the text is no object.
    #[allow(clippy::option_option, reason = "the end of an object and a text that is none are not the same")]
    fn next_member(&mut self) -> Option<Option<(Range<usize>, Range<usize>)>> {
        let json = self.json;
        let mut at = skip_space(json, self.at);
        if json.get(at) == Some(&b',') {
            at = skip_space(json, at + 1);
        }
        if json.get(at) == Some(&b'}') {
            return Some(None);
        }
        if json.get(at) != Some(&b'"') {
            return None;
        }
        let name_end = skip_string(json, at)?;
        let name = at + 1..name_end - 1;
        let colon = skip_space(json, name_end);
        if json.get(colon) != Some(&b':') {
            return None;
        }
        let start = skip_space(json, colon + 1);
        let end = skip_value(json, start)?;
        self.at = end;
        Some(Some((name, start..end)))
    }
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while json.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Where the string that starts at `at` ends.
fn skip_string(json: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match json.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
}

/// Where the value that starts at `at` ends.
fn skip_value(json: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut i = at;
    loop {
        match json.get(i)? {
            b'"' => {
                i = skip_string(json, i)?;
                if depth == 0 {
                    return Some(i);
                }
            }
            b'{' | b'[' => {
                depth += 1;
                i += 1;
            }
            b'}' | b']' => {
                // A scalar ends where what is around it does.
                if depth == 0 {
                    return Some(i);
                }
                depth -= 1;
                i += 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            byte if depth == 0 && (*byte == b',' || byte.is_ascii_whitespace()) => return Some(i),
            _ => i += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn managers_are_split_off_and_joined_again() {
        for (given, rest, managed) in [
            (
                r#"{"kind":"Pod","metadata":{"name":"a","managedFields":[{"x":"}]"}]},"spec":{}}"#,
                r#"{"kind":"Pod","metadata":{"name":"a"},"spec":{}}"#,
                r#"[{"x":"}]"}]"#,
            ),
            (
                r#"{ "metadata" : { "managedFields" : [ ] , "name" : "a" } , "metadata2" : 1 }"#,
                r#"{ "metadata" : {  "name" : "a" } , "metadata2" : 1 }"#,
                "[ ]",
            ),
            (r#"{"metadata":{"managedFields":null}}"#, r#"{"metadata":{}}"#, ""),
            (r#"{"metadata":{"a":1,"managedFields":[],"b":2}}"#, r#"{"metadata":{"a":1,"b":2}}"#, "[]"),
        ] {
            let (found, found_managed) = split(given.as_bytes()).unwrap();
            assert_eq!((text(&found), text(&found_managed)), (rest, managed), "{given}");
        }
        for nothing in [
            r#"{"metadata":{"name":"a"}}"#,
            r#"{"data":{"managedFields":[]}}"#,
            r#"{"metadata":[]}"#,
            r#"{"metadata":{"managedFields":[}"#,
            r#"{"metadata":{"managedFields" []}}"#,
            "[]",
            "",
            "{\"a",
        ] {
            assert!(split(nothing.as_bytes()).is_none(), "{nothing}");
        }
        for (object, joined) in [
            (r#"{"metadata":{},"spec":{}}"#, r#"{"metadata":{"managedFields":[1]},"spec":{}}"#),
            (r#"{"metadata":{"name":"}"}}"#, r#"{"metadata":{"name":"}","managedFields":[1]}}"#),
        ] {
            assert_eq!(join(object.into(), b"[1]"), joined);
            assert_eq!(text(&split(joined.as_bytes()).unwrap().0), object);
            assert_eq!(join(object.into(), b""), object);
        }
    }
}
