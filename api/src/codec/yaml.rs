//! YAML bodies become JSON, and then take the same path as JSON bodies; answers that are asked for as YAML are made of the
//! JSON.
//!
//! The reader and the writer of YAML recurse with the nesting of a document, so they get a stack that is measured for the
//! deepest, whatever thread they are called on.

use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use crate::limits;

/// JSON made of a YAML document, and what was wrong with it that strict clients want to hear of.
pub(super) struct Converted {
    pub json: Vec<u8>,
    pub duplicate: Option<String>,
}

/// Turns a YAML document into JSON. Of a key that stands twice the last value is taken, and told.
pub(super) fn to_json(yaml: &str) -> Result<Converted, String> {
    stacker::grow(limits::YAML_STACK_BYTES, || convert(yaml))
}

fn convert(yaml: &str) -> Result<Converted, String> {
    let (value, duplicate) = match read(yaml, DuplicateKeyPolicy::Error) {
        Ok(value) => (value, None),
        Err(first) => match read(yaml, DuplicateKeyPolicy::LastWins) {
            Ok(value) => (value, Some(first)),
            Err(_) => return Err(first),
        },
    };
    let json = serde_json::to_vec(&value).map_err(|e| e.to_string())?;
    Ok(Converted { json, duplicate })
}

fn read(yaml: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Value, String> {
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
    serde_saphyr::from_str_with_options(yaml, options).map_err(|e| {
        format!("error converting YAML to JSON: yaml: {}", e.to_string().lines().next().unwrap_or_default())
    })
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
