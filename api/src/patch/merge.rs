//! JSON merge patch, RFC 7386: objects are merged, null removes, everything else replaces.
//!
//! Source: `MergePatch` of `github.com/evanphx/json-patch`, which goes beyond the RFC: nulls vanish from what is new, in
//! lists too.

use serde_json::{Map, Value};

use super::{Error, Read, no_map, read_value};

/// Reads a patch. When it is `checked` what stands twice in it is found, as upstream does unless it is told to ignore that;
/// the two read what is no object in different words.
///
/// # Errors
/// When it is no patch.
pub fn parse(patch: &[u8], checked: bool) -> Result<Read<Value>, Error> {
    let bad = || Error::Malformed("Invalid JSON Patch".to_owned());
    match read_value(patch) {
        Err(why) if checked => Err(Error::Malformed(format!("error decoding patch: {why}"))),
        Err(_) => Err(bad()),
        Ok(read) => match &read.patch {
            Value::Null => Err(bad()),
            Value::Object(_) => Ok(read),
            other if checked => Err(Error::Malformed(format!("error decoding patch: {}", no_map(other)))),
            Value::Array(_) => Ok(read),
            _ => Err(bad()),
        },
    }
}

/// Applies `patch` to `target`.
pub fn apply(target: &mut Value, patch: Value) {
    match (&mut *target, patch) {
        (Value::Object(members), Value::Object(patch)) => merge(members, patch),
        (Value::Object(_), other) => *target = other,
        (_, mut other) => {
            prune(&mut other);
            *target = other;
        }
    }
}

fn merge(members: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        if value.is_null() {
            members.remove(&key);
        } else {
            apply(members.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Takes the nulls out.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(prune);
        }
        Value::Array(elements) => {
            elements.retain(|element| !element.is_null());
            elements.iter_mut().for_each(prune);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7386, appendix A, but for those that upstream never comes to: it patches objects.
    #[test]
    fn as_the_rfc_has_it() {
        for (mut target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
            (json!({}), json!({"a":[null,{"b":null},1]}), json!({"a":[{},1]})),
            (json!({"a":{}}), json!({"a":[null,1]}), json!({"a":[null,1]})),
        ] {
            apply(&mut target, patch);
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn what_is_no_patch_is_told() {
        for (patch, checked, unchecked) in [
            (
                "{nope",
                "error decoding patch: invalid character 'n' looking for beginning of object key string",
                "Invalid JSON Patch",
            ),
            ("", "error decoding patch: unexpected end of JSON input", "Invalid JSON Patch"),
            ("null", "Invalid JSON Patch", "Invalid JSON Patch"),
            (
                "7",
                "error decoding patch: json: cannot unmarshal number into Go value of type map[string]interface {}",
                "Invalid JSON Patch",
            ),
        ] {
            assert_eq!(parse(patch.as_bytes(), true), Err(Error::Malformed(checked.to_owned())), "{patch}");
            assert_eq!(parse(patch.as_bytes(), false), Err(Error::Malformed(unchecked.to_owned())), "{patch}");
        }
        assert!(parse(b"[1]", true).is_err());
        assert!(parse(b"[1]", false).is_ok());
        let twice = parse(br#"{"data":{"x":"1","x":"2"}}"#, true).map(|read| read.findings);
        assert_eq!(twice, Ok(vec![r#"duplicate field "data.x""#.to_owned()]));
    }
}
