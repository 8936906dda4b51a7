//! YAML bodies become JSON, and then take the same path as JSON bodies; answers that are asked for as YAML are made of the
//! JSON.
//!
//! The reader and the writer of YAML recurse with the nesting of a document, so they get a stack that is measured for the
//! deepest, whatever thread they are called on.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Error};

use crate::limits;

/// JSON made of a YAML document, and what was wrong with it that strict clients want to hear of.
pub(super) struct Converted {
    pub json: Vec<u8>,
    pub duplicate: Option<String>,
}

/// How the tale of keys that stand twice begins. Each has a line of its own.
const DUPLICATES: &str = "yaml: unmarshal errors:\n";

/// Turns the first YAML document of a text into JSON. Of a key that stands twice the last value is taken, and told.
pub(super) fn to_json(yaml: &str) -> Result<Converted, String> {
    stacker::grow(limits::YAML_STACK_BYTES, || convert(first_document(yaml)))
}

/// The texts of the `Warning` headers that tell of something strict clients want to hear of.
///
/// Source: upstream's `parseYAMLWarnings`.
pub fn warnings(finding: &str) -> impl Iterator<Item = String> + '_ {
    let told = finding.strip_prefix(DUPLICATES);
    let (whole, lines) = if told.is_none() { (Some(finding), "") } else { (None, told.unwrap_or_default()) };
    whole.into_iter().chain(lines.lines().map(str::trim)).map(str::to_owned)
}

/// The text of the first document. What comes after it is not read.
fn first_document(yaml: &str) -> &str {
    let is_marker = |line: &str, marker: &str| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    let (mut at, mut has_begun) = (0, false);
    for line in yaml.split_inclusive('\n') {
        let starts = is_marker(line, "---");
        if has_begun && (starts || is_marker(line, "...")) {
            return &yaml[..at];
        }
        let is_blank = line.trim_start().is_empty() || line.trim_start().starts_with('#');
        has_begun |= starts || !(is_blank || line.starts_with('%') || is_marker(line, "..."));
        at += line.len();
    }
    yaml
}

fn convert(yaml: &str) -> Result<Converted, String> {
    let (value, duplicate) = match read(yaml, DuplicateKeyPolicy::Error) {
        Ok(value) => (value, None),
        Err(first) => match first.without_snippet() {
            Error::DuplicateMappingKey { .. } => {
                let value = read(yaml, DuplicateKeyPolicy::LastWins).map_err(|error| unreadable(&error))?;
                (value, told(yaml, &first))
            }
            other => return Err(unreadable(other)),
        },
    };
    let json = serde_json::to_vec(&value).map_err(|e| e.to_string())?;
    Ok(Converted { json, duplicate })
}

fn unreadable(error: &Error) -> String {
    format!("error converting YAML to JSON: yaml: {}", error.to_string().lines().next().unwrap_or_default())
}

/// Tells of a key that stands twice, with the line of its later value.
fn told(yaml: &str, error: &Error) -> Option<String> {
    let Error::DuplicateMappingKey { key, location } = error else { return Some(unreadable(error)) };
    let key = key.as_deref().unwrap_or_default();
    let mut line = usize::try_from(location.line()).unwrap_or_default();
    let mut lines = yaml.lines().skip(line.saturating_sub(1));
    let ends_with_key = lines.next().is_some_and(|text| {
        let text = text.split(" #").next().unwrap_or_default().trim_end();
        text.ends_with(':') && text.trim_end_matches(':').trim_end_matches(['"', '\'']).ends_with(key)
    });
    if ends_with_key {
        let is_blank = |text: &&str| text.trim().is_empty() || text.trim_start().starts_with('#');
        line += 1 + lines.take_while(is_blank).count();
    }
    Some(format!("{DUPLICATES}  line {line}: key {key:?} already set in map"))
}

fn read(yaml: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Value, Error> {
    let budget = serde_saphyr::budget! {
        max_nodes: limits::YAML_NODES_MAX,
        max_depth: limits::NESTING_MAX,
    };
    let mut options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        budget: budget,
        strict_booleans: false,
        with_snippet: false,
    };
    options.alias_limits.max_total_replayed_events = limits::YAML_ALIASED_MAX;
    serde_saphyr::from_str_with_options(yaml, options)
}

/// Turns JSON into YAML.
///
/// # Errors
/// When `json` is not JSON.
pub fn from_json(json: &[u8]) -> Result<String, serde_json::Error> {
    stacker::grow(limits::YAML_STACK_BYTES, || {
        let value: Value = serde_json::from_slice(json)?;
        serde_saphyr::to_string(&value).map_err(serde::ser::Error::custom)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_document_is_read_and_keys_that_stand_twice_are_told() {
        for (yaml, json, duplicate) in [
            ("", "null", None),
            ("# nothing\n---\n---\na: 1", "null", None),
            ("%YAML 1.1\n---\na: 1\n--- \nb: [", r#"{"a":1}"#, None),
            ("a: |\n  x\n  ---\n...\nb: 2", r#"{"a":"x\n---\n"}"#, None),
            ("a: 1\nb: 2\na: 3", r#"{"a":3,"b":2}"#, Some("  line 3: key \"a\" already set in map")),
            ("x: {a: 1,\n a: 2}", r#"{"x":{"a":2}}"#, Some("  line 2: key \"a\" already set in map")),
            ("a: 1\na: # here\n\n  b: 2", r#"{"a":{"b":2}}"#, Some("  line 4: key \"a\" already set in map")),
        ] {
            let converted = to_json(yaml).unwrap();
            assert_eq!(String::from_utf8(converted.json).unwrap(), json, "{yaml}");
            let expected = duplicate.map(|line| format!("{DUPLICATES}{line}"));
            assert_eq!(converted.duplicate, expected, "{yaml}");
            let told: Vec<String> = converted.duplicate.iter().flat_map(|finding| warnings(finding)).collect();
            assert_eq!(told, duplicate.iter().map(|line| line.trim().to_owned()).collect::<Vec<_>>());
        }
        assert_eq!(warnings("unknown field \"a\"").collect::<Vec<_>>(), ["unknown field \"a\""]);
    }

    /// A document of a few hundred bytes, as deep as one may be, used to overflow the stack of the thread that read it.
    #[test]
    fn the_deepest_document_is_read_on_a_small_stack() {
        let small = std::thread::Builder::new().stack_size(128 << 10);
        let read = || {
            for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
                let nested = |depth| format!("{}{}", open.repeat(depth), close.repeat(depth));
                let json = to_json(&nested(limits::NESTING_MAX)).unwrap().json;
                from_json(&json).unwrap();
                for depth in [limits::NESTING_MAX + 1, 1_000, 100_000] {
                    assert!(to_json(&nested(depth)).is_err(), "{open} {depth} deep");
                }
            }
        };
        small.spawn(read).unwrap().join().unwrap();
    }
}
