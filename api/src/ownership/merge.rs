//! An applied configuration laid over an object.
//!
//! Nothing is removed. What both say is as the configuration says it; the elements of a list are in the configuration's
//! order, those that it doesn't name between them where they were.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `mergingWalker`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Object, Value};

use super::Error;
use super::element::step_of;
use super::step::Step;
use super::tree::Tree;
use super::types::{List, Map, Taken, Type};
use crate::schema::ListType;

/// Lays `applied` over `live`.
///
/// # Errors
/// When an element of a list cannot be told apart, or the configuration has one twice.
pub(super) fn merge(live: &Value, applied: &Value, type_: Type<'_>) -> Result<Value, Error> {
    Ok(walk(Some(live), Some(applied), type_)?.unwrap_or_default())
}

type Side<'v> = Option<&'v Value>;

/// The merged value, if there is one.
fn walk<'v>(live: Side<'v>, applied: Side<'v>, type_: Type<'v>) -> Result<Option<Value>, Error> {
    let atom = type_.atom();
    let taken = atom.taken(applied.or(live).map(Tree::form));
    let leaf = || Ok(applied.or(live).cloned());
    match taken {
        Some(Taken::Map(map)) => {
            let (old, new) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
            if map.is_atomic || (old.is_none_or(Object::is_empty) && new.is_none_or(Object::is_empty)) {
                return leaf();
            }
            let merged = merge_maps(&map, old, new)?;
            Ok((!merged.is_empty()).then_some(Value::Object(merged)))
        }
        Some(Taken::List(list)) => {
            let (old, new) = (live.and_then(Value::as_array), applied.and_then(Value::as_array));
            if list.list_type == ListType::Atomic || (old.is_none_or(Vec::is_empty) && new.is_none_or(Vec::is_empty)) {
                return leaf();
            }
            let merged = merge_lists(&list, old.map_or(&[], Vec::as_slice), new.map_or(&[], Vec::as_slice))?;
            Ok((!merged.is_empty()).then_some(Value::Array(merged)))
        }
        Some(Taken::Scalar(_)) | None => leaf(),
    }
}

fn merge_maps<'v>(
    map: &Map<'v>,
    live: Option<&'v Object<String, Value>>,
    applied: Option<&'v Object<String, Value>>,
) -> Result<Object<String, Value>, Error> {
    let mut merged = Object::new();
    let mut entry = |name: &'v String, old: Side<'v>, new: Side<'v>| -> Result<(), Error> {
        let value = match map.child(name) {
            Some(type_) => walk(old, new, type_)?,
            None => new.or(old).cloned(),
        };
        merged.extend(value.map(|value| (name.clone(), value)));
        Ok(())
    };
    for (name, old) in live.into_iter().flatten() {
        entry(name, Some(old), applied.and_then(|applied| applied.get(name)))?;
    }
    for (name, new) in applied.into_iter().flatten() {
        if live.is_none_or(|live| !live.contains_key(name)) {
            entry(name, None, Some(new))?;
        }
    }
    Ok(merged)
}

fn merge_lists<'v>(list: &List<'v>, live: &'v [Value], applied: &'v [Value]) -> Result<Vec<Value>, Error> {
    let new = steps(list, applied)?;
    let old = steps(list, live)?;
    let mut new_values: BTreeMap<&Step<'v>, &'v Value> = BTreeMap::new();
    for (step, value) in new.iter().zip(applied) {
        if new_values.insert(step, value).is_some() {
            return Err(Error::new(format!("duplicate entries for key {step}")));
        }
    }
    // Of elements that the object has twice none is merged with.
    let mut old_values: BTreeMap<&Step<'v>, &'v Value> = BTreeMap::new();
    for (step, value) in old.iter().zip(live) {
        old_values.entry(step).and_modify(|twice| *twice = &Value::Null).or_insert(value);
    }
    let both = |step: &Step<'v>| walk(old_values.get(step).copied(), new_values.get(step).copied(), list.element);
    let mut shared = new.iter().filter(|step| old_values.contains_key(step));
    let mut next_shared = shared.next();
    let mut done: BTreeSet<&Step<'v>> = BTreeSet::new();
    let mut merged = Vec::with_capacity(old.len().max(new.len()));
    let (mut o, mut n) = (0, 0);
    while o < old.len() || n < new.len() {
        if let (Some(before), Some(after)) = (old.get(o), new.get(n)) {
            if before == after {
                done.insert(before);
                merged.extend(both(before)?);
                (o, n, next_shared) = (o + 1, n + 1, shared.next());
                continue;
            }
            // It is in both, and its turn comes later.
            if new_values.contains_key(before) && next_shared.is_some_and(|next| next != before) {
                o += 1;
                continue;
            }
        }
        if let Some(before) = old.get(o) {
            if !new_values.contains_key(before) {
                merged.extend(walk(Some(&live[o]), None, list.element)?);
                o += 1;
                continue;
            }
            if done.contains(before) {
                o += 1;
            }
        }
        if let Some(after) = new.get(n) {
            done.insert(after);
            merged.extend(both(after)?);
            n += 1;
            if next_shared == Some(after) {
                next_shared = shared.next();
            }
        }
    }
    Ok(merged)
}

fn steps<'v>(list: &List<'v>, items: &'v [Value]) -> Result<Vec<Step<'v>>, Error> {
    let step = |(i, item)| step_of(list, item).map_err(|error: Error| error.at_element(i));
    items.iter().enumerate().map(step).collect()
}
