//! `format`: text with values put into it, and the formats that have names.

use std::fmt::Write;

use super::super::eval::{Error, Evaluator, Result};
use super::super::parse::with_stack;
use super::super::value::Value;
use super::{Answer, shown, traversal};
use crate::names;

/// The formats that have names. Source: `k8s.io/apiserver/pkg/cel/library/format.go`.
const NAMED: [&str; 12] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
];
const MORE_NAMED: [&str; 1] = ["dns1035LabelPrefix"];
const PRECISION_MAX: usize = 64;

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    let known = |name: &str| NAMED.iter().chain(&MORE_NAMED).copied().find(|known| *known == name);
    Some(match (name, args) {
        ("format", [Value::String(text), list]) if list.is_list() => format(e, text, list),
        ("format.named", [Value::String(name)]) => {
            Ok(known(name).map_or(Value::Optional(None), |name| Value::some(Value::Format(name))))
        }
        ("validate", [Value::Format(format), Value::String(text)]) => {
            e.charge(traversal(text.len()).saturating_mul(10)).map(|()| validate(format, text))
        }
        (_, []) => Ok(Value::Format(known(name.strip_prefix("format.")?)?)),
        _ => return None,
    })
}

/// What is wrong with a text, if anything.
fn validate<'a>(format: &str, text: &str) -> Value<'a> {
    let prefix = names::without_trailing_dash(text);
    let wrong = match format {
        "dns1123Label" => names::dns_label(text),
        "dns1123Subdomain" => names::dns_subdomain(text),
        "dns1035Label" => names::dns_1035_label(text),
        "dns1123LabelPrefix" => names::dns_label(&prefix),
        "dns1123SubdomainPrefix" => names::dns_subdomain(&prefix),
        "dns1035LabelPrefix" => names::dns_1035_label(&prefix),
        "qualifiedName" => names::qualified(text),
        "labelValue" => names::label_value(text),
        other if crate::custom::fits_format(other, text) => Vec::new(),
        other => vec![format!("invalid {other}")],
    };
    if wrong.is_empty() {
        return Value::Optional(None);
    }
    Value::some(Value::list(wrong.into_iter().map(Value::text).collect()))
}

fn format<'a>(e: &mut Evaluator<'a, '_>, text: &str, list: &Value<'a>) -> Result<Value<'a>> {
    e.charge(traversal(text.len()))?;
    let mut out = String::with_capacity(text.len());
    let mut used = 0;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = precision(after)?;
        let verb = after.chars().next().ok_or_else(|| Error::new("unexpected end of string"))?;
        let value = list.at(used).ok_or_else(|| Error::new(format!("index {used} out of range")))?;
        used += 1;
        let before = out.len();
        put(e, verb, precision, &value, &mut out)?;
        e.charge(traversal(out.len() - before))?;
        rest = &after[verb.len_utf8()..];
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

fn precision(text: &str) -> Result<(Option<usize>, &str)> {
    let Some(digits) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let precision = digits[..end].parse().ok().filter(|n| *n <= PRECISION_MAX);
    Ok((Some(precision.ok_or_else(|| Error::new("invalid precision"))?), &digits[end..]))
}

fn put<'a>(
    e: &mut Evaluator<'a, '_>,
    verb: char,
    precision: Option<usize>,
    value: &Value<'a>,
    out: &mut String,
) -> Result<()> {
    let wrong = || Error::new(format!("error during formatting: could not convert argument to %{verb}"));
    let written = match (verb, value) {
        ('s', _) => return written_out(e, value, out),
        ('d', Value::Int(n)) => write!(out, "{n}"),
        ('d', Value::Uint(n)) => write!(out, "{n}"),
        ('f', _) => write!(out, "{:.*}", precision.unwrap_or(6), double(value).ok_or_else(wrong)?),
        ('e', _) => exponent(out, double(value).ok_or_else(wrong)?, precision.unwrap_or(6)),
        ('b', Value::Bool(b)) => write!(out, "{}", u8::from(*b)),
        ('b' | 'x' | 'X' | 'o', Value::Int(n)) => {
            let sign = if *n < 0 { "-" } else { "" };
            out.push_str(sign);
            radix(out, verb, n.unsigned_abs())
        }
        ('b' | 'x' | 'X' | 'o', Value::Uint(n)) => radix(out, verb, *n),
        ('x' | 'X', Value::String(text)) => {
            e.charge(2 * traversal(text.len()))?;
            hex(out, verb, text.as_bytes())
        }
        ('x' | 'X', Value::Bytes(bytes)) => {
            e.charge(2 * traversal(bytes.len()))?;
            hex(out, verb, bytes)
        }
        ('d' | 'b' | 'x' | 'X' | 'o', _) => return Err(wrong()),
        _ => return Err(Error::new(format!("unrecognized formatting clause \"{verb}\""))),
    };
    written.map_err(|_| wrong())
}

#[expect(clippy::cast_precision_loss, reason = "a double is asked for")]
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(n) => Some(*n),
        Value::Int(n) => Some(*n as f64),
        Value::Uint(n) => Some(*n as f64),
        _ => None,
    }
}

/// As C writes exponents: with a sign and two digits.
fn exponent(out: &mut String, n: f64, precision: usize) -> std::fmt::Result {
    let text = format!("{n:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return out.write_str(&text) };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    write!(out, "{mantissa}e{sign}{digits:0>2}")
}

fn radix(out: &mut String, verb: char, n: u64) -> std::fmt::Result {
    match verb {
        'b' => write!(out, "{n:b}"),
        'o' => write!(out, "{n:o}"),
        'x' => write!(out, "{n:x}"),
        _ => write!(out, "{n:X}"),
    }
}

fn hex(out: &mut String, verb: char, bytes: &[u8]) -> std::fmt::Result {
    bytes.iter().try_for_each(|byte| if verb == 'x' { write!(out, "{byte:02x}") } else { write!(out, "{byte:02X}") })
}

/// A value in words; lists and maps with what is in them.
fn written_out<'a>(e: &mut Evaluator<'a, '_>, value: &Value<'a>, out: &mut String) -> Result<()> {
    e.charge(value.weight())?;
    if let Some(keys) = value.keys() {
        out.push('{');
        for (i, key) in keys.iter().enumerate() {
            out.push_str(if i > 0 { ", " } else { "" });
            written_out(e, key, out)?;
            out.push_str(": ");
            let entry = value.entry(key).unwrap_or(Value::Null);
            with_stack(|| written_out(e, &entry, out))?;
        }
        out.push('}');
        return Ok(());
    }
    let Some(count) = value.size().filter(|_| value.is_list()) else {
        out.push_str(&shown(value));
        return Ok(());
    };
    out.push('[');
    for i in 0..count {
        out.push_str(if i > 0 { ", " } else { "" });
        let element = value.at(i).unwrap_or(Value::Null);
        with_stack(|| written_out(e, &element, out))?;
    }
    out.push(']');
    Ok(())
}
