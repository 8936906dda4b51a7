//! Semantic versions.

use std::cmp::Ordering;
use std::rc::Rc;

use super::super::eval::{Error, Evaluator};
use super::super::value::Value;
use super::{Answer, traversal};

/// A version. Source: semver.org 2.0.0.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Semver {
    numbers: [u64; 3],
    pre_release: Vec<String>,
}

impl Semver {
    /// Reads a version; a lenient one may have a `v` before it, zeros before numbers, and lack the last numbers.
    fn parse(text: &str, lenient: bool) -> Option<Self> {
        let text = if lenient { text.strip_prefix('v').unwrap_or(text) } else { text };
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let mut parts: Vec<&str> = core.split('.').collect();
        if lenient {
            parts.resize(parts.len().max(3), "0");
        }
        let [major, minor, patch] = parts[..] else { return None };
        let number = |text: &str| {
            let canonical = lenient || text == "0" || !text.starts_with('0');
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if canonical && digits { text.parse().ok() } else { None }
        };
        let word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let numeric = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
        let pre_release: Vec<&str> = pre.map(|pre| pre.split('.').collect()).unwrap_or_default();
        let canonical = |word: &&str| !(numeric(word) && word.len() > 1 && word.starts_with('0'));
        if !pre_release.iter().all(|w| word(w) && canonical(w)) || !build.is_none_or(|b| b.split('.').all(|w| word(&w)))
        {
            return None;
        }
        Some(Self {
            numbers: [number(major)?, number(minor)?, number(patch)?],
            pre_release: pre_release.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Which comes first: what is built does not matter, and what is not yet released comes before what is.
    pub(in super::super) fn precedence(&self, other: &Self) -> Ordering {
        let released = self.pre_release.is_empty().cmp(&other.pre_release.is_empty());
        let words = || {
            let pairs = self.pre_release.iter().zip(&other.pre_release);
            let by_word = pairs.map(|(l, r)| by_word(l, r)).find(|order| order.is_ne());
            by_word.unwrap_or(self.pre_release.len().cmp(&other.pre_release.len()))
        };
        self.numbers.cmp(&other.numbers).then(released).then_with(words)
    }
}

fn by_word(left: &str, right: &str) -> Ordering {
    match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(l), Ok(r)) => l.cmp(&r),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        _ => left.cmp(right),
    }
}

pub(super) fn call<'a>(e: &mut Evaluator<'a, '_>, name: &str, args: &[Value<'a>]) -> Answer<'a> {
    use Value::{Bool, Int, Semver as Version, String};
    let (text, lenient) = match args {
        [String(text)] => (text, false),
        [String(text), Bool(lenient)] => (text, *lenient),
        [Version(l), Version(r)] => {
            let order = l.precedence(r);
            return Some(Ok(match name {
                "isLessThan" => Bool(order.is_lt()),
                "isGreaterThan" => Bool(order.is_gt()),
                "compareTo" => Int(order as i64),
                _ => return None,
            }));
        }
        [Version(version)] => {
            let part = ["major", "minor", "patch"].iter().position(|part| *part == name)?;
            let number = i64::try_from(version.numbers[part]);
            return Some(number.map(Int).map_err(|_| Error::new("integer overflow")));
        }
        _ => return None,
    };
    Some(match name {
        "isSemver" => e.charge(traversal(text.len())).map(|()| Bool(Semver::parse(text, lenient).is_some())),
        "semver" => e.charge(traversal(text.len())).and_then(|()| {
            let invalid = || Error::new(format!("invalid semantic version {:?}", &**text));
            Semver::parse(text, lenient).map(|version| Version(Rc::new(version))).ok_or_else(invalid)
        }),
        _ => return None,
    })
}
