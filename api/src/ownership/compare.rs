//! What a change does: the fields that it adds, removes and gives other values.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `compareWalker`.

use std::borrow::Cow;

use super::Error;
use super::element::step_of;
use super::request::Reset;
use super::set::Set;
use super::step::Step;
use super::tree::Tree;
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
    /// Leaves out what a write cannot change.
    pub(super) fn filter(&mut self, reset: Reset) {
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            reset.filter(set);
        }
    }

    fn add(&mut self, step: Step<'v>, change: Changes, below: Comparison<'v>) {
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
pub(super) fn compare<'v, T: Tree<'v>>(old: T, new: T, type_: Type<'v>) -> Result<Comparison<'v>, Error> {
    let mut comparison = Comparison::default();
    walk(Some(old), Some(new), type_, &mut comparison)?;
    Ok(comparison)
}

/// Adds what changed below a field to `below`; says what became of the field itself.
fn walk<'v, T: Tree<'v>>(
    old: Option<T>,
    new: Option<T>,
    type_: Type<'v>,
    below: &mut Comparison<'v>,
) -> Result<Changes, Error> {
    let changes = Changes { removed: new.is_none(), modified: false, added: old.is_none() };
    match (old, new) {
        (Some(old), Some(new)) if old.is_same_text(new) => Ok(changes),
        (Some(old), Some(new)) => Ok(Changes { modified: walk_both(old, new, type_, below)?, ..changes }),
        (Some(old), None) => walk_one(old, type_, &mut below.removed).map(|()| changes),
        (None, Some(new)) => walk_one(new, type_, &mut below.added).map(|()| changes),
        (None, None) => Ok(changes),
    }
}

/// Adds everything below what only one side has.
fn walk_one<'v, T: Tree<'v>>(value: T, type_: Type<'v>, below: &mut Set<'v>) -> Result<(), Error> {
    match type_.atom().taken(Some(value.form())) {
        Some(Taken::Map(map)) if !map.is_atomic => {
            let mut at = 0;
            for (name, child) in value.entries() {
                let mut deeper = Set::default();
                if let Some(type_) = map.child_from(&name, &mut at) {
                    walk_one(child, type_, &mut deeper)?;
                }
                below.add(Step::Field(name), true, deeper);
            }
        }
        Some(Taken::List(list)) if list.list_type != ListType::Atomic => {
            for (step, same) in &elements(&list, Some(value))? {
                let mut deeper = Set::default();
                if let [only] = same[..] {
                    walk_one(only, list.element, &mut deeper)?;
                }
                below.add(step.clone(), true, deeper);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Adds what changed below; says whether the field itself has another value, which only leaves do.
fn walk_both<'v, T: Tree<'v>>(old: T, new: T, type_: Type<'v>, below: &mut Comparison<'v>) -> Result<bool, Error> {
    let atom = type_.atom();
    let (of_old, of_new) = (atom.taken(Some(old.form())), atom.taken(Some(new.form())));
    let mut look = |taken: Option<Taken<'v>>| -> Result<bool, Error> {
        let is_leaf = match taken {
            Some(Taken::Map(map)) => compare_maps(&map, old, new, below)?,
            Some(Taken::List(list)) => compare_lists(&list, old, new, below)?,
            Some(Taken::Scalar(_)) | None => true,
        };
        Ok(is_leaf && !old.same(new))
    };
    match (of_old, of_new) {
        // A value of another form than before: each is looked at as what it is.
        (Some(a), Some(b)) if std::mem::discriminant(&a) != std::mem::discriminant(&b) => {
            Ok(look(of_old)? | look(of_new)?)
        }
        _ => look(of_new),
    }
}

/// Compares entry by entry. Says whether the map is instead one leaf: it is, if it is atomic, and if it is empty on both
/// sides, so that empty and null can be told apart.
fn compare_maps<'v, T: Tree<'v>>(map: &Map<'v>, old: T, new: T, below: &mut Comparison<'v>) -> Result<bool, Error> {
    if map.is_atomic || (old.entries().next().is_none() && new.entries().next().is_none()) {
        return Ok(true);
    }
    let mut at = 0;
    let mut entry = |name: Cow<'v, str>, before: Option<T>, after: Option<T>| -> Result<(), Error> {
        let mut deeper = Comparison::default();
        let changes = match map.child_from(&name, &mut at) {
            Some(type_) => walk(before, after, type_, &mut deeper)?,
            None => Changes { removed: after.is_none(), modified: false, added: before.is_none() },
        };
        below.add(Step::Field(name), changes, deeper);
        Ok(())
    };
    // Both are in the same order, if the codec wrote them: then they are gone through side by side.
    let (mut olds, mut news) = (old.entries().peekable(), new.entries().peekable());
    loop {
        match (olds.peek(), news.peek()) {
            (None, None) => return Ok(false),
            (Some((name, _)), Some((other, _))) if name == other => {
                if let (Some((name, before)), Some((_, after))) = (olds.next(), news.next()) {
                    entry(name, Some(before), Some(after))?;
                }
            }
            (Some((name, _)), _) if new.get(name).is_none() => {
                olds.next().map_or(Ok(()), |(name, before)| entry(name, Some(before), None))?;
            }
            (_, Some((name, _))) if old.get(name).is_none() => {
                news.next().map_or(Ok(()), |(name, after)| entry(name, None, Some(after)))?;
            }
            // They are not in the same order.
            (_, Some(_)) | (Some(_), None) => {
                for (name, before) in olds {
                    let after = new.get(&name);
                    entry(name, Some(before), after)?;
                }
                return Ok(false);
            }
        }
    }
}

/// The elements of a list with the steps to them, sorted; together those that can't be told apart.
type Elements<'v, T> = Vec<(Step<'v>, Vec<T>)>;

fn elements<'v, T: Tree<'v>>(list: &List<'v>, value: Option<T>) -> Result<Elements<'v, T>, Error> {
    let mut all: Elements<'v, T> = Vec::new();
    for item in value.into_iter().flat_map(Tree::elements) {
        all.push((step_of(list, item)?, vec![item]));
    }
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all.dedup_by(|(later, items), (step, same)| {
        let is_same = later == step;
        if is_same {
            same.append(items);
        }
        is_same
    });
    Ok(all)
}

/// As [`compare_maps`], for lists.
fn compare_lists<'v, T: Tree<'v>>(list: &List<'v>, old: T, new: T, below: &mut Comparison<'v>) -> Result<bool, Error> {
    let is_empty = |side: T| side.elements().next().is_none();
    if list.list_type == ListType::Atomic || (is_empty(old) && is_empty(new)) {
        return Ok(true);
    }
    let mut olds = elements(list, Some(old))?.into_iter().peekable();
    let mut news = elements(list, Some(new))?.into_iter().peekable();
    loop {
        let (step, before, after) = match (olds.peek(), news.peek()) {
            (None, None) => return Ok(false),
            (Some((a, _)), Some((b, _))) if a == b => {
                let (Some((step, before)), Some((_, after))) = (olds.next(), news.next()) else { return Ok(false) };
                (step, before, after)
            }
            (Some((a, _)), other) if other.is_none_or(|(b, _)| a < b) => {
                let Some((step, before)) = olds.next() else { return Ok(false) };
                (step, before, Vec::new())
            }
            _ => {
                let Some((step, after)) = news.next() else { return Ok(false) };
                (step, Vec::new(), after)
            }
        };
        let mut deeper = Comparison::default();
        let mut changes = Changes::default();
        match (&before[..], &after[..]) {
            ([_] | [], [_] | []) => {
                changes = walk(before.first().copied(), after.first().copied(), list.element, &mut deeper)?;
            }
            // Elements that can't be told apart are one leaf together.
            ([_, _, ..], [_, _, ..]) => {
                changes.modified = before.len() != after.len() || before.iter().zip(&after).any(|(a, b)| !a.same(*b));
            }
            ([_, _, ..], rest) => {
                if let [only] = rest {
                    changes = walk(None, Some(*only), list.element, &mut deeper)?;
                }
                changes.removed = true;
            }
            (rest, _) => {
                if let [only] = rest {
                    changes = walk(Some(*only), None, list.element, &mut deeper)?;
                }
                changes.added = true;
            }
        }
        below.add(step, changes, deeper);
    }
}
