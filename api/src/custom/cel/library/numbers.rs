//! Arithmetic, conversions and quantities.

use jiff::{SignedDuration, Timestamp};

use super::super::duration;
use super::super::eval::{Error, Evaluator, Result};
use super::super::value::Value;
use super::{Answer, shown, traversal};
use crate::quantity::Quantity;

/// The least and greatest that a double may be to become a whole number.
const WHOLE: std::ops::Range<f64> = -9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0;
const WHOLE_UNSIGNED: std::ops::Range<f64> = 0.0..18_446_744_073_709_551_616.0;

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    use Value::{Bool, Double, Int, String, Uint};
    let text_cost = |value: &Value<'_>| if let String(text) = value { traversal(text.len()) } else { 1 };
    let result = match (name, args) {
        ("-_", [Int(n)]) => whole(n.checked_neg()),
        ("-_", [Double(n)]) => Ok(Double(-n)),
        (_, [Int(l), Int(r)]) if is_operator(name) => int(name, *l, *r),
        (_, [Uint(l), Uint(r)]) if is_operator(name) => uint(name, *l, *r),
        ("_+_", [Double(l), Double(r)]) => Ok(Double(l + r)),
        ("_-_", [Double(l), Double(r)]) => Ok(Double(l - r)),
        ("_*_", [Double(l), Double(r)]) => Ok(Double(l * r)),
        ("_/_", [Double(l), Double(r)]) => Ok(Double(l / r)),
        ("_+_" | "_-_", [l, r]) => return times(name, l, r),
        ("int", [value]) => e.charge(text_cost(value)).and_then(|()| to_int(value)),
        ("uint", [value]) => e.charge(text_cost(value)).and_then(|()| to_uint(value)),
        ("double", [value]) => e.charge(text_cost(value)).and_then(|()| to_double(value)),
        ("bool", [Bool(b)]) => Ok(Bool(*b)),
        ("bool", [String(text)]) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Bool(false)),
            other => Err(Error::new(format!("type conversion error from '{other}' to 'bool'"))),
        },
        ("string", [value]) => e.charge(value.weight()).and_then(|()| to_string(value)),
        ("bytes", [Value::Bytes(bytes)]) => Ok(Value::Bytes(bytes.clone())),
        ("bytes", [String(text)]) => e.charge(traversal(text.len())).map(|()| Value::Bytes(text.as_bytes().into())),
        _ => return quantity(e, name, args),
    };
    Some(result)
}

fn is_operator(name: &str) -> bool {
    matches!(name, "_+_" | "_-_" | "_*_" | "_/_" | "_%_")
}

fn whole<'a>(n: Option<i64>) -> Result<Value<'a>> {
    n.map(Value::Int).ok_or_else(|| Error::new("integer overflow"))
}

fn int<'a>(name: &str, l: i64, r: i64) -> Result<Value<'a>> {
    whole(match name {
        "_+_" => l.checked_add(r),
        "_-_" => l.checked_sub(r),
        "_*_" => l.checked_mul(r),
        "_/_" if r == 0 => return Err(Error::new("division by zero")),
        "_/_" => l.checked_div(r),
        _ if r == 0 => return Err(Error::new("modulus by zero")),
        _ => l.checked_rem(r),
    })
}

fn uint<'a>(name: &str, l: u64, r: u64) -> Result<Value<'a>> {
    let n = match name {
        "_+_" => l.checked_add(r),
        "_-_" => l.checked_sub(r),
        "_*_" => l.checked_mul(r),
        "_/_" if r == 0 => return Err(Error::new("division by zero")),
        "_/_" => l.checked_div(r),
        _ if r == 0 => return Err(Error::new("modulus by zero")),
        _ => l.checked_rem(r),
    };
    n.map(Value::Uint).ok_or_else(|| Error::new("unsigned integer overflow"))
}

/// Times and durations added and taken away.
fn times<'a>(name: &str, l: &Value<'a>, r: &Value<'a>) -> Answer<'a> {
    use Value::{Duration, Timestamp as Time};
    let overflow = || Error::new("timestamp overflow");
    let moved = |time: &Timestamp, nanos: Option<i64>| {
        let by = SignedDuration::from_nanos(nanos.ok_or_else(overflow)?);
        time.checked_add(by).map(Time).map_err(|_| overflow())
    };
    Some(match (name, l, r) {
        ("_+_", Duration(l), Duration(r)) => whole(l.checked_add(*r)).map(as_duration),
        ("_-_", Duration(l), Duration(r)) => whole(l.checked_sub(*r)).map(as_duration),
        ("_+_", Time(time), Duration(nanos)) | ("_+_", Duration(nanos), Time(time)) => moved(time, Some(*nanos)),
        ("_-_", Time(time), Duration(nanos)) => moved(time, nanos.checked_neg()),
        ("_-_", Time(l), Time(r)) => {
            i64::try_from(l.duration_since(*r).as_nanos()).map(Duration).map_err(|_| overflow())
        }
        _ => return None,
    })
}

fn as_duration(value: Value<'_>) -> Value<'_> {
    if let Value::Int(nanos) = value { Value::Duration(nanos) } else { value }
}

#[expect(clippy::cast_possible_truncation, reason = "it is checked to be in range")]
fn to_int<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    let range = || Error::new("integer overflow");
    match value {
        Value::Int(n) => Ok(Value::Int(*n)),
        Value::Uint(n) => i64::try_from(*n).map(Value::Int).map_err(|_| range()),
        Value::Double(n) if WHOLE.contains(n) => Ok(Value::Int(*n as i64)),
        Value::Double(_) => Err(range()),
        Value::Timestamp(time) => Ok(Value::Int(time.as_second())),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::String(text) => text.parse().map(Value::Int).map_err(|_| unreadable(text, "int")),
        _ => Err(Error::no_overload()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is checked to be in range")]
fn to_uint<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    let range = || Error::new("unsigned integer overflow");
    match value {
        Value::Uint(n) => Ok(Value::Uint(*n)),
        Value::Int(n) => u64::try_from(*n).map(Value::Uint).map_err(|_| range()),
        Value::Double(n) if WHOLE_UNSIGNED.contains(n) => Ok(Value::Uint(*n as u64)),
        Value::Double(_) => Err(range()),
        Value::String(text) => text.parse().map(Value::Uint).map_err(|_| unreadable(text, "uint")),
        _ => Err(Error::no_overload()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
fn to_double<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::Double(n) => Ok(Value::Double(*n)),
        Value::Int(n) => Ok(Value::Double(*n as f64)),
        Value::Uint(n) => Ok(Value::Double(*n as f64)),
        Value::String(text) => text.parse().map(Value::Double).map_err(|_| unreadable(text, "double")),
        _ => Err(Error::no_overload()),
    }
}

fn to_string<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Duration(nanos) => Ok(Value::text(duration::print(*nanos))),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => Err(Error::new("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Null | Value::View(_) | Value::List(_) | Value::Map(_) | Value::Optional(_) | Value::Format(_) => {
            Err(Error::no_overload())
        }
        other => Ok(Value::text(shown(other))),
    }
}

fn unreadable(text: &str, wanted: &str) -> Error {
    Error::new(format!("type conversion error from '{text}' to '{wanted}'"))
}

fn quantity<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    use Value::{Bool, Int, Quantity as Amount, String};
    Some(match (name, args) {
        ("isQuantity", [String(text)]) => {
            e.charge(traversal(text.len())).map(|()| Bool(text.parse::<Quantity>().is_ok()))
        }
        ("quantity", [String(text)]) => e.charge(traversal(text.len())).and_then(|()| match text.parse::<Quantity>() {
            Ok(amount) => Ok(Amount(amount)),
            Err(error) => Err(Error::new(error.to_string())),
        }),
        ("isInteger", [Amount(q)]) => Ok(Bool(q.is_whole() && Quantity::from_units(q.units()) == *q)),
        ("asInteger", [Amount(q)]) => match Quantity::from_units(q.units()) {
            n if n == *q => Ok(Int(q.units())),
            _ => Err(Error::new("cannot convert value to integer")),
        },
        ("asApproximateFloat", [Amount(q)]) => Ok(Value::Double(q.to_f64())),
        ("sign", [Amount(q)]) => Ok(Int(i64::from(!q.is_zero()) * if q.is_negative() { -1 } else { 1 })),
        ("isGreaterThan", [Amount(l), Amount(r)]) => Ok(Bool(l > r)),
        ("isLessThan", [Amount(l), Amount(r)]) => Ok(Bool(l < r)),
        ("compareTo", [Amount(l), Amount(r)]) => Ok(Int(l.cmp(r) as i64)),
        ("add", [Amount(l), Amount(r)]) => Ok(Amount(*l + *r)),
        ("add", [Amount(l), Int(n)]) => Ok(Amount(*l + Quantity::from_units(*n))),
        ("sub", [Amount(l), Amount(r)]) => Ok(Amount(*l - *r)),
        ("sub", [Amount(l), Int(n)]) => Ok(Amount(*l - Quantity::from_units(*n))),
        _ => return None,
    })
}
