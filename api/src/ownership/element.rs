//! Which step leads to an element of a list.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `listItemToPathElement`.

use std::borrow::Cow;

use serde_json::Value;

use super::Error;
use super::step::{Scalar, Step};
use super::types::List;
use crate::schema::ListType;

/// The step to an element of a list that is a set or has keys.
pub(super) fn step_of<'v>(list: &List<'v>, element: &'v Value) -> Result<Step<'v>, Error> {
    match list.list_type {
        ListType::Map => keys_of(list, element),
        ListType::Set => match element {
            Value::Object(_) => Err(Error::new("associative list without keys has an element that's a map type")),
            Value::Array(_) => Err(Error::new("not supported: associative list with lists as elements")),
            Value::Null => Err(Error::new("associative list without keys has an element that's an explicit null")),
            scalar => Scalar::of(scalar).map(Step::Value).ok_or_else(|| Error::new("an element is no scalar")),
        },
        ListType::Atomic => Err(Error::new("invalid indexing of non-associative list")),
    }
}

fn keys_of<'v>(list: &List<'v>, element: &'v Value) -> Result<Step<'v>, Error> {
    let object = match element {
        Value::Object(object) => object,
        Value::Null => return Err(Error::new("associative list with keys may not have a null element")),
        _ => return Err(Error::new("associative list with keys may not have non-map elements")),
    };
    let mut keys: Vec<(Cow<'v, str>, Scalar<'v>)> = Vec::with_capacity(2);
    for name in list.keys() {
        let value = match object.get(name) {
            Some(value) => Some(Scalar::of(value).ok_or_else(|| Error::new("a key of an element is no scalar"))?),
            None => list.key_default(name),
        };
        keys.extend(value.map(|value| (Cow::Borrowed(name), value)));
    }
    if keys.is_empty() {
        let names: Vec<String> = list.keys().map(|name| format!("{name:?}")).collect();
        return Err(Error::new(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values \
             for any key fields)",
            names.join(" ")
        )));
    }
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Step::Key(keys.into()))
}

/// Whether two values are the same; numbers by what they stand for.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Scalar::Number(a.into()) == Scalar::Number(b.into()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}
