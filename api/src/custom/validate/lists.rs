//! Lists that are sets have no element twice, lists that are maps no key.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::custom::structural::{ListType, Structural};
use crate::field::{Errors, Path};

pub(super) fn validate(object: &Value, schema: &Structural) -> Errors {
    let mut errors = Errors::new();
    below(object, schema, &Path::ROOT, &mut errors);
    errors
}

fn below(value: &Value, schema: &Structural, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(property) = schema.properties.get(name) {
                    below(value, property, &path.child(name), errors);
                } else if let Some(entry) = schema.child(name) {
                    below(value, entry, &path.key(name), errors);
                }
            }
        }
        Value::Array(list) => {
            match schema.list_type {
                Some(ListType::Set) => set(list, path, errors),
                Some(ListType::Map) => keyed(list, schema, path, errors),
                _ => {}
            }
            let Some(items) = &schema.items else { return };
            for (i, element) in list.iter().enumerate() {
                below(element, items, &path.index(i), errors);
            }
        }
        _ => {}
    }
}

fn set(list: &[Value], path: &Path<'_>, errors: &mut Errors) {
    for i in repeated(list.iter()) {
        errors.duplicate(&path.index(i), &list[i]);
    }
}

fn keyed(list: &[Value], schema: &Structural, path: &Path<'_>, errors: &mut Errors) {
    if let Some(i) = list.iter().position(|element| !element.is_null() && !element.is_object()) {
        let rule = "must be an object for an array of list-type map";
        return errors.invalid(&path.index(i), &list[i], rule);
    }
    let keys: Vec<Value> = list.iter().map(|element| Value::Object(key(element, &schema.list_map_keys))).collect();
    for i in repeated(keys.iter()) {
        errors.duplicate(&path.index(i), &keys[i]);
    }
}

fn key(element: &Value, names: &[String]) -> Map<String, Value> {
    names.iter().filter_map(|name| Some((name.clone(), element.get(name)?.clone()))).collect()
}

/// Finds for the elements of a list what they were in the old one, if their keys tell.
pub(in crate::custom) struct Correlation<'a> {
    schema: &'a Structural,
    by_key: Option<HashMap<Map<String, Value>, &'a Value>>,
}

impl<'a> Correlation<'a> {
    pub(in crate::custom) fn new(old: Option<&'a Value>, schema: &'a Structural) -> Self {
        let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let by_key = (schema.list_type == Some(ListType::Map))
            .then(|| old.iter().rev().map(|element| (key(element, &schema.list_map_keys), element)).collect());
        Self { schema, by_key }
    }

    /// What the element was.
    pub(in crate::custom) fn keyed(&self, element: &Value) -> Option<&'a Value> {
        let old = self.by_key.as_ref()?.get(&key(element, &self.schema.list_map_keys)).copied()?;
        (!old.is_null()).then_some(old)
    }
}

/// Whether a value is what it was. Of what the schema does not know nobody can say so.
///
/// Source: `CachedDeepEqual` in `k8s.io/apiserver/pkg/cel/common/equality.go`.
pub(in crate::custom) fn unchanged(old: &Value, new: &Value, schema: &Structural) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && new.iter().all(|(name, value)| {
                    let (Some(old), Some(child)) = (old.get(name), schema.child(name)) else { return false };
                    unchanged(old, value, child)
                })
        }
        (Value::Array(list), Value::Array(elements)) => {
            let (Some(ListType::Map), Some(items)) = (schema.list_type, &schema.items) else { return old == new };
            let correlation = Correlation::new(Some(old), schema);
            let same = |element: &Value| correlation.keyed(element).is_some_and(|old| unchanged(old, element, items));
            list.len() == elements.len() && elements.iter().all(same)
        }
        (old, new) => old == new,
    }
}

/// Where a value stands for the second time; the third is not told.
pub(super) fn repeated<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<usize> {
    let mut seen: HashMap<&Value, usize> = HashMap::new();
    let mut found = Vec::new();
    for (i, value) in values.enumerate() {
        let times = seen.entry(value).or_default();
        *times += 1;
        if *times == 2 {
            found.push(i);
        }
    }
    found
}
