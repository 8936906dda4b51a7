//! Lists, maps, sets and optional values.

use std::cmp::Ordering;
use std::rc::Rc;

use super::super::eval::{Error, Evaluator, Result, compare};
use super::super::value::Value;
use super::{Answer, call as function, count};
use crate::custom::structural::ListType;

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    let result = match (name, args) {
        ("size", [value]) => value.size().map(count).ok_or_else(Error::no_overload),
        ("@in", [value, list]) if list.is_list() => e.contains(list, value).map(Value::Bool),
        ("@in", [key, map]) if map.keys().is_some() => Ok(Value::Bool(map.entry(key).is_some())),
        ("_+_", [l, r]) if l.is_list() && r.is_list() => concatenated(e, l, r),
        ("isSorted", [list]) if list.is_list() => is_sorted(e, list),
        ("sum", [list]) if list.is_list() => sum(e, list),
        ("min", [list]) if list.is_list() => extreme(e, list, Ordering::Less, "min"),
        ("max", [list]) if list.is_list() => extreme(e, list, Ordering::Greater, "max"),
        ("indexOf", [list, value]) if list.is_list() => position(e, list, value, false),
        ("lastIndexOf", [list, value]) if list.is_list() => position(e, list, value, true),
        ("sets.contains", [list, others]) => contains_all(e, list, others).map(Value::Bool),
        ("sets.equivalent", [l, r]) => {
            contains_all(e, l, r).and_then(|all| Ok(Value::Bool(all && contains_all(e, r, l)?)))
        }
        ("sets.intersects", [l, r]) => intersects(e, l, r).map(Value::Bool),
        ("optional.of", [value]) => Ok(Value::some(value.clone())),
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(if is_zero(value) { Value::Optional(None) } else { Value::some(value.clone()) })
        }
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("value", [Value::Optional(value)]) => {
            value.as_ref().map(|v| (**v).clone()).ok_or_else(|| Error::new("optional.none() dereference"))
        }
        ("or", [Value::Optional(value), other @ Value::Optional(_)]) => {
            Ok(if value.is_some() { Value::Optional(value.clone()) } else { other.clone() })
        }
        ("orValue", [Value::Optional(value), other]) => {
            Ok(value.as_ref().map_or_else(|| other.clone(), |value| (**value).clone()))
        }
        _ => return None,
    };
    Some(result)
}

pub(super) fn elements<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>) -> Result<Vec<Value<'a>>> {
    let count = list.size().ok_or_else(Error::no_overload)?;
    e.charge(u64::try_from(count).unwrap_or(u64::MAX))?;
    Ok(list.elements().ok_or_else(Error::no_overload)?.collect())
}

/// One list after another; of sets the union, of maps that the second overrides.
fn concatenated<'a>(e: &mut Evaluator<'a, '_>, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>> {
    let mut list = elements(e, left)?;
    let more = elements(e, right)?;
    match left.list_type().or_else(|| right.list_type()) {
        Some((ListType::Set, _)) => {
            for element in more {
                let known = Value::List(Rc::new(list));
                let is_known = e.contains(&known, &element)?;
                list = unwrapped(known);
                if !is_known {
                    list.push(element);
                }
            }
        }
        Some((ListType::Map, keys)) => {
            for element in more {
                let mut place = None;
                for (i, known) in list.iter().enumerate() {
                    e.charge(1)?;
                    if same_keys(e, known, &element, keys)? {
                        place = Some(i);
                        break;
                    }
                }
                match place {
                    Some(i) => list[i] = element,
                    None => list.push(element),
                }
            }
        }
        _ => list.extend(more),
    }
    Ok(Value::list(list))
}

/// The elements of a list that nobody else has.
fn unwrapped(list: Value<'_>) -> Vec<Value<'_>> {
    match list {
        Value::List(list) => Rc::unwrap_or_clone(list),
        _ => Vec::new(),
    }
}

fn same_keys<'a>(e: &mut Evaluator<'a, '_>, l: &Value<'a>, r: &Value<'a>, keys: &[String]) -> Result<bool> {
    for key in keys {
        let key = Value::text(key.as_str());
        let same = match (l.entry(&key), r.entry(&key)) {
            (Some(l), Some(r)) => e.equal(&l, &r)?,
            (l, r) => l.is_none() && r.is_none(),
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_sorted<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>) -> Result<Value<'a>> {
    for pair in elements(e, list)?.windows(2) {
        e.charge(pair[0].weight())?;
        if compare(&pair[0], &pair[1]).ok_or_else(Error::no_overload)? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>) -> Result<Value<'a>> {
    let mut elements = elements(e, list)?.into_iter();
    let Some(first) = elements.next() else { return Ok(Value::Int(0)) };
    elements.try_fold(first, |sum, element| match (&sum, &element) {
        (Value::String(_) | Value::Bytes(_), _) => Err(Error::no_overload()),
        _ => function(e, "_+_", &[sum, element]),
    })
}

fn extreme<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>, wanted: Ordering, name: &str) -> Result<Value<'a>> {
    let mut elements = elements(e, list)?.into_iter();
    let first = elements.next().ok_or_else(|| Error::new(format!("{name} called on empty list")))?;
    elements.try_fold(first, |best, element| {
        e.charge(element.weight())?;
        let order = compare(&element, &best).ok_or_else(Error::no_overload)?;
        Ok(if order == wanted { element } else { best })
    })
}

fn position<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>, value: &Value<'a>, last: bool) -> Result<Value<'a>> {
    let mut found = Value::Int(-1);
    for (i, element) in elements(e, list)?.iter().enumerate() {
        if e.equal(element, value)? {
            found = count(i);
            if !last {
                break;
            }
        }
    }
    Ok(found)
}

fn contains_all<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>, others: &Value<'a>) -> Result<bool> {
    for element in elements(e, others)? {
        if !e.contains(list, &element)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(e: &mut Evaluator<'a, '_>, left: &Value<'a>, right: &Value<'a>) -> Result<bool> {
    for element in elements(e, left)? {
        if e.contains(right, &element)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => true,
        Value::Double(n) => *n == 0.0,
        Value::Optional(value) => value.is_none(),
        value => value.size() == Some(0),
    }
}
