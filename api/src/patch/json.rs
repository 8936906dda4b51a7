//! JSON patch, RFC 6902: a list of operations, all or none of which are applied.
//!
//! Source: `github.com/evanphx/json-patch` version 4, with its habits: negative indices count from the end of a list, what
//! is not there is replaced in an object all the same and copied as null, and the whole document can be replaced but not
//! added.

use std::collections::BTreeSet;
use std::iter;

use serde_json::Value;

use super::{Error, Read, read_value};
use crate::go;
use crate::limits;

/// One operation. What is missing or no text is `None`; that is found when its turn comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    op: Option<String>,
    path: Option<String>,
    from: Option<String>,
    value: Value,
}

/// Reads a patch. When it is `checked` every operation must be as it should, and what is beyond that is found.
///
/// # Errors
/// When it is not a list of operations, or too long a one.
pub fn parse(patch: &[u8], checked: bool) -> Result<Read<Vec<Operation>>, Error> {
    let malformed = |why: String| Error::Malformed(if checked { format!("error decoding patch: {why}") } else { why });
    let Read { patch, mut findings } = read_value(patch).map_err(malformed)?;
    let (whole, one) = if checked {
        ("[]handlers.jsonPatchOp", "handlers.jsonPatchOp")
    } else {
        ("jsonpatch.Patch", "jsonpatch.Operation")
    };
    let unfit = |found: &Value, of: &str| {
        malformed(format!("json: cannot unmarshal {} into Go value of type {of}", go::json_name(found)))
    };
    let elements = match patch {
        Value::Null => Vec::new(),
        Value::Array(elements) => elements,
        other => return Err(unfit(&other, whole)),
    };
    let mut operations = Vec::with_capacity(elements.len());
    for (index, element) in elements.into_iter().enumerate() {
        let mut members = match element {
            Value::Null => serde_json::Map::new(),
            Value::Object(members) => members,
            other => return Err(unfit(&other, one)),
        };
        let mut text = |name: &str| match members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) if !checked => Ok(None),
            Some(other) => {
                let found = go::json_name(&other);
                let field = format!("jsonPatchOp.{name}");
                Err(malformed(format!("json: cannot unmarshal {found} into Go struct field {field} of type string")))
            }
        };
        let (op, path, from) = (text("op")?, text("path")?, text("from")?);
        let value = members.remove("value").unwrap_or_default();
        findings.extend(members.keys().map(|key| format!("unknown field \"[{index}].{key}\"")));
        operations.push(Operation { op, path, from, value });
    }
    let (max, count) = (limits::PATCH_OPERATIONS_MAX, operations.len());
    if count > max {
        return Err(Error::TooMany { max, count });
    }
    let findings = findings.into_iter().take(limits::FINDINGS_MAX).map(|one| format!("json patch {one}")).collect();
    Ok(Read { patch: operations, findings })
}

/// The members of a document that a patch is about; `None` when it may be about all of it.
#[must_use]
pub fn members(patch: &[Operation]) -> Option<BTreeSet<String>> {
    let member = |pointer: &str| {
        let first = pointer.strip_prefix('/')?.split('/').next()?;
        Some(first.replace("~1", "/").replace("~0", "~"))
    };
    patch
        .iter()
        .flat_map(|operation| iter::once(operation.path.as_deref()).chain(operation.from.as_deref().map(Some)))
        .map(|pointer| member(pointer?))
        .collect()
}

/// Applies a patch: the result, or why it can't be applied.
///
/// # Errors
/// When a path is not in the document, or a test fails.
pub fn apply(mut document: Value, patch: &[Operation]) -> Result<Value, Error> {
    let mut work = Work::default();
    for operation in patch {
        operation.apply(&mut document, &mut work).map_err(Error::Inapplicable)?;
    }
    Ok(document)
}

/// What a patch has cost so far, beside being read.
#[derive(Default)]
struct Work {
    copied_bytes: usize,
    moved_elements: usize,
}

impl Work {
    fn copy(&mut self, bytes: usize) -> Result<(), String> {
        self.copied_bytes += bytes;
        let max = limits::PATCH_COPY_BYTES_MAX;
        within(self.copied_bytes, max, || format!("accumulated copy size exceeds the limit of {max} bytes"))
    }

    /// What stands behind an element that is added or removed moves by one.
    fn move_elements(&mut self, elements: usize) -> Result<(), String> {
        self.moved_elements += elements;
        let max = limits::PATCH_MOVED_ELEMENTS_MAX;
        within(self.moved_elements, max, || format!("more than {max} elements of lists are moved"))
    }
}

fn within(work: usize, max: usize, message: impl FnOnce() -> String) -> Result<(), String> {
    if work > max { Err(message()) } else { Ok(()) }
}

impl Operation {
    fn apply(&self, document: &mut Value, work: &mut Work) -> Result<(), String> {
        match self.op.as_deref().unwrap_or("unknown") {
            "add" => Place::find(document, self.path()?)?.add(self.value.clone(), work),
            "remove" => Place::find(document, self.path()?)?.remove(work).map(drop),
            "replace" => self.replace(document),
            "move" => {
                let value = Place::find(document, self.from()?)?.remove(work)?;
                Place::find(document, self.path()?)?.add(value, work)
            }
            "copy" => {
                let value = Place::find(document, self.from()?)?.get()?.cloned().unwrap_or_default();
                work.copy(value.to_string().len())?;
                Place::find(document, self.path()?)?.add(value, work)
            }
            "test" => self.test(document),
            other => Err(format!("Unexpected kind: {other}")),
        }
    }

    fn path(&self) -> Result<&str, String> {
        self.path.as_deref().ok_or_else(|| "operation missing path field: missing value".to_owned())
    }

    fn from(&self) -> Result<&str, String> {
        self.from.as_deref().ok_or_else(|| "operation, missing from field: missing value".to_owned())
    }

    fn replace(&self, document: &mut Value) -> Result<(), String> {
        let path = self.path()?;
        if !path.is_empty() {
            return Place::find(document, path)?.replace(self.value.clone());
        }
        if !self.value.is_object() && !self.value.is_array() {
            return Err("replace operation value must be object or array".to_owned());
        }
        *document = self.value.clone();
        Ok(())
    }

    /// What isn't there is as null.
    fn test(&self, document: &mut Value) -> Result<(), String> {
        let path = self.path()?;
        let is_so = match path {
            "" => *document == self.value,
            path => *Place::find(document, path)?.get()?.unwrap_or(&Value::Null) == self.value,
        };
        if is_so { Ok(()) } else { Err(format!("testing value {path} failed: test failed")) }
    }
}

/// Where a JSON pointer leads to: an object or a list, and a key in it, whether or not there is something.
struct Place<'d> {
    container: &'d mut Value,
    key: String,
    pointer: &'d str,
}

impl<'d> Place<'d> {
    /// What stands before the first slash is passed over.
    fn find(document: &'d mut Value, pointer: &'d str) -> Result<Self, String> {
        let missing = || format!("doc is missing path: {pointer:?}: missing value");
        let unescape = |key: &str| key.replace("~1", "/").replace("~0", "~");
        let (_, keys) = pointer.split_once('/').ok_or_else(missing)?;
        let mut keys = keys.split('/');
        let last = keys.next_back().ok_or_else(missing)?;
        let mut at = document;
        for key in keys {
            at = child_mut(at, &unescape(key))
                .filter(|child| child.is_object() || child.is_array())
                .ok_or_else(missing)?;
        }
        if !at.is_object() && !at.is_array() {
            return Err(missing());
        }
        Ok(Self { container: at, key: unescape(last), pointer })
    }

    fn out_of_range(&self) -> String {
        format!("error in path {:?}: invalid index referenced", self.pointer)
    }

    /// The index that the key is, of a list that has, or will have, `len` elements.
    fn index(&self, len: usize) -> Result<usize, String> {
        index(&self.key, len).ok_or_else(|| self.out_of_range())
    }

    /// What is there; in a list there must be something.
    fn get(&self) -> Result<Option<&Value>, String> {
        match &*self.container {
            Value::Array(elements) => Ok(elements.get(self.index(elements.len())?)),
            container => Ok(container.get(&self.key)),
        }
    }

    fn add(self, value: Value, work: &mut Work) -> Result<(), String> {
        let index = match &*self.container {
            Value::Array(elements) if self.key == "-" => elements.len(),
            // Counted as in the list that it will be.
            Value::Array(elements) => self.index(elements.len() + 1)?,
            _ => 0,
        };
        match self.container {
            Value::Array(elements) => {
                work.move_elements(elements.len() - index)?;
                elements.insert(index, value);
            }
            Value::Object(members) => drop(members.insert(self.key, value)),
            _ => {}
        }
        Ok(())
    }

    /// In an object, what is not there is replaced all the same.
    fn replace(self, value: Value) -> Result<(), String> {
        let index = match &*self.container {
            Value::Array(elements) => self.index(elements.len())?,
            _ => 0,
        };
        match self.container {
            Value::Array(elements) => elements[index] = value,
            Value::Object(members) => drop(members.insert(self.key, value)),
            _ => {}
        }
        Ok(())
    }

    fn remove(self, work: &mut Work) -> Result<Value, String> {
        let index = match &*self.container {
            Value::Array(elements) => self.index(elements.len())?,
            _ => 0,
        };
        match self.container {
            Value::Array(elements) => {
                work.move_elements(elements.len() - index)?;
                Ok(elements.remove(index))
            }
            container => {
                let removed = container.as_object_mut().and_then(|members| members.remove(&self.key));
                removed.ok_or_else(|| format!("Unable to remove nonexistent key: {}: missing value", self.key))
            }
        }
    }
}

fn child_mut<'d>(value: &'d mut Value, key: &str) -> Option<&'d mut Value> {
    match value {
        Value::Array(elements) => {
            let index = index(key, elements.len())?;
            elements.get_mut(index)
        }
        value => value.get_mut(key),
    }
}

/// The index of an element of a list of `len`; -1 is the last. Source: Go's `strconv.Atoi`, which takes signs and zeros.
fn index(key: &str, len: usize) -> Option<usize> {
    let index: i64 = key.parse().ok()?;
    let index = if index < 0 {
        len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(index).ok()?
    };
    (index < len).then_some(index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn patched(document: Value, patch: Value) -> Result<Value, Error> {
        apply(document, &parse(patch.to_string().as_bytes(), true)?.patch)
    }

    #[test]
    fn operations_are_applied() {
        for (document, patch, expected) in [
            (json!({"a":1}), json!([{"op":"add","path":"/b","value":2}]), json!({"a":1,"b":2})),
            (json!({"a":1}), json!([{"op":"add","path":"x/b","value":2}]), json!({"a":1,"b":2})),
            (json!({"a":1}), json!([{"op":"add","path":"/b"}]), json!({"a":1,"b":null})),
            (json!({"a":[1,3]}), json!([{"op":"add","path":"/a/1","value":2}]), json!({"a":[1,2,3]})),
            (json!({"a":[1,3]}), json!([{"op":"add","path":"/a/+01","value":2}]), json!({"a":[1,2,3]})),
            (json!({"a":[1]}), json!([{"op":"add","path":"/a/-","value":2}]), json!({"a":[1,2]})),
            (json!({"a":[1,2]}), json!([{"op":"remove","path":"/a/-1"}]), json!({"a":[1]})),
            (json!({"a":[1,2]}), json!([{"op":"add","path":"/a/-1","value":3}]), json!({"a":[1,2,3]})),
            (json!({"a/b":{"~c":1}}), json!([{"op":"replace","path":"/a~1b/~0c","value":2}]), json!({"a/b":{"~c":2}})),
            (json!({}), json!([{"op":"replace","path":"/a","value":1}]), json!({"a":1})),
            (json!({"a":1}), json!([{"op":"replace","path":"","value":{"b":1}}]), json!({"b":1})),
            (json!({"a":{"b":1}}), json!([{"op":"move","from":"/a/b","path":"/c"}]), json!({"a":{},"c":1})),
            (json!({}), json!([{"op":"copy","from":"/a","path":"/b"}]), json!({"b":null})),
            (
                json!({"a":[1]}),
                json!([{"op":"copy","from":"/a","path":"/b"},{"op":"add","path":"/b/0","value":0}]),
                json!({"a":[1],"b":[0,1]}),
            ),
            (
                json!({"a":1}),
                json!([{"op":"test","path":"/a","value":1},{"op":"test","path":"/x","value":null},{"op":"test","path":"/x"}]),
                json!({"a":1}),
            ),
            (json!({"a":1}), json!(null), json!({"a":1})),
        ] {
            assert_eq!(patched(document, patch.clone()).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn bad_operations_are_refused() {
        let document = json!({"a":{"b":1},"l":[1],"n":null});
        for patch in [
            json!([{"op":"remove","path":"/x"}]),
            json!([{"op":"replace","path":"/x/y","value":1}]),
            json!([{"op":"replace","path":"/l/1","value":1}]),
            json!([{"op":"replace","path":"","value":1}]),
            json!([{"op":"add","path":"/x/y","value":1}]),
            json!([{"op":"add","path":"/n/y","value":1}]),
            json!([{"op":"add","path":"/a/b/c","value":1}]),
            json!([{"op":"add","path":"/l/2","value":1}]),
            json!([{"op":"add","path":"/l/x","value":1}]),
            json!([{"op":"add","path":"","value":{}}]),
            json!([{"op":"remove","path":"/l/-2"}]),
            json!([{"op":"move","from":"/a","path":"/a/b/c"}]),
            json!([{"op":"test","path":"/a/b","value":2}]),
            json!([{"op":"test","path":"/l/1","value":null}]),
            json!([{"op":"remove","path":""}]),
            json!([{"op":"add","path":"x","value":1}]),
            json!([{"op":"grow","path":"/a"}]),
            json!([{"path":"/a"}]),
            json!([{"op":"ADD","path":"/c","value":1}]),
            json!([{"op":"move","path":"/a"}]),
            json!([{"op":"add","value":1}]),
            json!([null]),
        ] {
            assert!(matches!(patched(document.clone(), patch.clone()), Err(Error::Inapplicable(_))), "{patch}");
        }
    }

    #[test]
    fn what_is_no_patch_is_told() {
        for (patch, checked, unchecked) in [
            (
                "{}",
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
                Some("json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
            ),
            (
                "[1]",
                "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
                Some("json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
            ),
            (
                r#"[{"op":1}]"#,
                "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
                None,
            ),
            ("[", "error decoding patch: unexpected end of JSON input", Some("unexpected end of JSON input")),
        ] {
            assert_eq!(parse(patch.as_bytes(), true), Err(Error::Malformed(checked.to_owned())), "{patch}");
            let told = parse(patch.as_bytes(), false).err();
            assert_eq!(told, unchecked.map(|why| Error::Malformed(why.to_owned())), "{patch}");
        }
        let many = Value::from(vec![json!({"op":"test","path":"/a"}); 10_001]);
        assert_eq!(patched(json!({}), many), Err(Error::TooMany { max: 10_000, count: 10_001 }));
        let odd = parse(br#"[{"op":"test","path":"/a","path":"/b","foo":1}]"#, true).unwrap();
        assert_eq!(odd.findings, [r#"json patch duplicate field "[0].path""#, r#"json patch unknown field "[0].foo""#]);
    }

    #[test]
    fn copies_can_not_grow_without_bound() {
        let doubling: Vec<Value> = (0..40).map(|_| json!({"op":"copy","from":"/a","path":"/a/-"})).collect();
        assert!(patched(json!({"a":["xxxxxxxxxxxxxxxx"]}), Value::Array(doubling)).is_err());
    }

    /// Ten thousand elements put before a million others took minutes.
    #[test]
    fn elements_are_moved_within_a_limit() {
        let push = json!({"op": "add", "path": "/x/0", "value": 1});
        let operations = |count| Value::from(vec![push.clone(); count]);
        assert!(patched(json!({"x": vec![1; 1_000]}), operations(1_000)).is_ok());
        let error = patched(json!({"x": vec![1; 1_000_000]}), operations(1_000)).unwrap_err();
        assert!(error.to_string().ends_with("more than 50000000 elements of lists are moved"), "{error}");
    }
}
