//! Three versions of an object into one: what was applied last, what is to be applied now, and what the server has.
//!
//! What was applied and no longer is, goes; what is to be applied, comes; what others have set, stays. Lists are merged
//! by their keys where Kubernetes says so.
//!
//! Source: the three-way strategic merge of `kubectl apply`; here it gives the merged object, and [`patch`] the
//! difference as an RFC 7386 patch, which is then sent for exactly the version that was merged.

use coracle_api::schema::{Field, Shape, Type};
use serde_json::{Map, Value};

/// The merged object. `ty` is the kind's type, where it is known: then lists merge by key.
pub fn merge(last: &Value, wanted: &Value, current: &Value, ty: Option<&'static Type>) -> Value {
    let empty = Map::new();
    match (wanted, current) {
        (Value::Object(wanted), Value::Object(current)) => {
            Value::Object(objects(last.as_object().unwrap_or(&empty), wanted, current, ty))
        }
        _ => wanted.clone(),
    }
}

/// What changes `from` into `to`, by RFC 7386; nothing when nothing does.
pub fn patch(from: &Value, to: &Value) -> Option<Value> {
    let (Value::Object(old), Value::Object(new)) = (from, to) else {
        return (from != to).then(|| to.clone());
    };
    let mut changes = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        changes.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match old.get(name) {
            Some(before) => changes.extend(patch(before, value).map(|change| (name.clone(), change))),
            None => drop(changes.insert(name.clone(), value.clone())),
        }
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

fn objects(
    last: &Map<String, Value>,
    wanted: &Map<String, Value>,
    current: &Map<String, Value>,
    ty: Option<&'static Type>,
) -> Map<String, Value> {
    let mut merged = current.clone();
    merged.retain(|name, _| !last.contains_key(name) || wanted.contains_key(name));
    for (name, value) in wanted {
        match value {
            Value::Null => drop(merged.remove(name)),
            value => {
                let field = ty.and_then(|ty| ty.field(name));
                merged.insert(name.clone(), values(last.get(name), value, current.get(name), field));
            }
        }
    }
    merged
}

fn values(last: Option<&Value>, wanted: &Value, current: Option<&Value>, field: Option<&'static Field>) -> Value {
    let retains = field.is_some_and(|field| field.merge.patch_retains_keys);
    match (wanted, current) {
        (Value::Object(wanted), Some(Value::Object(current))) => {
            let empty = Map::new();
            let last = last.and_then(Value::as_object).unwrap_or(&empty);
            Value::Object(retaining(retains, last, wanted, current, field.and_then(|field| type_of(&field.shape))))
        }
        (Value::Array(wanted), Some(Value::Array(current))) if field.is_some_and(|field| field.merge.patch_merges) => {
            let last = last.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let element = field.and_then(|field| type_of(&field.shape));
            match field.map_or("", |field| field.merge.merge_key) {
                "" => set(last, wanted, current),
                key => keyed(Lists { last, wanted, current, key, retains }, element),
            }
        }
        _ => without_nulls(wanted),
    }
}

/// One of several alternatives (a volume's source, a deployment's strategy): when it changes, what is not named goes.
fn retaining(
    retains: bool,
    last: &Map<String, Value>,
    wanted: &Map<String, Value>,
    current: &Map<String, Value>,
    ty: Option<&'static Type>,
) -> Map<String, Value> {
    let mut merged = objects(last, wanted, current, ty);
    if retains && merged != *current {
        merged.retain(|name, _| wanted.contains_key(name));
    }
    merged
}

struct Lists<'a> {
    last: &'a [Value],
    wanted: &'a [Value],
    current: &'a [Value],
    key: &'a str,
    retains: bool,
}

/// Elements with the same key are one element. What is wanted stands first, in its order.
fn keyed(lists: Lists<'_>, ty: Option<&'static Type>) -> Value {
    let Lists { last, wanted, current, key, retains } = lists;
    let by_key = |list: &'_ [Value], value: &Value| list.iter().find(|it| it[key] == value[key]).cloned();
    if !distinct(wanted, key) || !distinct(current, key) {
        return without_nulls(&Value::Array(wanted.to_vec()));
    }
    let empty = Map::new();
    let mut merged: Vec<Value> = Vec::new();
    for element in wanted {
        merged.push(match (element, by_key(current, element)) {
            (Value::Object(element), Some(Value::Object(found))) => {
                let before = by_key(last, &Value::Object(element.clone()));
                let before = before.as_ref().and_then(Value::as_object).unwrap_or(&empty);
                Value::Object(retaining(retains, before, element, &found, ty))
            }
            _ => without_nulls(element),
        });
    }
    let others = current.iter().filter(|it| by_key(wanted, it).is_none() && by_key(last, it).is_none());
    merged.extend(others.cloned());
    Value::Array(merged)
}

fn distinct(list: &[Value], key: &str) -> bool {
    let mut keys: Vec<String> = list.iter().map(|element| element[key].to_string()).collect();
    keys.sort();
    keys.windows(2).all(|pair| pair[0] != pair[1])
}

/// Scalars that are merged: finalizers, for example.
fn set(last: &[Value], wanted: &[Value], current: &[Value]) -> Value {
    let mut merged: Vec<Value> =
        current.iter().filter(|it| !last.contains(it) || wanted.contains(it)).cloned().collect();
    let missing: Vec<Value> = wanted.iter().filter(|it| !merged.contains(it)).cloned().collect();
    merged.extend(missing);
    Value::Array(merged)
}

/// What a new object says by `null` it does not say.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(elements) => Value::Array(elements.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// The type of an object, or of the elements of a list of them.
fn type_of(shape: &Shape) -> Option<&'static Type> {
    match shape {
        Shape::Object(id) => Some(id.get()),
        Shape::List(element) => type_of(element),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::schema;
    use serde_json::json;

    fn deployment() -> Option<&'static Type> {
        schema::find_kind("apps", "v1", "Deployment").map(schema::TypeId::get)
    }

    #[test]
    fn what_others_set_stays_and_what_is_no_longer_applied_goes() {
        let last = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 2, "paused": true}});
        let wanted = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"paused": null}});
        let current = json!({"metadata": {"labels": {"a": "0", "b": "2", "c": "3"}, "uid": "u"}, "spec": {"replicas": 9, "paused": true, "minReadySeconds": 1}});
        let merged = merge(&last, &wanted, &current, deployment());
        assert_eq!(
            merged,
            json!({"metadata": {"labels": {"a": "1", "c": "3"}, "uid": "u"}, "spec": {"minReadySeconds": 1}})
        );
        assert_eq!(
            patch(&current, &merged),
            Some(json!({"metadata": {"labels": {"a": "1", "b": null}}, "spec": {"replicas": null, "paused": null}}))
        );
        assert_eq!(
            patch(&merged, &merge(&wanted, &wanted, &merged, deployment())),
            None,
            "applied twice changes nothing"
        );
    }

    #[test]
    fn containers_merge_by_name_and_arguments_do_not() {
        let spec = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let last = spec(json!([{"name": "a", "image": "x:1", "args": ["1"]}, {"name": "old", "image": "y"}]));
        let wanted = spec(json!([{"name": "a", "image": "x:2", "args": ["2"]}]));
        let current = spec(json!([
            {"name": "injected", "image": "z"},
            {"name": "a", "image": "x:1", "args": ["1"], "imagePullPolicy": "Always"},
            {"name": "old", "image": "y"},
        ]));
        let expected = spec(json!([
            {"name": "a", "image": "x:2", "args": ["2"], "imagePullPolicy": "Always"},
            {"name": "injected", "image": "z"},
        ]));
        assert_eq!(merge(&last, &wanted, &current, deployment()), expected);
    }

    #[test]
    fn a_changed_strategy_keeps_nothing_of_the_old_one() {
        let wanted = json!({"spec": {"strategy": {"type": "Recreate"}}});
        let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}});
        assert_eq!(merge(&json!({}), &wanted, &current, deployment()), wanted);
        let same = json!({"spec": {"strategy": {"type": "RollingUpdate"}}});
        assert_eq!(merge(&json!({}), &same, &current, deployment()), current);
    }

    #[test]
    fn unknown_kinds_replace_their_lists() {
        let (wanted, current) = (json!({"spec": {"list": [1]}}), json!({"spec": {"list": [2, 3], "more": 4}}));
        assert_eq!(merge(&json!({}), &wanted, &current, None), json!({"spec": {"list": [1], "more": 4}}));
    }
}
