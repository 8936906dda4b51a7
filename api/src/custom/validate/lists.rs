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

/// Finds for the elements of a list what they were in the old one: by their keys or by their place.
pub(in crate::custom) struct Correlation<'a> {
    schema: &'a Structural,
    old: &'a [Value],
    by_key: Option<HashMap<Map<String, Value>, &'a Value>>,
}

impl<'a> Correlation<'a> {
    pub(in crate::custom) fn new(old: Option<&'a Value>, schema: &'a Structural) -> Self {
        let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let by_key = (schema.list_type == Some(ListType::Map))
            .then(|| old.iter().rev().map(|element| (key(element, &schema.list_map_keys), element)).collect());
        Self { schema, old, by_key }
    }

    /// What the element of a place was, which without keys may be another one.
    pub(in crate::custom) fn placed(&self, element: &Value, at: usize) -> Option<&'a Value> {
        if self.schema.list_type.is_none() { self.old.get(at) } else { self.keyed(element) }
    }

    /// What the element was, if its keys tell.
    pub(in crate::custom) fn keyed(&self, element: &Value) -> Option<&'a Value> {
        self.by_key.as_ref()?.get(&key(element, &self.schema.list_map_keys)).copied()
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
