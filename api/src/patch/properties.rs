//! Patches against the clients that make them: what `kubectl` computes from the type graph makes of the stored object
//! what the person wants.
//!
//! Source: `k8s.io/apimachinery/pkg/util/strategicpatch`, `CreateThreeWayMergePatch`; RFC 7386.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{json, members as members_of, merge, strategic};
use crate::codec;
use crate::schema::tape::{Tape, tape, typed};
use crate::schema::{Merge, Shape};

/// What tells an element of a list from the others.
fn id<'v>(element: &'v Value, key: &str) -> &'v Value {
    if key.is_empty() { element } else { element.get(key).unwrap_or(element) }
}

fn find<'v>(list: &'v [Value], element: &Value, key: &str) -> Option<&'v Value> {
    list.iter().find(|e| id(e, key) == id(element, key))
}

fn member(shape: Shape, name: &str) -> (Shape, Merge) {
    match shape {
        Shape::Object(id) => id.get().field(name).map_or((Shape::Any, Merge::PLAIN), |f| (f.shape, f.merge)),
        Shape::Map(entry) => (*entry, Merge::PLAIN),
        _ => (Shape::Any, Merge::PLAIN),
    }
}

fn members(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The patch that brings `live` to where `wanted` differs from it, without what `last` had and `wanted` has no more.
fn three_way(last: &Value, wanted: &Value, live: &Value, shape: Shape) -> Map<String, Value> {
    let mut patch = Map::new();
    let (last, wanted, live) = (members(Some(last)), members(Some(wanted)), members(Some(live)));
    for name in last.keys().filter(|name| !wanted.contains_key(*name) && live.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in &wanted {
        let (shape, merge) = member(shape, name);
        let (before, now) = (last.get(name).unwrap_or(&Value::Null), live.get(name));
        match (value, now) {
            (Value::Object(_), Some(now @ Value::Object(_))) if !merge.patch_replaces => {
                let mut inner = three_way(before, value, now, shape);
                if merge.patch_retains_keys && !inner.is_empty() {
                    inner.insert("$retainKeys".to_owned(), members(Some(value)).keys().cloned().collect());
                }
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (Value::Array(value), Some(Value::Array(now))) if merge.patch_merges => {
                let Shape::List(element) = shape else { continue };
                merged_list(&mut patch, name, (elements(Some(before)), value, now), *element, &merge);
            }
            (value, Some(now)) if value == now => {}
            (value, _) => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    patch
}

type Versions<'v> = (&'v [Value], &'v [Value], &'v [Value]);

fn merged_list(patch: &mut Map<String, Value>, name: &str, versions: Versions<'_>, element: Shape, merge: &Merge) {
    let (last, wanted, live) = versions;
    let key = merge.merge_key;
    let gone = last.iter().filter(|e| find(wanted, e, key).is_none() && find(live, e, key).is_some());
    let mut order: Vec<Value> = wanted.iter().map(|e| json!({key: id(e, key)})).collect();
    let mut changes: Vec<Value> = Vec::new();
    if key.is_empty() {
        order = wanted.to_vec();
        let gone: Vec<Value> = gone.cloned().collect();
        changes.extend(wanted.iter().filter(|e| !live.contains(e)).cloned());
        if !gone.is_empty() {
            patch.insert(format!("$deleteFromPrimitiveList/{name}"), Value::Array(gone));
        }
    } else {
        changes.extend(gone.map(|e| json!({key: id(e, key), "$patch": "delete"})));
        for value in wanted {
            let Some(now) = find(live, value, key) else {
                changes.push(value.clone());
                continue;
            };
            let mut inner = three_way(find(last, value, key).unwrap_or(&Value::Null), value, now, element);
            if inner.is_empty() {
                continue;
            }
            inner.insert(key.to_owned(), id(value, key).clone());
            if merge.patch_retains_keys {
                inner.insert("$retainKeys".to_owned(), members(Some(value)).keys().cloned().collect());
            }
            changes.push(Value::Object(inner));
        }
    }
    if !changes.is_empty() {
        patch.insert(name.to_owned(), Value::Array(changes));
    }
    if !order.is_empty() {
        patch.insert(format!("$setElementOrder/{name}"), Value::Array(order));
    }
}

/// Whether everything of `wanted` is in `found`, and nothing that only `last` has.
fn holds(last: Option<&Value>, wanted: &Value, found: &Value, shape: Shape, merge: &Merge) -> Result<(), String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) if !merge.patch_replaces => {
            for (name, value) in wanted {
                let found = found.get(name).ok_or_else(|| format!("{name} is missing"))?;
                let (shape, merge) = member(shape, name);
                let last = last.and_then(|last| last.get(name));
                holds(last, value, found, shape, &merge).map_err(|e| format!("{name}.{e}"))?;
            }
            match members(last).keys().find(|name| !wanted.contains_key(*name) && found.contains_key(*name)) {
                Some(name) => Err(format!("{name} is still there")),
                None => Ok(()),
            }
        }
        (Value::Array(wanted), Value::Array(found)) if merge.patch_merges => {
            let Shape::List(element) = shape else { return Err("is no list".to_owned()) };
            let key = merge.merge_key;
            let kept: Vec<&Value> = found.iter().filter(|e| find(wanted, e, key).is_some()).collect();
            if !kept.iter().map(|e| id(e, key)).eq(wanted.iter().map(|e| id(e, key))) {
                return Err(format!("elements or their order: {kept:?} for {wanted:?}"));
            }
            if let Some(e) =
                elements(last).iter().find(|e| find(wanted, e, key).is_none() && find(found, e, key).is_some())
            {
                return Err(format!("{e} is still there"));
            }
            wanted.iter().zip(kept).try_for_each(|(value, found)| {
                let last = find(elements(last), value, key);
                holds(last, value, found, *element, &Merge::PLAIN)
            })
        }
        (wanted, found) if wanted == found => Ok(()),
        (wanted, found) => Err(format!("is {found}, not {wanted}")),
    }
}

fn merge_diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let gone = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = to.iter().filter(|(name, value)| from.get(*name) != Some(value)).map(|(name, value)| {
        (name.clone(), from.get(name).map_or_else(|| value.clone(), |from| merge_diff(from, value)))
    });
    gone.chain(changed).collect()
}

proptest! {
    #[test]
    fn a_difference_patched_in_makes_the_other(t: prop::sample::Index, live in tape(), wanted in tape()) {
        let type_ = t.get(&typed()).model.schema().unwrap();
        let make = |tape: &[u8]| Tape(tape.iter()).value(Shape::Object(type_), &Merge::PLAIN);
        let (live, wanted) = (make(&live), make(&wanted));
        let patch = Value::Object(three_way(&live, &wanted, &live, Shape::Object(type_)));
        let patched = strategic::apply(live.clone(), patch.clone(), type_).unwrap();
        prop_assert_eq!(&patched, &wanted, "strategic: {}", patch);

        let mut patched = live.clone();
        merge::apply(&mut patched, merge_diff(&live, &wanted));
        prop_assert_eq!(&patched, &wanted);
    }

    #[test]
    fn a_patch_changes_the_members_that_it_is_about_alone(t: prop::sample::Index, live in tape(), wanted in tape()) {
        let type_ = t.get(&typed()).model.schema().unwrap();
        let make = |tape: &[u8]| Tape(tape.iter()).value(Shape::Object(type_), &Merge::PLAIN);
        let (live, wanted) = (make(&live), make(&wanted));
        let in_part = |names: Option<BTreeSet<String>>, apply: &dyn Fn(Value) -> Value| {
            let Some(names) = names else { return apply(live.clone()) };
            let (touched, rest) = codec::partition(live.to_string().as_bytes(), |key| {
                names.iter().any(|name| name.as_bytes() == key)
            }).unwrap();
            let after = apply(serde_json::from_slice(&touched).unwrap());
            serde_json::from_slice(&codec::unite(after.to_string().into(), &rest)).unwrap()
        };
        for patch in [merge_diff(&live, &wanted), Value::Object(three_way(&live, &wanted, &live, Shape::Object(type_)))] {
            let merged = |mut value: Value| {
                merge::apply(&mut value, patch.clone());
                value
            };
            prop_assert_eq!(in_part(members_of(&patch), &merged), merged(live.clone()), "{}", &patch);
            let strategic = |value| strategic::apply(value, patch.clone(), type_).unwrap_or_default();
            prop_assert_eq!(in_part(members_of(&patch), &strategic), strategic(live.clone()), "{}", &patch);
        }
        let operations: Vec<Value> = wanted.as_object().unwrap().iter().map(|(name, value)| {
            json!({"op": "add", "path": format!("/{}", name.replace('~', "~0").replace('/', "~1")), "value": value})
        }).collect();
        let patch = json::parse(Value::Array(operations).to_string().as_bytes(), true).unwrap().patch;
        let operated = |value| json::apply(value, &patch).unwrap();
        prop_assert_eq!(in_part(json::members(&patch), &operated), operated(live.clone()));
    }

    #[test]
    fn three_versions_make_what_is_wanted(
        t: prop::sample::Index, last in tape(), live in tape(), wanted in tape(), close: bool,
    ) {
        let type_ = t.get(&typed()).model.schema().unwrap();
        let shape = Shape::Object(type_);
        let make = |tape: &[u8]| Tape(tape.iter()).value(shape, &Merge::PLAIN);
        // What is live is mostly what was applied last.
        let live = if close { make(&last) } else { make(&live) };
        let (last, wanted) = (make(&last), make(&wanted));
        let patch = Value::Object(three_way(&last, &wanted, &live, shape));
        let patched = strategic::apply(live, patch.clone(), type_).unwrap();
        let held = holds(Some(&last), &wanted, &patched, shape, &Merge::PLAIN);
        prop_assert_eq!(held, Ok(()), "{} made {}", patch, patched);
        // And then there is nothing more to do.
        let again = strategic::apply(patched.clone(), patch.clone(), type_).unwrap();
        prop_assert_eq!(&again, &patched, "{} again", patch);
    }
}
