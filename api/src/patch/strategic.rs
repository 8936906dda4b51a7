//! Strategic merge patch: a merge patch that knows which lists are sets or maps, and has directives.
//!
//! | directive | what it does |
//! |---|---|
//! | `$patch: replace` | the object, or the list it stands in, becomes what the patch has |
//! | `$patch: delete` | the object becomes empty, or the element with this key is removed |
//! | `$retainKeys: […]` | fields of the object that are not listed are removed |
//! | `$deleteFromPrimitiveList/x: […]` | these elements of the list `x` are removed |
//! | `$setElementOrder/x: […]` | the elements of the list `x` are put into this order |
//!
//! Source: `k8s.io/apimachinery/pkg/util/strategicpatch`.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::Error;
use crate::schema::{Field, Shape, TypeId};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

/// Applies `patch` to `document`, whose type is `schema`.
///
/// # Errors
/// When the patch is not an object, a directive is unknown, or an element has no merge key.
pub fn apply(document: Value, patch: Value, schema: TypeId) -> Result<Value, Error> {
    let (Value::Object(document), Value::Object(patch)) = (document, patch) else {
        return Err(Error::Malformed("invalid JSON document: a strategic merge patch is an object".to_owned()));
    };
    merge_object(document, patch, Shape::Object(schema)).map(Value::Object)
}

fn malformed<T>(message: String) -> Result<T, Error> {
    Err(Error::Malformed(message))
}

fn merge_object(mut original: Object, mut patch: Object, shape: Shape) -> Result<Object, Error> {
    match patch.remove(DIRECTIVE) {
        None => {}
        Some(Value::String(d)) if d == "replace" => return Ok(patch),
        Some(Value::String(d)) if d == "delete" => return Ok(Object::new()),
        Some(other) => return malformed(format!("unknown patch type: {other} in map: {}", Value::Object(patch))),
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(&mut original, &mut patch, shape)?;
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE_FROM) {
            delete_elements(&mut original, name, &value)?;
        } else if value.is_null() {
            original.remove(&key);
        } else {
            let field = Member::of(shape, &key);
            let merged = merge_value(original.remove(&key), value, &field)?;
            original.insert(key, merged);
        }
    }
    Ok(original)
}

/// What is known of a member: its shape, and how its list merges.
struct Member {
    shape: Shape,
    merges: bool,
    replaces: bool,
    merge_key: &'static str,
}

impl Member {
    const UNKNOWN: Member = Member { shape: Shape::Any, merges: false, replaces: false, merge_key: "" };

    fn of(shape: Shape, key: &str) -> Self {
        match shape {
            Shape::Object(id) => id.get().field(key).map_or(Self::UNKNOWN, Self::of_field),
            Shape::Map(entry) => Member { shape: *entry, ..Self::UNKNOWN },
            _ => Self::UNKNOWN,
        }
    }

    fn of_field(field: &Field) -> Self {
        Member {
            shape: field.shape,
            merges: field.merge.patch_merges,
            replaces: field.merge.patch_replaces,
            merge_key: field.merge.merge_key,
        }
    }

    fn element(&self) -> Shape {
        if let Shape::List(element) = self.shape { *element } else { Shape::Any }
    }
}

/// Merges a value into what was there; what wasn't there is as an empty one, so that directives in it are obeyed too.
fn merge_value(original: Option<Value>, patch: Value, member: &Member) -> Result<Value, Error> {
    match (original, patch) {
        (Some(Value::Object(original)), Value::Object(patch)) if !member.replaces => {
            merge_object(original, patch, member.shape).map(Value::Object)
        }
        // A directive has nothing to work on. Source: upstream's `removeDirectives`.
        (_, Value::Object(patch)) if patch.contains_key(DIRECTIVE) => Ok(Value::Null),
        (_, Value::Object(patch)) => merge_object(Object::new(), patch, member.shape).map(Value::Object),
        (original, Value::Array(patch)) if member.merges => {
            let original = if let Some(Value::Array(original)) = original { original } else { Vec::new() };
            merge_list(original, patch, member).map(Value::Array)
        }
        (_, Value::Array(patch)) => Ok(Value::Array(patch.into_iter().filter(|e| !is_replace_marker(e)).collect())),
        (_, scalar) => Ok(scalar),
    }
}

/// A list that is replaced anyway may say so.
fn is_replace_marker(element: &Value) -> bool {
    element.as_object().is_some_and(|o| o.len() == 1 && o.get(DIRECTIVE).is_some_and(|d| d == "replace"))
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Error> {
    let Some(kept) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(kept) = kept else {
        return malformed("invalid patch format of retainKeys: not a list".to_owned());
    };
    let kept: HashSet<&str> = kept.iter().filter_map(Value::as_str).collect();
    let is_kept = |key: &str| kept.contains(key);
    if let Some(key) = patch.keys().find(|k| !k.starts_with('$') && !is_kept(k) && !patch[k.as_str()].is_null()) {
        return malformed(format!("invalid patch format of retainKeys: {key:?} is set and not retained"));
    }
    original.retain(|key, _| is_kept(key));
    Ok(())
}

fn delete_elements(original: &mut Object, name: &str, deleted: &Value) -> Result<(), Error> {
    let Value::Array(deleted) = deleted else {
        return malformed(format!("invalid patch format of primitive list: {DELETE_FROM}{name} is not a list"));
    };
    if let Some(Value::Array(elements)) = original.get_mut(name) {
        let deleted = places(deleted, "");
        elements.retain(|e| Id::of(e, "").is_none_or(|id| !deleted.contains_key(&id)));
    }
    Ok(())
}

/// Obeys the directives of order, and takes the lists that they are about out of the patch.
fn set_orders(original: &mut Object, patch: &mut Object, shape: Shape) -> Result<(), Error> {
    let names: Vec<String> = patch.keys().filter_map(|k| k.strip_prefix(SET_ORDER)).map(str::to_owned).collect();
    for name in names {
        let Some(Value::Array(order)) = patch.remove(&format!("{SET_ORDER}{name}")) else {
            return malformed(format!("invalid patch format of setElementOrder list: {name:?}"));
        };
        let member = Member::of(shape, &name);
        if let Some(deleted) = patch.remove(&format!("{DELETE_FROM}{name}")) {
            delete_elements(original, &name, &deleted)?;
        }
        let before = match original.get(&name) {
            Some(Value::Array(elements)) => elements.clone(),
            _ => Vec::new(),
        };
        let merged = match patch.remove(&name) {
            Some(Value::Array(elements)) => merge_list(before.clone(), elements, &member)?,
            Some(other) => {
                patch.insert(name, other);
                continue;
            }
            None if original.contains_key(&name) => before.clone(),
            None => continue,
        };
        original.insert(name, Value::Array(in_order(merged, &order, &before, member.merge_key)));
    }
    Ok(())
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, member: &Member) -> Result<Vec<Value>, Error> {
    let first = patch.first().or(original.first());
    match first {
        None => Ok(original),
        Some(Value::Object(_)) => merge_objects(original, patch, member),
        Some(Value::Array(_)) => Err(Error::Inapplicable("lists of lists are not supported".to_owned())),
        Some(_) => {
            let mut seen: HashSet<Id<'_>> = original.iter().filter_map(|e| Id::of(e, "")).collect();
            let added = patch.iter().filter(|e| Id::of(e, "").is_some_and(|id| seen.insert(id)));
            let merged = original.iter().chain(added).cloned().collect();
            Ok(in_order(merged, &patch, &original, ""))
        }
    }
}

fn merge_objects(original: Vec<Value>, patch: Vec<Value>, member: &Member) -> Result<Vec<Value>, Error> {
    let key = member.merge_key;
    if key.is_empty() {
        return Err(Error::Inapplicable("the list has no merge key".to_owned()));
    }
    let (original, patch) = match obey_elements(original, patch, key)? {
        Elements::Replaced(elements) => return Ok(elements),
        Elements::Merged { original, patch } => (original, patch),
    };
    let mut merged = original.clone();
    let mut places = places(&original, key);
    for element in &patch {
        let Value::Object(object) = element else {
            return malformed(format!("the list has elements that are not objects: {element}"));
        };
        let id = merge_key_of(object, key)?;
        let place = *places.entry(Id::new(id)).or_insert(merged.len());
        let existing = merged.get_mut(place);
        let before = existing.as_deref().and_then(Value::as_object).cloned().unwrap_or_default();
        let after = Value::Object(merge_object(before, object.clone(), member.element())?);
        match existing {
            Some(place) => *place = after,
            None => merged.push(after),
        }
    }
    Ok(in_order(merged, &patch, &original, key))
}

fn merge_key_of<'e>(element: &'e Object, key: &str) -> Result<&'e Value, Error> {
    match element.get(key) {
        Some(id) => Ok(id),
        None => {
            malformed(format!("map: {} does not contain declared merge key: {key}", Value::Object(element.clone())))
        }
    }
}

enum Elements {
    Replaced(Vec<Value>),
    Merged { original: Vec<Value>, patch: Vec<Value> },
}

/// Obeys the directives that are elements of a list.
fn obey_elements(mut original: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<Elements, Error> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut deleted = Vec::new();
    let mut replaced = false;
    for element in patch {
        let directive = element.as_object().and_then(|o| o.get(DIRECTIVE)).and_then(Value::as_str);
        match directive {
            None => rest.push(element),
            Some("replace") => replaced = true,
            Some("delete") => {
                let object = element.as_object().cloned().unwrap_or_default();
                deleted.push(merge_key_of(&object, key)?.clone());
            }
            Some("merge") => return malformed("merging lists cannot yet be specified in the patch".to_owned()),
            Some(other) => return malformed(format!("unknown patch type: {other:?}")),
        }
    }
    let deleted = places(&deleted, "");
    original.retain(|e| e.get(key).is_none_or(|id| !deleted.contains_key(&Id::new(id))));
    Ok(if replaced { Elements::Replaced(rest) } else { Elements::Merged { original, patch: rest } })
}

/// What tells an element from others of its list: its merge key if it is an object of a list that has one, else itself.
/// A list may have as many elements as fit into a body, so they are looked up, never searched for.
#[derive(PartialEq, Eq, Hash)]
enum Id<'v> {
    Text(&'v str),
    Other(String),
}

impl<'v> Id<'v> {
    fn new(value: &'v Value) -> Self {
        value.as_str().map_or_else(|| Self::Other(value.to_string()), Self::Text)
    }

    fn of(element: &'v Value, key: &str) -> Option<Self> {
        match element {
            Value::Object(object) if !key.is_empty() => object.get(key).map(Self::new),
            element => Some(Self::new(element)),
        }
    }
}

/// Where each element stands first.
fn places<'v>(elements: &'v [Value], key: &str) -> HashMap<Id<'v>, usize> {
    let mut places = HashMap::with_capacity(elements.len());
    for (place, element) in elements.iter().enumerate() {
        if let Some(id) = Id::of(element, key) {
            places.entry(id).or_insert(place);
        }
    }
    places
}

/// Puts a list into order: the elements that `wanted` has stand as there, the others as in `before`, and the two are
/// merged by their places in `before`; what `before` doesn't have comes as early as it can.
fn in_order(merged: Vec<Value>, wanted: &[Value], before: &[Value], key: &str) -> Vec<Value> {
    let (wanted, before) = (places(wanted, key), places(before, key));
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for element in merged {
        let id = Id::of(&element, key);
        let place = |order: &HashMap<_, usize>| id.as_ref().and_then(|id| order.get(id).copied());
        let (ordered, stood) = (place(&wanted), place(&before));
        match ordered {
            Some(place) => ours.push((place, stood, element)),
            None => others.push((stood.unwrap_or(usize::MAX), stood, element)),
        }
    }
    ours.sort_by_key(|(place, ..)| *place);
    others.sort_by_key(|(place, ..)| *place);
    let mut out = Vec::with_capacity(ours.len() + others.len());
    let (mut ours, mut others) = (ours.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let other_first = match (ours.peek(), others.peek()) {
            (None, None) => return out,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some((_, Some(our), _)), Some((_, Some(other), _))) => other < our,
            _ => false,
        };
        let next = if other_first { others.next() } else { ours.next() };
        out.extend(next.map(|(.., element)| element));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::schema;

    fn pod(document: Value, patch: Value) -> Result<Value, Error> {
        apply(document, patch, schema::find("core.v1.Pod").unwrap())
    }

    fn deployment(document: Value, patch: Value) -> Result<Value, Error> {
        apply(document, patch, schema::find("apps.v1.Deployment").unwrap())
    }

    fn containers(document: Value, patch: Value) -> Value {
        pod(json!({"spec":{"containers": document}}), json!({"spec":{"containers": patch}})).unwrap()["spec"]["containers"].take()
    }

    #[test]
    fn lists_are_merged_by_their_keys() {
        for (document, patch, expected) in [
            (
                json!([{"name":"a"},{"name":"b"}]),
                json!([{"name":"c"}]),
                json!([{"name":"c"},{"name":"a"},{"name":"b"}]),
            ),
            (
                json!([{"name":"a","image":"1"},{"name":"b","image":"1"}]),
                json!([{"name":"b","image":"2"}]),
                json!([{"name":"a","image":"1"},{"name":"b","image":"2"}]),
            ),
            (json!([{"name":"a"},{"name":"b"}]), json!([{"name":"a","$patch":"delete"}]), json!([{"name":"b"}])),
            (json!([{"name":"a"},{"name":"b"}]), json!([{"$patch":"replace"},{"name":"c"}]), json!([{"name":"c"}])),
            (
                json!([{"name":"a","env":[{"name":"X","value":"1"},{"name":"Y","value":"2"}]}]),
                json!([{"name":"a","env":[{"name":"Y","$patch":"delete"},{"name":"Z","value":"3"}]}]),
                json!([{"name":"a","env":[{"name":"Z","value":"3"},{"name":"X","value":"1"}]}]),
            ),
            (
                json!([{"name":"a","args":["x"]}]),
                json!([{"name":"a","args":["y"]}]),
                json!([{"name":"a","args":["y"]}]),
            ),
        ] {
            assert_eq!(containers(document, patch), expected);
        }
    }

    #[test]
    fn directives_are_obeyed() {
        for (document, patch, expected) in [
            (json!({"a":1,"b":2}), json!({"a":null,"c":null}), json!({"b":2})),
            (
                json!({"metadata":{"labels":{"a":"1"}}}),
                json!({"metadata":{"labels":{"$patch":"replace","b":"2"}}}),
                json!({"metadata":{"labels":{"b":"2"}}}),
            ),
            (
                json!({"metadata":{"labels":{"a":"1"}}}),
                json!({"metadata":{"labels":{"$patch":"delete"}}}),
                json!({"metadata":{"labels":{}}}),
            ),
            (
                json!({"metadata":{"finalizers":["a","b","c"]}}),
                json!({"metadata":{"$deleteFromPrimitiveList/finalizers":["b"]}}),
                json!({"metadata":{"finalizers":["a","c"]}}),
            ),
            (
                json!({"metadata":{"finalizers":["a"]}}),
                json!({"metadata":{"finalizers":["b","a"],"$setElementOrder/finalizers":["a","b"]}}),
                json!({"metadata":{"finalizers":["a","b"]}}),
            ),
            (
                json!({"spec":{"containers":[{"name":"a"},{"name":"s"},{"name":"b"}]}}),
                json!({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"c"},{"name":"a"}],"containers":[{"name":"c"}]}}),
                json!({"spec":{"containers":[{"name":"s"},{"name":"b"},{"name":"c"},{"name":"a"}]}}),
            ),
            (
                json!({}),
                json!({"spec":{"containers":[{"name":"a","env":null}]}}),
                json!({"spec":{"containers":[{"name":"a"}]}}),
            ),
        ] {
            assert_eq!(pod(document, patch).unwrap(), expected);
        }
        let document = json!({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}});
        let patch = json!({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}});
        assert_eq!(deployment(document, patch).unwrap(), json!({"spec":{"strategy":{"type":"Recreate"}}}));
    }

    #[test]
    fn bad_patches_are_refused() {
        for patch in [
            json!([]),
            json!({"$patch":"mend"}),
            json!({"spec":{"containers":[{"image":"x"}]}}),
            json!({"spec":{"containers":[{"name":"a","$patch":"merge"}]}}),
            json!({"spec":{"$retainKeys":[],"nodeName":"x"}}),
            json!({"spec":{"$setElementOrder/containers":1}}),
        ] {
            assert!(matches!(pod(json!({"spec":{}}), patch.clone()), Err(Error::Malformed(_))), "{patch}");
        }
    }

    #[test]
    fn a_patch_applied_twice_changes_nothing_more() {
        let document =
            json!({"spec":{"containers":[{"name":"a"},{"name":"b","env":[{"name":"X"}]}],"tolerations":[{"key":"t"}]}});
        let patch =
            json!({"spec":{"containers":[{"name":"b","env":[{"name":"Y"}]},{"name":"c"}],"tolerations":[{"key":"u"}]}});
        let once = pod(document, patch.clone()).unwrap();
        assert_eq!(pod(once.clone(), patch).unwrap(), once);
    }

    /// Every element was once searched for in the whole list: a body of 3 MB took many minutes.
    #[test]
    fn long_lists_are_merged_in_little_more_than_the_time_to_read_them() {
        let started = std::time::Instant::now();
        let numbers = |from: usize| (from..from + 30_000).map(|n| n.to_string()).collect::<Vec<_>>();
        let names = |from: usize| numbers(from).into_iter().map(|n| json!({"name": n})).collect::<Vec<_>>();
        let document = json!({
            "metadata": {"finalizers": numbers(0)},
            "spec": {"containers": names(0), "volumes": names(0), "strategy": {}},
        });
        let gone: Vec<_> = numbers(0).into_iter().map(|n| json!({"name": n, "$patch": "delete"})).collect();
        let patch = json!({
            "metadata": {"finalizers": numbers(15_000), "$deleteFromPrimitiveList/ownerReferences": numbers(0)},
            "spec": {"$setElementOrder/containers": names(15_000), "containers": names(15_000), "volumes": gone},
        });
        let merged = pod(document, patch).unwrap();
        assert_eq!(merged["metadata"]["finalizers"].as_array().unwrap().len(), 45_000);
        assert_eq!(merged["spec"]["containers"][44_999]["name"], "44999");
        assert_eq!(merged["spec"]["volumes"], json!([]));
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
