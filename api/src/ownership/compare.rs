//! What a change does: the fields that it adds, removes and gives other values.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `compareWalker`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::Error;
use super::element::{equal, step_of};
use super::set::Set;
use super::step::Step;
use super::types::{List, Map, Taken, Type};
use crate::schema::ListType;

/// The difference between two values. No field is in more than one of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison<'v> {
    pub removed: Set<'v>,
    pub modified: Set<'v>,
    pub added: Set<'v>,
}

impl<'v> Comparison<'v> {
    fn add(&mut self, step: &Step<'v>, change: Changes, below: Comparison<'v>) {
        let sets = [
            (&mut self.removed, change.removed, below.removed),
            (&mut self.modified, change.modified, below.modified),
            (&mut self.added, change.added, below.added),
        ];
        for (set, is_member, below) in sets {
            if is_member || !below.is_empty() {
                set.add(step.clone(), is_member, below);
            }
        }
    }
}

/// What became of one field.
#[derive(Clone, Copy, Debug, Default)]
struct Changes {
    removed: bool,
    modified: bool,
    added: bool,
}

/// Compares two values of a type.
///
/// # Errors
/// When an element of a list cannot be told apart.
pub(super) fn compare<'v>(old: &'v Value, new: &'v Value, type_: Type<'v>) -> Result<Comparison<'v>, Error> {
    let mut comparison = Comparison::default();
    walk(Some(old), Some(new), type_, &mut comparison)?;
    Ok(comparison)
}

type Side<'v> = Option<&'v Value>;

/// Adds what changed below a field to `below`; says what became of the field itself.
fn walk<'v>(old: Side<'v>, new: Side<'v>, type_: Type<'v>, below: &mut Comparison<'v>) -> Result<Changes, Error> {
    let atom = type_.atom();
    let (of_old, of_new) = (atom.taken(old), atom.taken(new));
    let mut changes = Changes::default();
    let mut is_leaf = false;
    let mut look = |taken: Option<Taken<'v>>, below: &mut Comparison<'v>| -> Result<(), Error> {
        is_leaf = match taken {
            Some(Taken::Map(map)) => compare_maps(&map, old, new, below)?,
            Some(Taken::List(list)) => compare_lists(&list, old, new, below)?,
            Some(Taken::Scalar(_)) | None => true,
        };
        if is_leaf && let (Some(old), Some(new)) = (old, new) {
            changes.modified |= !equal(old, new);
        }
        Ok(())
    };
    match (&of_old, &of_new) {
        // A value of another form than before: each is looked at as what it is.
        (Some(a), Some(b))
            if old.is_some() && new.is_some() && std::mem::discriminant(a) != std::mem::discriminant(b) =>
        {
            look(of_old, below)?;
            look(of_new, below)?;
        }
        _ if new.is_none() => look(of_old, below)?,
        _ => look(of_new, below)?,
    }
    changes.added = old.is_none();
    changes.removed = new.is_none();
    Ok(changes)
}

/// Compares entry by entry. Says whether the map is instead one leaf: it is, if it is atomic, and if it is empty on both
/// sides, so that empty and null can be told apart.
fn compare_maps<'v>(map: &Map<'v>, old: Side<'v>, new: Side<'v>, below: &mut Comparison<'v>) -> Result<bool, Error> {
    let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    if map.is_atomic || (old.is_none_or(serde_json::Map::is_empty) && new.is_none_or(serde_json::Map::is_empty)) {
        return Ok(true);
    }
    let mut entry = |name: &'v str, before: Side<'v>, after: Side<'v>| -> Result<(), Error> {
        let mut deeper = Comparison::default();
        let changes = match map.child(name) {
            Some(type_) => walk(before, after, type_, &mut deeper)?,
            None => Changes { removed: after.is_none(), modified: false, added: before.is_none() },
        };
        below.add(&Step::Field(Cow::Borrowed(name)), changes, deeper);
        Ok(())
    };
    for (name, before) in old.into_iter().flatten() {
        entry(name, Some(before), new.and_then(|new| new.get(name)))?;
    }
    for (name, after) in new.into_iter().flatten() {
        if old.is_none_or(|old| !old.contains_key(name)) {
            entry(name, None, Some(after))?;
        }
    }
    Ok(false)
}

/// As [`compare_maps`], for lists.
fn compare_lists<'v>(list: &List<'v>, old: Side<'v>, new: Side<'v>, below: &mut Comparison<'v>) -> Result<bool, Error> {
    let items = |side: Side<'v>| side.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (old, new) = (items(old), items(new));
    if list.list_type == ListType::Atomic || (old.is_empty() && new.is_empty()) {
        return Ok(true);
    }
    let mut all: BTreeMap<Step<'v>, (Vec<&'v Value>, Vec<&'v Value>)> = BTreeMap::new();
    for item in old {
        all.entry(step_of(list, item)?).or_default().0.push(item);
    }
    for item in new {
        all.entry(step_of(list, item)?).or_default().1.push(item);
    }
    for (step, (before, after)) in all {
        let mut deeper = Comparison::default();
        let mut changes = Changes::default();
        match (&*before, &*after) {
            ([_] | [], [_] | []) => {
                changes = walk(before.first().copied(), after.first().copied(), list.element, &mut deeper)?;
            }
            // Elements that can't be told apart are one leaf together.
            ([_, _, ..], [_, _, ..]) => {
                changes.modified = before.len() != after.len() || before.iter().zip(&after).any(|(a, b)| !equal(a, b));
            }
            ([_, _, ..], rest) => {
                if let [only] = rest {
                    changes = walk(None, Some(only), list.element, &mut deeper)?;
                }
                changes.removed = true;
            }
            (rest, _) => {
                if let [only] = rest {
                    changes = walk(Some(only), None, list.element, &mut deeper)?;
                }
                changes.added = true;
            }
        }
        below.add(&step, changes, deeper);
    }
    Ok(false)
}
