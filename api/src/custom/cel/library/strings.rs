//! Text: the standard functions, strings of version 2, and `find` and `findAll`.

use std::rc::Rc;

use super::super::eval::{Error, Evaluator, Result};
use super::super::value::Value;
use super::{Answer, count, traversal};

/// What matching costs: the text times the pattern. Source: `RegexStringLengthCostFactor`.
fn matching(text: &str, pattern: &str) -> u64 {
    let pattern = u64::try_from(pattern.len().div_ceil(4)).unwrap_or(u64::MAX);
    traversal(text.len() + 1).saturating_mul(pattern)
}

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    use Value::{Bool, Bytes, Int, String};
    let text = |text: &str| Value::text(text);
    let result = match (name, args) {
        ("contains", [String(s), String(part)]) => {
            e.charge(traversal(s.len()).saturating_mul(traversal(part.len()))).map(|()| Bool(s.contains(&**part)))
        }
        ("startsWith", [String(s), String(part)]) => {
            e.charge(traversal(part.len())).map(|()| Bool(s.starts_with(&**part)))
        }
        ("endsWith", [String(s), String(part)]) => e.charge(traversal(part.len())).map(|()| Bool(s.ends_with(&**part))),
        ("matches", [String(s), String(pattern)]) => {
            e.charge(matching(s, pattern)).and_then(|()| Ok(Bool(e.regex(pattern)?.is_match(s))))
        }
        ("find", [String(s), String(pattern)]) => e.charge(matching(s, pattern)).and_then(|()| {
            let regex = e.regex(pattern)?;
            Ok(text(regex.find(s).map_or("", |found| found.as_str())))
        }),
        ("findAll", [String(s), String(pattern)]) => find_all(e, s, pattern, i64::MAX),
        ("findAll", [String(s), String(pattern), Int(max)]) => find_all(e, s, pattern, *max),
        ("_+_", [String(l), String(r)]) => {
            e.charge(traversal(l.len() + r.len())).map(|()| text(&format!("{}{}", &**l, &**r)))
        }
        ("_+_", [Bytes(l), Bytes(r)]) => {
            e.charge(traversal(l.len() + r.len())).map(|()| Bytes(l.iter().chain(&**r).copied().collect::<Rc<[u8]>>()))
        }
        ("charAt", [String(s), Int(at)]) => e.charge(traversal(s.len())).and_then(|()| char_at(s, *at)),
        ("indexOf", [String(s), String(part)]) => index_of(e, s, part, 0),
        ("indexOf", [String(s), String(part), Int(from)]) => index_of(e, s, part, *from),
        ("lastIndexOf", [String(s), String(part)]) => last_index_of(e, s, part, None),
        ("lastIndexOf", [String(s), String(part), Int(from)]) => last_index_of(e, s, part, Some(*from)),
        ("lowerAscii", [String(s)]) => e.charge(traversal(s.len())).map(|()| text(&s.to_ascii_lowercase())),
        ("upperAscii", [String(s)]) => e.charge(traversal(s.len())).map(|()| text(&s.to_ascii_uppercase())),
        ("trim", [String(s)]) => e.charge(traversal(s.len())).map(|()| text(s.trim())),
        ("substring", [String(s), Int(from)]) => substring(e, s, *from, None),
        ("substring", [String(s), Int(from), Int(to)]) => substring(e, s, *from, Some(*to)),
        ("replace", [String(s), String(old), String(new)]) => replace(e, s, old, new, i64::MAX),
        ("replace", [String(s), String(old), String(new), Int(max)]) => replace(e, s, old, new, *max),
        ("split", [String(s), String(separator)]) => split(e, s, separator, -1),
        ("split", [String(s), String(separator), Int(max)]) => split(e, s, separator, *max),
        ("join", [list]) => join(e, list, ""),
        ("join", [list, String(separator)]) => join(e, list, separator),
        ("strings.quote", [String(s)]) => e.charge(2 * traversal(s.len())).map(|()| Value::text(format!("{:?}", &**s))),
        _ => return None,
    };
    Some(result)
}

fn find_all<'a>(e: &mut Evaluator<'a, '_>, text: &str, pattern: &str, max: i64) -> Result<Value<'a>> {
    e.charge(matching(text, pattern))?;
    let regex = e.regex(pattern)?;
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for part in regex.find_iter(text).take(max) {
        e.charge(1 + traversal(part.len()))?;
        found.push(Value::text(part.as_str()));
    }
    Ok(Value::list(found))
}

fn out_of_range(at: i64) -> Error {
    Error::new(format!("index out of range: {at}"))
}

/// A place among letters.
fn place(at: i64, count: usize) -> Result<usize> {
    usize::try_from(at).ok().filter(|n| *n <= count).ok_or_else(|| out_of_range(at))
}

fn char_at<'a>(text: &str, at: i64) -> Result<Value<'a>> {
    let index = place(at, text.chars().count())?;
    Ok(Value::text(text.chars().nth(index).map(String::from).unwrap_or_default()))
}

/// The byte where a letter begins.
fn byte_of(text: &str, letter: usize) -> usize {
    text.char_indices().nth(letter).map_or(text.len(), |(at, _)| at)
}

fn found<'a>(text: &str, at: Option<usize>) -> Value<'a> {
    at.map_or(Value::Int(-1), |at| count(text[..at].chars().count()))
}

fn index_of<'a>(e: &mut Evaluator<'a, '_>, text: &str, part: &str, from: i64) -> Result<Value<'a>> {
    e.charge(traversal(text.len()).saturating_mul(traversal(part.len())))?;
    let from = byte_of(text, place(from, text.chars().count())?);
    Ok(found(text, text[from..].find(part).map(|at| at + from)))
}

fn last_index_of<'a>(e: &mut Evaluator<'a, '_>, text: &str, part: &str, from: Option<i64>) -> Result<Value<'a>> {
    e.charge(traversal(text.len()).saturating_mul(traversal(part.len())))?;
    let end = match from {
        Some(from) => byte_of(text, place(from, text.chars().count())?).saturating_add(part.len()),
        None => text.len(),
    };
    let mut end = end.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(found(text, text[..end].rfind(part)))
}

fn substring<'a>(e: &mut Evaluator<'a, '_>, text: &str, from: i64, to: Option<i64>) -> Result<Value<'a>> {
    e.charge(traversal(text.len()))?;
    let letters = text.chars().count();
    let start = place(from, letters)?;
    let end = to.map_or(Ok(letters), |to| place(to, letters))?;
    if start > end {
        return Err(Error::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    Ok(Value::text(&text[byte_of(text, start)..byte_of(text, end)]))
}

fn replace<'a>(e: &mut Evaluator<'a, '_>, text: &str, old: &str, new: &str, max: i64) -> Result<Value<'a>> {
    e.charge(2 * traversal(text.len()))?;
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let times = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() }.min(max);
    // What is made may be far larger than what is given: it is paid for before it is made.
    e.charge(traversal(times.saturating_mul(new.len())))?;
    Ok(Value::text(text.replacen(old, new, times)))
}

fn split<'a>(e: &mut Evaluator<'a, '_>, text: &str, separator: &str, max: i64) -> Result<Value<'a>> {
    e.charge(2 * traversal(text.len()))?;
    let max = match max {
        0 => return Ok(Value::list(Vec::new())),
        n => usize::try_from(n).unwrap_or(usize::MAX),
    };
    if separator.is_empty() {
        let letters = text.chars().count();
        e.charge(u64::try_from(letters).unwrap_or(u64::MAX))?;
        let cut = byte_of(text, letters.min(max).saturating_sub(1));
        let whole = max >= letters;
        let mut parts: Vec<Value<'a>> =
            text[..if whole { text.len() } else { cut }].chars().map(|c| Value::text(c.to_string())).collect();
        if !whole {
            parts.push(Value::text(&text[cut..]));
        }
        return Ok(Value::list(parts));
    }
    let mut parts = Vec::new();
    for part in text.splitn(max, separator) {
        e.charge(1)?;
        parts.push(Value::text(part));
    }
    Ok(Value::list(parts))
}

fn join<'a>(e: &mut Evaluator<'a, '_>, list: &Value<'a>, separator: &str) -> Result<Value<'a>> {
    let mut out = String::new();
    for (i, element) in list.elements().ok_or_else(Error::no_overload)?.enumerate() {
        let Value::String(text) = element else { return Err(Error::no_overload()) };
        e.charge(1 + 2 * traversal(separator.len() + text.len()))?;
        if i > 0 {
            out.push_str(separator);
        }
        out.push_str(&text);
    }
    Ok(Value::text(out))
}
