//! Which step leads to an element of a list.
//!
//! Source: `sigs.k8s.io/structured-merge-diff/v6/typed`, `listItemToPathElement`.

use std::borrow::Cow;

use super::Error;
use super::step::{Scalar, Step};
use super::tree::{Form, Tree};
use super::types::List;
use crate::schema::ListType;

/// The step to an element of a list that is a set or has keys.
pub(super) fn step_of<'v, T: Tree<'v>>(list: &List<'v>, element: T) -> Result<Step<'v>, Error> {
    match list.list_type {
        ListType::Map => keys_of(list, element),
        ListType::Set => match element.form() {
            Form::Map => Err(Error::new("associative list without keys has an element that's a map type")),
            Form::List => Err(Error::new("not supported: associative list with lists as elements")),
            Form::Null => Err(Error::new("associative list without keys has an element that's an explicit null")),
            Form::Scalar => element.scalar().map(Step::Value).ok_or_else(|| Error::new("an element is no scalar")),
        },
        ListType::Atomic => Err(Error::new("invalid indexing of non-associative list")),
    }
}

fn keys_of<'v, T: Tree<'v>>(list: &List<'v>, element: T) -> Result<Step<'v>, Error> {
    match element.form() {
        Form::Map => {}
        Form::Null => return Err(Error::new("associative list with keys may not have a null element")),
        Form::Scalar | Form::List => {
            return Err(Error::new("associative list with keys may not have non-map elements"));
        }
    }
    let mut keys: Vec<(Cow<'v, str>, Scalar<'v>)> = Vec::with_capacity(2);
    for name in list.keys() {
        let value = match element.get(name) {
            Some(value) => Some(value.scalar().ok_or_else(|| Error::new("a key of an element is no scalar"))?),
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
    if keys.len() > 1 {
        keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    Ok(Step::Key(keys.into()))
}
