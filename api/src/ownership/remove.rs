//! A value without some of its fields and elements.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `removingWalker`.

use serde_json::{Map as Object, Value};

use super::element::step_of;
use super::set::Set;
use super::step::Step;
use super::tree::Tree as _;
use super::types::{Taken, Type};
use crate::schema::ListType;

/// Takes fields out of a value. A map or list that nothing is left of is null.
pub(super) fn remove(value: Value, fields: &Set<'_>, type_: Type<'_>) -> Value {
    let taken = type_.atom().taken(Some((&value).form()));
    match (taken, value) {
        (Some(Taken::Map(map)), Value::Object(object)) if !map.is_atomic => {
            let mut left = Object::new();
            for (name, child) in object {
                let Some(node) = fields.get(&Step::Field((&*name).into())) else {
                    left.insert(name, child);
                    continue;
                };
                if !node.is_member {
                    let child = match map.child(&name) {
                        Some(type_) => remove(child, &node.below, type_),
                        None => child,
                    };
                    left.insert(name, child);
                }
            }
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        (Some(Taken::List(list)), Value::Array(items)) if list.list_type != ListType::Atomic => {
            let mut left = Vec::with_capacity(items.len());
            for item in items {
                let node = step_of(&list, &item).ok().and_then(|step| fields.get(&step));
                match node.map(|node| (node.is_member, &node.below)) {
                    None => left.push(item),
                    Some((true, _)) => {}
                    Some((false, below)) => left.push(remove(item, below, list.element)),
                }
            }
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (Some(Taken::Scalar(_)), value) => value,
        // What is one leaf goes as a whole, or not at all.
        (_, value) if fields.is_empty() => value,
        _ => Value::Null,
    }
}
