//! The set of the fields that a value has.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `toFieldSetWalker`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::Error;
use super::element::step_of;
use super::set::Set;
use super::step::Step;
use super::tree::Tree as _;
use super::types::{List, Taken, Type};
use crate::schema::ListType;

/// Every field and element that a value of this type mentions.
///
/// # Errors
/// When an element of a list cannot be told apart.
pub(super) fn fields_of<'v>(value: &'v Value, type_: Type<'v>) -> Result<Set<'v>, Error> {
    let mut set = Set::default();
    walk(value, type_, &mut set)?;
    Ok(set)
}

/// Adds what is below a value to `below`; says whether the value itself is a leaf.
fn walk<'v>(value: &'v Value, type_: Type<'v>, below: &mut Set<'v>) -> Result<bool, Error> {
    match type_.atom().taken(Some(value.form())) {
        None => Ok(false),
        Some(Taken::Scalar(_)) => Ok(true),
        Some(Taken::List(list)) if list.list_type == ListType::Atomic => Ok(true),
        Some(Taken::Map(map)) if map.is_atomic => Ok(true),
        Some(Taken::List(list)) => match value {
            Value::Array(items) => elements(&list, items, below).map(|()| false),
            _ => Ok(false),
        },
        Some(Taken::Map(map)) => {
            for (name, child) in value.as_object().into_iter().flatten() {
                let field = map.field(name);
                let mut deeper = Set::default();
                let is_leaf = match field.or_else(|| map.child(name)) {
                    Some(type_) => walk(child, type_, &mut deeper)?,
                    None => true,
                };
                // An entry of a map is there by itself; a field of a struct is by what is in it.
                let is_empty = child.is_null() || child.as_object().is_some_and(serde_json::Map::is_empty);
                below.add(Step::Field(Cow::Borrowed(name)), is_leaf || is_empty || field.is_none(), deeper);
            }
            Ok(false)
        }
    }
}

fn elements<'v>(list: &List<'v>, items: &'v [Value], below: &mut Set<'v>) -> Result<(), Error> {
    let mut count: BTreeMap<Step<'v>, (usize, &'v Value)> = BTreeMap::new();
    for item in items {
        count.entry(step_of(list, item)?).or_insert((0, item)).0 += 1;
    }
    for (step, (times, item)) in count {
        let mut deeper = Set::default();
        // Of elements that can't be told apart only that they are there is known.
        if times == 1 {
            walk(item, list.element, &mut deeper)?;
        }
        below.add(step, true, deeper);
    }
    Ok(())
}
