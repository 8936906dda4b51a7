//! The functions of CEL, and those that Kubernetes adds to them.
//!
//! Each file has the functions of one library: `call` gives `None` for those that it doesn't have. A method's receiver is
//! its first argument.

mod collections;
mod format;
mod lists;
mod net;
mod numbers;
pub(super) mod semver;
mod strings;
mod time;
pub(super) mod url;

pub(super) use time::is_literal as is_time;

use super::duration;
use super::eval::{Error, Evaluator, Result, compare};
use super::value::Value;

/// What a library answers: nothing if the function is of another one.
type Answer<'a> = Option<Result<Value<'a>>>;

const NAMESPACES: [&str; 8] = ["sets", "lists", "optional", "ip", "format", "strings", "cel", "jsonpatch"];
const TYPES: [&str; 10] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

/// Whether a name may be the first half of a function's.
pub(super) fn is_namespace(name: &str) -> bool {
    NAMESPACES.contains(&name)
}

/// The type that a name stands for.
pub(super) fn type_named(name: &str) -> Option<&'static str> {
    TYPES.into_iter().find(|known| *known == name)
}

/// Calls a function.
pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Result<Value<'a>> {
    e.charge(1)?;
    operators(e, name, args)
        .or_else(|| strings::call(e, name, args))
        .or_else(|| collections::call(e, name, args))
        .or_else(|| lists::call(e, name, args))
        .or_else(|| numbers::call(e, name, args))
        .or_else(|| time::call(e, name, args))
        .or_else(|| net::call(e, name, args))
        .or_else(|| url::call(e, name, args))
        .or_else(|| semver::call(e, name, args))
        .or_else(|| format::call(e, name, args))
        .unwrap_or_else(|| Err(Error::no_overload()))
}

fn operators<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    let order = |l: &Value<'a>, r: &Value<'a>, e: &mut Evaluator<'a, '_>| {
        e.charge(l.weight().min(r.weight()))?;
        match (l, r) {
            (Value::Quantity(_) | Value::Semver(_), _) => Err(Error::no_overload()),
            // What is not a number is neither less nor greater.
            (Value::Double(n), _) | (_, Value::Double(n)) if n.is_nan() => Ok(None),
            _ => compare(l, r).map(Some).ok_or_else(Error::no_overload),
        }
    };
    Some(match (name, args) {
        ("_==_", [l, r]) => e.equal(l, r).map(Value::Bool),
        ("_!=_", [l, r]) => e.equal(l, r).map(|same| Value::Bool(!same)),
        ("_<_", [l, r]) => order(l, r, e).map(|o| Value::Bool(o.is_some_and(|o| o.is_lt()))),
        ("_<=_", [l, r]) => order(l, r, e).map(|o| Value::Bool(o.is_some_and(|o| o.is_le()))),
        ("_>_", [l, r]) => order(l, r, e).map(|o| Value::Bool(o.is_some_and(|o| o.is_gt()))),
        ("_>=_", [l, r]) => order(l, r, e).map(|o| Value::Bool(o.is_some_and(|o| o.is_ge()))),
        ("!_", [Value::Bool(b)]) => Ok(Value::Bool(!b)),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Value::Type(value.type_name())),
        _ => return None,
    })
}

/// A value as messages and `string()` show it.
pub(super) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanos) => duration::print(*nanos),
        Value::Timestamp(time) => time.to_string(),
        Value::Type(name) => (*name).to_owned(),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(ip, bits) => format!("{ip}/{bits}"),
        Value::Quantity(quantity) => quantity.to_string(),
        Value::Url(url) => url.text.clone(),
        other => other.type_name().to_owned(),
    }
}

/// What it costs to go over so many bytes once.
fn traversal(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(10)).unwrap_or(u64::MAX)
}

/// A whole number that counts or places something.
fn count(n: usize) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}
