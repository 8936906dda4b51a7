//! Lists that are cut, flattened, turned round and sorted.
//!
//! Source: cel-go's `ext/lists.go`, version 3, and the lists of `cel/library.go`'s optional types.

use std::cmp::Ordering;

use super::super::eval::{Error, Evaluator, Result, compare};
use super::super::value::Value;
use super::Answer;
use super::collections::elements;

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    let result = match (name, args) {
        ("slice", [list, Value::Int(from), Value::Int(to)]) => slice(e, list, *from, *to),
        ("flatten", [list]) => flat(e, list, 1).map(Value::list),
        ("flatten", [list, Value::Int(depth)]) => match u64::try_from(*depth) {
            Ok(depth) => flat(e, list, depth).map(Value::list),
            Err(_) => Err(Error::new("level must be non-negative")),
        },
        ("reverse", [list]) => elements(e, list).map(|list| Value::list(list.into_iter().rev().collect())),
        ("distinct", [list]) => distinct(e, list),
        ("first", [list]) => elements(e, list).map(|list| optional(list.into_iter().next())),
        ("last", [list]) => elements(e, list).map(|list| optional(list.into_iter().next_back())),
        ("lists.range", [Value::Int(count)]) => {
            let cost = e.charge(u64::try_from(*count).unwrap_or(0));
            cost.map(|()| Value::list((0..*count).map(Value::Int).collect()))
        }
        ("unwrapOpt" | "optional.unwrap", [list]) => elements(e, list).map(|list| {
            let inner = |element: Value<'a>| match element {
                Value::Optional(value) => value.map(|value| (*value).clone()),
                other => Some(other),
            };
            Value::list(list.into_iter().filter_map(inner).collect())
        }),
        ("sort", [list]) => sorted(e, list, list),
        ("@sortByAssociatedKeys", [list, keys]) => sorted(e, list, keys),
        _ => return None,
    };
    Some(result)
}

fn optional(value: Option<Value<'_>>) -> Value<'_> {
    value.map_or(Value::Optional(None), Value::some)
}

fn slice<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>, from: i64, to: i64) -> Result<Value<'a>> {
    let list = elements(e, list)?;
    let refuse = |why: String| Err(Error::new(format!("cannot slice({from}, {to}), {why}")));
    let (Ok(start), Ok(end)) = (usize::try_from(from), usize::try_from(to)) else {
        return refuse("negative indexes not supported".to_owned());
    };
    if start > end {
        return refuse("start index must be less than or equal to end index".to_owned());
    }
    match list.get(start..end) {
        Some(part) => Ok(Value::list(part.to_vec())),
        None => refuse(format!("list is length {}", list.len())),
    }
}

/// The elements of a list, and in their place those of lists in it, so many levels deep.
fn flat<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>, depth: u64) -> Result<Vec<Value<'a>>> {
    let mut made = Vec::new();
    for element in elements(e, list)? {
        match depth.checked_sub(1) {
            Some(depth) if element.is_list() => made.extend(flat(e, &element, depth)?),
            _ => made.push(element),
        }
    }
    Ok(made)
}

fn distinct<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>) -> Result<Value<'a>> {
    let mut made: Vec<Value<'a>> = Vec::new();
    for element in elements(e, list)? {
        let mut is_known = false;
        for known in &made {
            is_known = e.equal(known, &element)?;
            if is_known {
                break;
            }
        }
        if !is_known {
            made.push(element);
        }
    }
    Ok(Value::list(made))
}

/// A list in the order of other values, of which each belongs to one of its elements.
fn sorted<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>, keys: &Value<'a>) -> Result<Value<'a>> {
    let (list, keys) = (elements(e, list)?, elements(e, keys)?);
    let Some(first) = keys.first() else { return Ok(Value::list(list)) };
    if compare(first, first).is_none() {
        return Err(Error::new("list elements must be comparable"));
    }
    if keys.iter().any(|key| key.type_name() != first.type_name()) {
        return Err(Error::new("list elements must have the same type"));
    }
    let weight = keys.iter().fold(0_u64, |sum, key| sum.saturating_add(key.weight()));
    e.charge(weight.saturating_mul(u64::from(keys.len().ilog2()) + 1))?;
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(list).collect();
    pairs.sort_by(|(one, _), (other, _)| compare(one, other).unwrap_or(Ordering::Equal));
    Ok(Value::list(pairs.into_iter().map(|(_, element)| element).collect()))
}
