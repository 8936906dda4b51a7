//! Cuts and joins in encoded objects, without parsing them.
//!
//! The encoder writes `apiVersion` and `kind` first and no string before `metadata` can hold its key unescaped, except in
//! kinds with fields that sort before it (`addressType`, `data`, `binaryData`); so the object's own members are walked, by
//! skipping values, until the key is met.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The object with its resource version, which only the store knows: `"resourceVersion":"7"` put first into its metadata.
///
/// The object must be one that the codec wrote, without a resource version. Anything else is given back as it is.
#[must_use]
pub fn splice(object: &[u8], revision: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(object.len() + SPLICED_BYTES_MAX);
    splice_into(&mut out, object, revision);
    out.freeze()
}

/// As [`splice`], appended to `out`.
pub fn splice_into(out: &mut BytesMut, object: &[u8], revision: u64) {
    let Some((start, end)) = member(object, b"metadata") else { return out.extend_from_slice(object) };
    let inside = start + 1;
    out.extend_from_slice(&object[..inside]);
    out.extend_from_slice(VERSION);
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(b"\"");
    if end - start > 2 {
        out.extend_from_slice(b",");
    }
    out.extend_from_slice(&object[inside..]);
}

/// An object that [`splice`] gave its version, with another one: how an object is shown that is deleted.
#[must_use]
pub fn resplice(object: &[u8], revision: u64) -> Bytes {
    let version = member(object, b"metadata").and_then(|(start, _)| {
        let digits = start + 1 + VERSION.len();
        let length = object.get(start + 1..)?.strip_prefix(VERSION)?.iter().position(|byte| *byte == b'"')?;
        Some(digits..digits + length)
    });
    let Some(version) = version else { return Bytes::copy_from_slice(object) };
    let mut out = BytesMut::with_capacity(object.len() + SPLICED_BYTES_MAX);
    out.extend_from_slice(&object[..version.start]);
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(&object[version.end..]);
    out.freeze()
}

/// How a version that was spliced in begins.
const VERSION: &[u8] = b"\"resourceVersion\":\"";

/// Bytes that a version adds to an object, at most: its name, twenty digits and what is around them.
pub const SPLICED_BYTES_MAX: usize = 44;

/// The bytes of an object's metadata.
#[must_use]
pub fn metadata_of(object: &[u8]) -> Option<&[u8]> {
    member(object, b"metadata").map(|(start, end)| &object[start..end])
}

/// The object as a `PartialObjectMetadata`, which is its metadata alone.
#[must_use]
pub fn partial_metadata(object: &[u8]) -> Bytes {
    let metadata = metadata_of(object).unwrap_or(b"{}");
    let mut out = BytesMut::with_capacity(metadata.len() + 80);
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#);
    out.extend_from_slice(metadata);
    out.extend_from_slice(b"}");
    out.freeze()
}

/// The object in two: the members that `wanted` says, and the others. `None` of a text that the codec did not write.
#[must_use]
pub fn partition(object: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut chosen, mut rest) = (Vec::with_capacity(object.len()), Vec::with_capacity(object.len()));
    let mut members = Members { object, at: 1 };
    for (key, value) in &mut members {
        let part = if wanted(key) { &mut chosen } else { &mut rest };
        part.push(if part.is_empty() { b'{' } else { b',' });
        part.extend_from_slice(b"\"");
        part.extend_from_slice(key);
        part.extend_from_slice(b"\":");
        part.extend_from_slice(&object[value]);
    }
    // Whatever stopped it before the end is nothing that the codec writes.
    if members.at != object.len() && object != b"{}" {
        return None;
    }
    for part in [&mut chosen, &mut rest] {
        if part.is_empty() {
            part.push(b'{');
        }
        part.push(b'}');
    }
    Some((chosen, rest))
}

/// The members of two objects as one object.
#[must_use]
pub fn unite(mut one: Vec<u8>, other: &[u8]) -> Vec<u8> {
    if other.len() > 2 {
        one.pop();
        if one.len() > 1 {
            one.push(b',');
        }
        one.extend_from_slice(&other[1..]);
    }
    one
}

/// Where the value of a member of an object, itself an object, starts and ends.
fn member(object: &[u8], key: &[u8]) -> Option<(usize, usize)> {
    let (_, value) = Members { object, at: 1 }.find(|(found, _)| *found == key)?;
    (object.get(value.start) == Some(&b'{')).then_some((value.start, value.end))
}

/// The keys of an object, without their quotes, and where their values are; to the end, or to what the codec did not write.
struct Members<'o> {
    object: &'o [u8],
    at: usize,
}

impl<'o> Iterator for Members<'o> {
    type Item = (&'o [u8], Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let (object, at) = (self.object, self.at);
        if object.get(at) != Some(&b'"') {
            return None;
        }
        let colon = skip_string(object, at)?;
        let value = colon + 1;
        let end = skip_value(object, value)?;
        self.at = end + 1;
        Some((&object[at + 1..colon - 1], value..end))
    }
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
            b'"' => i = skip_string(json, i)?,
            b'{' | b'[' => {
                depth += 1;
                i += 1;
            }
            b'}' | b']' | b',' if depth == 0 => return Some(i),
            b'}' | b']' => {
                depth -= 1;
                i += 1;
                if depth == 0 {
                    return Some(i);
                }
                continue;
            }
            _ => i += 1,
        }
        if depth == 0 && matches!(json.get(i), Some(b',' | b'}')) {
            return Some(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_put_into_the_metadata_of_the_object_itself() {
        for (given, expected) in [
            (
                r#"{"kind":"Pod","metadata":{"name":"a"},"spec":{}}"#,
                r#"{"kind":"Pod","metadata":{"resourceVersion":"7","name":"a"},"spec":{}}"#,
            ),
            (r#"{"metadata":{}}"#, r#"{"metadata":{"resourceVersion":"7"}}"#),
            (
                r#"{"data":{"metadata":{"x":"\"metadata\":{"},"n":[1,{}]},"immutable":true,"metadata":{"name":"a"}}"#,
                r#"{"data":{"metadata":{"x":"\"metadata\":{"},"n":[1,{}]},"immutable":true,"metadata":{"resourceVersion":"7","name":"a"}}"#,
            ),
            (
                r#"{"addressType":"IPv4","eventTime":null,"metadata":{"a":1}}"#,
                r#"{"addressType":"IPv4","eventTime":null,"metadata":{"resourceVersion":"7","a":1}}"#,
            ),
            (r#"{"kind":"Pod"}"#, r#"{"kind":"Pod"}"#),
            ("", ""),
            ("{\"a", "{\"a"),
        ] {
            let spliced = splice(given.as_bytes(), 7);
            assert_eq!(spliced, expected.as_bytes(), "{given}");
            assert_eq!(resplice(&spliced, 1234), splice(given.as_bytes(), 1234), "{given}");
        }
    }

    #[test]
    fn an_object_is_parted_and_united() {
        let parts = |object: &str| {
            let (chosen, rest) = partition(object.as_bytes(), |key| key == b"b" || key == b"d")?;
            Some((String::from_utf8(chosen).ok()?, String::from_utf8(rest).ok()?))
        };
        for (object, chosen, rest) in [
            (r#"{"a":1,"b":{"c":[1,"}"]},"d":null}"#, r#"{"b":{"c":[1,"}"]},"d":null}"#, r#"{"a":1}"#),
            (r#"{"b":1}"#, r#"{"b":1}"#, "{}"),
            ("{}", "{}", "{}"),
            (r#"{"a":"\""}"#, "{}", r#"{"a":"\""}"#),
        ] {
            assert_eq!(parts(object), Some((chosen.to_owned(), rest.to_owned())));
        }
        for other in ["", "[]", r#"{"a":1"#, r#"{"a":1, "b":2}"#, r#"{"a":1}x"#] {
            assert_eq!(parts(other), None, "{other}");
        }
        for (one, other, all) in [
            (r#"{"a":1}"#, r#"{"b":2}"#, r#"{"a":1,"b":2}"#),
            ("{}", r#"{"b":2}"#, r#"{"b":2}"#),
            (r#"{"a":1}"#, "{}", r#"{"a":1}"#),
            ("{}", "{}", "{}"),
        ] {
            assert_eq!(unite(one.into(), other.as_bytes()), all.as_bytes());
        }
    }

    #[test]
    fn metadata_is_cut_out() {
        let object = br#"{"kind":"Pod","metadata":{"labels":{"a":"}"}},"spec":{}}"#;
        assert_eq!(metadata_of(object), Some(&br#"{"labels":{"a":"}"}}"#[..]));
        assert_eq!(
            partial_metadata(object),
            &br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"labels":{"a":"}"}}}"#[..]
        );
    }
}
