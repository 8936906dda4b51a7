//! JSON patch, RFC 6902: a list of operations, all or none of which are applied.
//!
//! Source: `github.com/evanphx/json-patch`, which also counts negative indices from the end of a list.

use serde::Deserialize;
use serde_json::Value;

use super::Error;
use crate::limits;

/// One operation.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    Add {
        path: String,
        #[serde(default)]
        value: Value,
    },
    Remove {
        path: String,
    },
    Replace {
        path: String,
        #[serde(default)]
        value: Value,
    },
    Move {
        from: String,
        path: String,
    },
    Copy {
        from: String,
        path: String,
    },
    Test {
        path: String,
        #[serde(default)]
        value: Value,
    },
}

/// Reads a patch.
///
/// # Errors
/// When it is not a list of operations, or too long a one.
pub fn parse(patch: &[u8]) -> Result<Vec<Operation>, Error> {
    let operations: Vec<Operation> =
        serde_json::from_slice(patch).map_err(|e| Error::Malformed(format!("error decoding patch: {e}")))?;
    if operations.len() > limits::PATCH_OPERATIONS_MAX {
        let max = limits::PATCH_OPERATIONS_MAX;
        return Err(Error::Malformed(format!("the allowed maximum operations in a JSON patch is {max}")));
    }
    Ok(operations)
}

/// Applies a patch: the result, or why it can't be applied.
///
/// # Errors
/// When a path is not in the document, or a test fails.
pub fn apply(mut document: Value, patch: &[Operation]) -> Result<Value, Error> {
    let mut work = Work::default();
    for operation in patch {
        apply_one(&mut document, operation, &mut work)?;
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
    fn copy(&mut self, bytes: usize) -> Result<(), Error> {
        self.copied_bytes += bytes;
        let max = limits::PATCH_COPY_BYTES_MAX;
        within(self.copied_bytes, max, || format!("accumulated copy size exceeds the limit of {max} bytes"))
    }

    /// What stands behind an element that is added or removed moves by one.
    fn move_elements(&mut self, elements: usize) -> Result<(), Error> {
        self.moved_elements += elements;
        let max = limits::PATCH_MOVED_ELEMENTS_MAX;
        within(self.moved_elements, max, || format!("more than {max} elements of lists are moved"))
    }
}

fn within(work: usize, max: usize, message: impl FnOnce() -> String) -> Result<(), Error> {
    if work > max { Err(Error::Inapplicable(message())) } else { Ok(()) }
}

fn apply_one(document: &mut Value, operation: &Operation, work: &mut Work) -> Result<(), Error> {
    match operation {
        Operation::Add { path, value } => add(document, path, value.clone(), work),
        Operation::Remove { path } => remove(document, path, work).map(drop),
        Operation::Replace { path, value } => replace(document, path, value.clone()),
        Operation::Move { from, path } => {
            if path.strip_prefix(from.as_str()).is_some_and(|rest| rest.starts_with('/')) {
                return Err(Error::Inapplicable(format!("unable to move {from:?} into itself")));
            }
            let value = remove(document, from, work)?;
            add(document, path, value, work)
        }
        Operation::Copy { from, path } => {
            let value = get_mut(document, from)?.clone();
            work.copy(value.to_string().len())?;
            add(document, path, value, work)
        }
        Operation::Test { path, value } => match get_mut(document, path) {
            Ok(found) if found == value => Ok(()),
            // What isn't there is as null.
            Err(_) if value.is_null() => Ok(()),
            _ => Err(Error::Inapplicable(format!("testing value {path} failed: test failed"))),
        },
    }
}

/// The keys of a JSON pointer, unescaped.
fn keys(pointer: &str) -> Result<Vec<String>, Error> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest =
        pointer.strip_prefix('/').ok_or_else(|| Error::Inapplicable(format!("{pointer:?} is no JSON pointer")))?;
    Ok(rest.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
}

fn missing(pointer: &str) -> Error {
    Error::Inapplicable(format!("missing path {pointer:?}: missing value"))
}

fn get_mut<'d>(document: &'d mut Value, pointer: &str) -> Result<&'d mut Value, Error> {
    let mut at = document;
    for key in keys(pointer)? {
        at = child_mut(at, &key).ok_or_else(|| missing(pointer))?;
    }
    Ok(at)
}

fn child_mut<'d>(value: &'d mut Value, key: &str) -> Option<&'d mut Value> {
    match value {
        Value::Object(members) => members.get_mut(key),
        Value::Array(elements) => {
            let index = index(key, elements.len())?;
            elements.get_mut(index)
        }
        _ => None,
    }
}

/// The index of an element of a list of `len`; -1 is the last.
fn index(key: &str, len: usize) -> Option<usize> {
    if key.starts_with('+') || (key.len() > 1 && key.starts_with('0')) {
        return None;
    }
    match key.strip_prefix('-') {
        Some(back) => len.checked_sub(back.parse().ok()?),
        None => key.parse().ok(),
    }
}

/// The container that a pointer's last key is in, and that key.
fn parent<'d>(document: &'d mut Value, pointer: &str) -> Result<(&'d mut Value, String), Error> {
    let mut keys = keys(pointer)?;
    let last = keys.pop().ok_or_else(|| missing(pointer))?;
    let mut at = document;
    for key in keys {
        at = child_mut(at, &key).ok_or_else(|| missing(pointer))?;
    }
    Ok((at, last))
}

fn add(document: &mut Value, pointer: &str, value: Value, work: &mut Work) -> Result<(), Error> {
    if pointer.is_empty() {
        *document = value;
        return Ok(());
    }
    let (parent, key) = parent(document, pointer)?;
    match parent {
        Value::Object(members) => {
            members.insert(key, value);
        }
        Value::Array(elements) if key == "-" => elements.push(value),
        Value::Array(elements) => {
            // Counted from the end of the list as it will be.
            let len = if key.starts_with('-') { elements.len() + 1 } else { elements.len() };
            let index = index(&key, len).filter(|i| *i <= elements.len()).ok_or_else(|| missing(pointer))?;
            work.move_elements(elements.len() - index)?;
            elements.insert(index, value);
        }
        _ => return Err(missing(pointer)),
    }
    Ok(())
}

/// Source: in an object, what is not there is replaced all the same.
fn replace(document: &mut Value, pointer: &str, value: Value) -> Result<(), Error> {
    if !pointer.is_empty()
        && let (Value::Object(members), key) = parent(document, pointer)?
    {
        members.insert(key, value);
        return Ok(());
    }
    *get_mut(document, pointer)? = value;
    Ok(())
}

fn remove(document: &mut Value, pointer: &str, work: &mut Work) -> Result<Value, Error> {
    let (parent, key) = parent(document, pointer)?;
    match parent {
        Value::Object(members) => members.remove(&key).ok_or_else(|| missing(pointer)),
        Value::Array(elements) => {
            let index = index(&key, elements.len()).filter(|i| *i < elements.len()).ok_or_else(|| missing(pointer))?;
            work.move_elements(elements.len() - index)?;
            Ok(elements.remove(index))
        }
        _ => Err(missing(pointer)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn patched(document: Value, patch: Value) -> Result<Value, Error> {
        apply(document, &parse(patch.to_string().as_bytes())?)
    }

    #[test]
    fn operations_are_applied() {
        for (document, patch, expected) in [
            (json!({"a":1}), json!([{"op":"add","path":"/b","value":2}]), json!({"a":1,"b":2})),
            (json!({"a":[1,3]}), json!([{"op":"add","path":"/a/1","value":2}]), json!({"a":[1,2,3]})),
            (json!({"a":[1]}), json!([{"op":"add","path":"/a/-","value":2}]), json!({"a":[1,2]})),
            (json!({"a":[1,2]}), json!([{"op":"remove","path":"/a/-1"}]), json!({"a":[1]})),
            (json!({"a":[1,2]}), json!([{"op":"add","path":"/a/-1","value":3}]), json!({"a":[1,2,3]})),
            (json!({"a/b":{"~c":1}}), json!([{"op":"replace","path":"/a~1b/~0c","value":2}]), json!({"a/b":{"~c":2}})),
            (json!({}), json!([{"op":"replace","path":"/a","value":1}]), json!({"a":1})),
            (json!({"a":{"b":1}}), json!([{"op":"move","from":"/a/b","path":"/c"}]), json!({"a":{},"c":1})),
            (
                json!({"a":[1]}),
                json!([{"op":"copy","from":"/a","path":"/b"},{"op":"add","path":"/b/0","value":0}]),
                json!({"a":[1],"b":[0,1]}),
            ),
            (
                json!({"a":1}),
                json!([{"op":"test","path":"/a","value":1},{"op":"test","path":"/x","value":null}]),
                json!({"a":1}),
            ),
            (json!(1), json!([{"op":"add","path":"","value":{"a":1}}]), json!({"a":1})),
        ] {
            assert_eq!(patched(document, patch).unwrap(), expected);
        }
    }

    #[test]
    fn bad_operations_are_refused() {
        let document = json!({"a":{"b":1},"l":[1]});
        for patch in [
            json!([{"op":"remove","path":"/x"}]),
            json!([{"op":"replace","path":"/x/y","value":1}]),
            json!([{"op":"replace","path":"/l/1","value":1}]),
            json!([{"op":"add","path":"/x/y","value":1}]),
            json!([{"op":"add","path":"/l/2","value":1}]),
            json!([{"op":"add","path":"/l/01","value":1}]),
            json!([{"op":"remove","path":"/l/-2"}]),
            json!([{"op":"move","from":"/a","path":"/a/b/c"}]),
            json!([{"op":"test","path":"/a/b","value":2}]),
            json!([{"op":"remove","path":""}]),
            json!([{"op":"add","path":"x","value":1}]),
        ] {
            assert!(matches!(patched(document.clone(), patch.clone()), Err(Error::Inapplicable(_))), "{patch}");
        }
        for patch in [json!({}), json!([{"op":"grow","path":"/a"}]), json!([{"op":"move","path":"/a"}])] {
            assert!(matches!(patched(document.clone(), patch.clone()), Err(Error::Malformed(_))), "{patch}");
        }
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
