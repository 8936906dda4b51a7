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

use super::{Error, Read, no_map, read_value};
use crate::go;
use crate::schema::{Field, Shape, TypeId};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

type Object = Map<String, Value>;

/// Reads a patch, and what stands twice in it.
///
/// # Errors
/// When it is no object.
pub fn parse(patch: &[u8]) -> Result<Read<Value>, Error> {
    let mut read = read_value(patch).map_err(Error::Malformed)?;
    match &read.patch {
        Value::Null => read.patch = Value::Object(Object::new()),
        Value::Object(_) => {}
        other => return malformed(&no_map(other)),
    }
    Ok(read)
}

/// Applies `patch` to `document`, whose type is `schema`.
///
/// # Errors
/// When the patch is not an object, a directive is unknown, or an element has no merge key.
pub fn apply(document: Value, patch: Value, schema: TypeId) -> Result<Value, Error> {
    match (document, patch) {
        (Value::Object(document), Value::Object(patch)) => {
            merge_object(document, patch, Shape::Object(schema)).map(Value::Object)
        }
        (_, other) => malformed(&no_map(&other)),
    }
}

/// The patch as upstream shows it when what it makes can't be read: without the directives that were obeyed by then.
#[must_use]
pub fn shown(patch: &Value) -> String {
    let mut rest = patch.clone();
    take_directives(&mut rest);
    go::shown(&rest)
}

fn take_directives(patch: &mut Value) {
    match patch {
        Value::Object(members) => {
            let ordered: Vec<String> =
                members.keys().filter_map(|key| key.strip_prefix(SET_ORDER)).map(str::to_owned).collect();
            members.retain(|key, _| key != RETAIN_KEYS && !key.starts_with(SET_ORDER));
            for name in ordered {
                members.remove(name.trim_start_matches('/'));
            }
            members.values_mut().for_each(take_directives);
        }
        Value::Array(elements) => elements.iter_mut().for_each(take_directives),
        _ => {}
    }
}

fn malformed<T>(message: &str) -> Result<T, Error> {
    Err(Error::Malformed(message.to_owned()))
}

fn unclassified<T>(message: String) -> Result<T, Error> {
    Err(Error::Unclassified(message))
}

fn unknown_directive<T>(directive: &Value, patch: &Object) -> Result<T, Error> {
    let (directive, patch) = (go::shown_as_text(directive), go::shown(&Value::Object(patch.clone())));
    unclassified(format!("unknown patch type: {directive} in map: {patch}"))
}

/// The name of the list that a directive is about.
fn list_of<'k>(key: &'k str, directive: &str, what: &str) -> Result<&'k str, Error> {
    match key.strip_prefix(directive).and_then(|rest| rest.strip_prefix('/')) {
        Some(name) => Ok(name),
        None => malformed(what),
    }
}

fn merge_object(mut original: Object, mut patch: Object, shape: Shape) -> Result<Object, Error> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(d)) if d == "replace" => {
            patch.remove(DIRECTIVE);
            return Ok(patch);
        }
        Some(Value::String(d)) if d == "delete" => return Ok(Object::new()),
        Some(other) => return unknown_directive(other, &patch),
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(&mut original, &mut patch, shape)?;
    for (key, value) in patch {
        if key.starts_with(DELETE_FROM) {
            let name = list_of(&key, DELETE_FROM, "invalid patch format of primitive list")?;
            delete_elements(&mut original, name, &value);
            continue;
        }
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        let merged = match original.remove(&key) {
            Some(before) => merge_value(before, value, &Member::of(shape, &key))?,
            None => as_new(value),
        };
        if let Some(merged) = merged {
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

    /// A member that an order is asked of.
    fn of_list(shape: Shape, key: &str) -> Result<Self, Error> {
        let Shape::Object(id) = shape else { return Ok(Self::UNKNOWN) };
        match id.get().field(key) {
            None => {
                let type_ = id.get().short_name();
                unclassified(format!("unable to find api field in struct {type_} for the json field {key:?}"))
            }
            Some(Field { shape: Shape::List(_) | Shape::Bytes, .. }) => Ok(Self::of(shape, key)),
            Some(_) => unclassified("expected slice or array type, but got: struct".to_owned()),
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

/// Merges a value into what was there; `None` when nothing is left.
fn merge_value(original: Value, patch: Value, member: &Member) -> Result<Option<Value>, Error> {
    Ok(match (original, patch) {
        (Value::Object(_), Value::Object(patch)) if member.replaces => Some(Value::Object(patch)),
        (Value::Object(original), Value::Object(patch)) => {
            Some(Value::Object(merge_object(original, patch, member.shape)?))
        }
        (Value::Array(original), Value::Array(patch)) if member.merges => {
            Some(Value::Array(merge_list(original, patch, member)?))
        }
        (Value::Array(_), Value::Array(patch)) => Some(Value::Array(patch)),
        (_, patch) => as_new(patch),
    })
}

/// A value for which there was nothing to merge it into: without nulls, and without what is a directive.
///
/// Source: upstream's `discardNullValuesFromPatch` and `removeDirectives`.
fn as_new(patch: Value) -> Option<Value> {
    match patch {
        Value::Object(members) if members.contains_key(DIRECTIVE) => None,
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, member)| !member.is_null());
            Some(Value::Object(kept.filter_map(|(key, member)| Some((key, as_new(member)?))).collect()))
        }
        Value::Array(elements) => Some(Value::Array(elements.into_iter().filter_map(as_new).collect())),
        other => Some(other),
    }
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Error> {
    const WRONG: &str = "invalid patch format of retainKeys";
    let Some(kept) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(kept) = kept else { return malformed(WRONG) };
    let kept: HashSet<&str> = kept.iter().filter_map(Value::as_str).collect();
    let is_kept = |key: &str| kept.contains(key);
    let is_about_list = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !is_about_list(key) && !is_kept(key)) {
        return malformed(WRONG);
    }
    original.retain(|key, _| is_kept(key));
    Ok(())
}

/// Source: null takes the whole list away, and what is no list is passed over.
fn delete_elements(original: &mut Object, name: &str, deleted: &Value) {
    match (original.get_mut(name), deleted) {
        (_, Value::Null) => drop(original.remove(name)),
        (Some(Value::Array(elements)), Value::Array(deleted)) => {
            let deleted = places(deleted, "");
            elements.retain(|e| Id::of(e, "").is_none_or(|id| !deleted.contains_key(&id)));
        }
        _ => {}
    }
}

fn list(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(elements) => Ok(elements),
        other => unclassified(format!("expected a []interface {{}}, but received a {}", go::type_name(&other))),
    }
}

/// Obeys the directives of order, and takes the lists that they are about out of the patch.
fn set_orders(original: &mut Object, patch: &mut Object, shape: Shape) -> Result<(), Error> {
    let keys: Vec<String> = patch.keys().filter(|k| k.starts_with(SET_ORDER)).cloned().collect();
    for key in keys {
        let order = list(patch.remove(&key).unwrap_or_default())?;
        let name = list_of(&key, SET_ORDER, "invalid patch format of setElementOrder list")?;
        let member = Member::of_list(shape, name)?;
        let before = original.get(name).cloned().map(list).transpose()?;
        let patched = patch.get(name).cloned().map(list).transpose()?;
        check_order(patched.as_deref().unwrap_or_default(), &order, member.merge_key)?;
        let deleted = patch.remove(&format!("{DELETE_FROM}/{name}"));
        let merged = match (before.clone(), patched) {
            (None, None) => continue,
            (Some(before), None) => before,
            (None, Some(patched)) => patched.into_iter().filter_map(as_new).collect(),
            (Some(before), Some(patched)) => match merge_value(before.into(), patched.into(), &member)? {
                Some(Value::Array(merged)) => merged,
                _ => Vec::new(),
            },
        };
        patch.remove(name);
        let merged = in_order(merged, &order, before.as_deref().unwrap_or_default(), member.merge_key);
        original.insert(name.to_owned(), Value::Array(merged));
        if let Some(deleted) = deleted {
            delete_elements(original, name, &deleted);
        }
    }
    Ok(())
}

/// Refuses a patch whose elements don't stand in the order that it asks for.
///
/// Source: upstream's `validatePatchWithSetOrderList`.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let id = |element: &Value| match (element, key) {
        (_, "") => Ok(element.clone()),
        (Value::Object(object), key) => merge_key_of(object, key).cloned(),
        (other, _) => {
            unclassified(format!("expected a map[string]interface {{}}, but received a {}", go::type_name(other)))
        }
    };
    let mut rest = patch.iter().filter(|element| element.get(DIRECTIVE).is_none()).peekable();
    for wanted in order {
        match rest.peek() {
            None => return Ok(()),
            Some(next) if id(next)? == id(wanted)? => drop(rest.next()),
            Some(_) => {}
        }
    }
    if rest.peek().is_none() {
        return Ok(());
    }
    let shown = |elements: &[Value]| go::shown(&Value::Array(elements.to_vec()));
    let (patch, order) = (shown(patch), shown(order));
    unclassified(format!("The order in patch list:\n{patch}\n doesn't match {SET_ORDER} list:\n{order}\n"))
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, member: &Member) -> Result<Vec<Value>, Error> {
    let mut all = original.iter().chain(&patch);
    let Some(first) = all.next() else { return Ok(original) };
    if first.is_array() {
        return Err(Error::Inapplicable("lists of lists are not supported".to_owned()));
    }
    if all.any(|other| go::type_name(other) != go::type_name(first)) {
        let shown = go::shown(&Value::Array(vec![original.into(), patch.into()]));
        return unclassified(format!("list element types are not identical: {shown}"));
    }
    if first.is_object() {
        return merge_objects(original, patch, member);
    }
    let mut seen: HashSet<Id<'_>> = original.iter().filter_map(|e| Id::of(e, "")).collect();
    let added = patch.iter().filter(|e| Id::of(e, "").is_some_and(|id| seen.insert(id)));
    let merged = original.iter().chain(added).cloned().collect();
    Ok(in_order(merged, &patch, &original, ""))
}

fn merge_objects(original: Vec<Value>, patch: Vec<Value>, member: &Member) -> Result<Vec<Value>, Error> {
    let key = member.merge_key;
    if key.is_empty() {
        return unclassified("cannot merge lists without merge key for struct".to_owned());
    }
    let (original, patch) = match obey_elements(original, patch, key)? {
        Elements::Replaced(elements) => return Ok(elements),
        Elements::Merged { original, patch } => (original, patch),
    };
    let mut merged = original.clone();
    let mut places = places(&original, key);
    for element in &patch {
        let Value::Object(object) = element else { continue };
        let id = merge_key_of(object, key)?;
        let place = *places.entry(Id::new(id)).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(Value::Object(existing)) => {
                *existing = merge_object(std::mem::take(existing), object.clone(), member.element())?;
            }
            // What is new comes as it is.
            _ => merged.push(element.clone()),
        }
    }
    Ok(in_order(merged, &patch, &original, key))
}

fn merge_key_of<'e>(element: &'e Object, key: &str) -> Result<&'e Value, Error> {
    match element.get(key) {
        Some(id) => Ok(id),
        None => {
            let element = go::shown(&Value::Object(element.clone()));
            unclassified(format!("map: {element} does not contain declared merge key: {key}"))
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
        let Some((object, directive)) = element.as_object().and_then(|o| Some((o, o.get(DIRECTIVE)?))) else {
            rest.push(element);
            continue;
        };
        match directive.as_str() {
            Some("replace") => replaced = true,
            Some("delete") => deleted.push(merge_key_of(object, key)?.clone()),
            Some("merge") => return unclassified("merging lists cannot yet be specified in the patch".to_owned()),
            _ => return unknown_directive(directive, object),
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
                json!({"metadata":{"finalizers":["b"],"$setElementOrder/finalizers":["a","b"]}}),
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
        use Error::{Malformed, Unclassified};
        let document = || json!({"metadata":{"finalizers":["a"]},"spec":{"containers":[{"name":"c"}],"nodeName":"n"}});
        for (patch, expected) in [
            (json!([]), Malformed("json: cannot unmarshal array into Go value of type map[string]interface {}".into())),
            (
                json!({"$patch":"mend","a":1}),
                Unclassified("unknown patch type: mend in map: map[$patch:mend a:1]".into()),
            ),
            (json!({"$patch":7}), Unclassified("unknown patch type: %!s(int64=7) in map: map[$patch:7]".into())),
            (
                json!({"spec":{"containers":[{"image":"x"}]}}),
                Unclassified("map: map[image:x] does not contain declared merge key: name".into()),
            ),
            (
                json!({"spec":{"containers":[{"$patch":"delete"}]}}),
                Unclassified("map: map[$patch:delete] does not contain declared merge key: name".into()),
            ),
            (
                json!({"spec":{"containers":[{"name":"a","$patch":"merge"}]}}),
                Unclassified("merging lists cannot yet be specified in the patch".into()),
            ),
            (
                json!({"spec":{"containers":["x"]}}),
                Unclassified("list element types are not identical: [[map[name:c]] [x]]".into()),
            ),
            (json!({"spec":{"$retainKeys":[],"nodeName":"x"}}), Malformed("invalid patch format of retainKeys".into())),
            (json!({"spec":{"$retainKeys":"x"}}), Malformed("invalid patch format of retainKeys".into())),
            (
                json!({"spec":{"$setElementOrder/containers":1}}),
                Unclassified("expected a []interface {}, but received a int64".into()),
            ),
            (json!({"spec":{"$setElementOrder":[]}}), Malformed("invalid patch format of setElementOrder list".into())),
            (
                json!({"spec":{"$setElementOrder/nothing":[]}}),
                Unclassified("unable to find api field in struct PodSpec for the json field \"nothing\"".into()),
            ),
            (
                json!({"spec":{"$setElementOrder/nodeName":[]}}),
                Unclassified("expected slice or array type, but got: struct".into()),
            ),
            (
                json!({"metadata":{"finalizers":["b","a"],"$setElementOrder/finalizers":["a","b"]}}),
                Unclassified("The order in patch list:\n[b a]\n doesn't match $setElementOrder list:\n[a b]\n".into()),
            ),
            (
                json!({"metadata":{"$deleteFromPrimitiveList":["a"]}}),
                Malformed("invalid patch format of primitive list".into()),
            ),
        ] {
            assert_eq!(pod(document(), patch.clone()), Err(expected), "{patch}");
        }
    }

    #[test]
    fn what_is_new_comes_without_directives_and_nulls() {
        for (patch, expected) in [
            (json!({"spec":{"containers":[{"image":"x"}]}}), json!({"spec":{"containers":[{"image":"x"}]}})),
            (
                json!({"spec":{"x":{"$patch":"delete"},"y":[{"$patch":"replace"},{"z":null}]}}),
                json!({"spec":{"y":[{}]}}),
            ),
            (
                json!({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}}),
                json!({"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]}}),
            ),
        ] {
            assert_eq!(pod(json!({}), patch).unwrap(), expected);
        }
        let shown = shown(&json!({"spec":{"$setElementOrder/a":[1],"a":[1],"$retainKeys":["b"],"b":"c"}}));
        assert_eq!(shown, "map[spec:map[b:c]]");
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
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{:?}", started.elapsed());
    }
}
