//! Regular expressions as Kubernetes reads them, within a bound of memory.
//!
//! Kubernetes' are those of Go. They differ from those of the `regex` crate in a few spellings, which are rewritten:
//! `\d`, `\w`, `\s` and `\b` know ASCII alone, a brace that begins no repetition stands for itself, and a character class has
//! neither classes nor operators within.

use regex::{Regex, RegexBuilder};

use super::structural::SchemaError;

/// What one pattern may need of memory once compiled: the first that does is what it is charged.
const SIZES: [usize; 3] = [64 << 10, 512 << 10, 4 << 20];
/// What all patterns of one schema may need together.
const TOTAL_BYTES_MAX: usize = 64 << 20;
/// How deep groups may stand in each other.
const NESTING_MAX: u32 = 200;
/// The most that a repetition may ask for. Source: Go's `regexp/syntax`.
const REPEAT_MAX: u32 = 1000;

const TOO_LARGE: &str = "it needs too much memory";

/// Compiles the patterns of one schema, and counts what they need.
#[derive(Debug)]
pub(crate) struct Compiler {
    bytes_left: usize,
}

impl Default for Compiler {
    fn default() -> Self {
        Self { bytes_left: TOTAL_BYTES_MAX }
    }
}

impl Compiler {
    /// Whether there is memory left for one more. Texts that are no patterns need none.
    pub(crate) fn fits(&mut self, pattern: &str) -> bool {
        match compile(pattern, self.bytes_left) {
            Ok((_, size)) => {
                self.bytes_left = self.bytes_left.saturating_sub(size);
                true
            }
            Err(reason) => reason != TOO_LARGE,
        }
    }

    pub(super) fn compile(&mut self, pattern: &str) -> Result<Regex, SchemaError> {
        let (regex, size) = compile(pattern, self.bytes_left)
            .map_err(|reason| SchemaError::Pattern { pattern: pattern.to_owned(), reason })?;
        self.bytes_left = self.bytes_left.saturating_sub(size);
        Ok(regex)
    }
}

/// A pattern compiled, and at most how many bytes it takes; or why it is none.
pub(super) fn compile(pattern: &str, bytes_max: usize) -> Result<(Regex, usize), String> {
    let text = rewritten(pattern)?;
    let mut reason = TOO_LARGE.to_owned();
    for size in SIZES.into_iter().filter(|size| *size <= bytes_max) {
        match RegexBuilder::new(&text).size_limit(size).dfa_size_limit(size).nest_limit(NESTING_MAX).build() {
            Ok(regex) => return Ok((regex, size)),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(error) => {
                reason = error.to_string();
                break;
            }
        }
    }
    Err(reason)
}

fn rewritten(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' => escape(rest, false, &mut out),
            '[' => class(rest, &mut out),
            '{' => brace(rest, &mut out)?,
            _ => {
                out.push(c);
                &rest[c.len_utf8()..]
            }
        };
    }
    Ok(out)
}

/// Writes the escape that `rest` begins with, and gives what follows it.
fn escape<'a>(rest: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = rest[1..].chars().next() else {
        out.push('\\');
        return &rest[1..];
    };
    let after = &rest[1 + c.len_utf8()..];
    let set = match c {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => r"\t\n\f\r ",
        'b' | 'B' if !in_class => {
            out.push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            return after;
        }
        'Q' if !in_class => {
            let (literal, after) = after.split_once(r"\E").unwrap_or((after, ""));
            out.push_str(&regex::escape(literal));
            return after;
        }
        _ => {
            out.push('\\');
            out.push(c);
            return after;
        }
    };
    match (c.is_ascii_uppercase(), in_class) {
        (false, true) => out.push_str(set),
        (negated, _) => {
            out.push_str(if negated { "[^" } else { "[" });
            out.push_str(set);
            out.push(']');
        }
    }
    after
}

/// Writes the class that `rest` begins with.
fn class<'a>(rest: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = &rest[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            ']' if !first => {
                out.push(']');
                return after;
            }
            '\\' => escape(rest, true, out),
            '[' if rest.starts_with("[:") && rest.contains(":]") => {
                let end = rest.find(":]").map_or(rest.len(), |at| at + 2);
                out.push_str(&rest[..end]);
                &rest[end..]
            }
            // A dash between two ends is a range; before the end of the class or after its start it is itself.
            '-' if first || after.starts_with(']') => {
                out.push_str(r"\-");
                after
            }
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
        first = false;
    }
    rest
}

/// Writes the repetition that `rest` begins with, or the brace itself.
fn brace<'a>(rest: &'a str, out: &mut String) -> Result<&'a str, String> {
    let inner = rest[1..].split_once('}').map(|(inner, _)| inner);
    let Some(inner) = inner.filter(|inner| is_repetition(inner)) else {
        out.push_str(r"\{");
        return Ok(&rest[1..]);
    };
    if inner.split(',').any(|n| !n.is_empty() && n.parse::<u32>().map_or(true, |n| n > REPEAT_MAX)) {
        return Err(format!("invalid repeat count: `{{{inner}}}`"));
    }
    let end = inner.len() + 2;
    out.push_str(&rest[..end]);
    Ok(&rest[end..])
}

fn is_repetition(inner: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
    !low.is_empty() && digits(low) && digits(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_go() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "٣", false),
            (r"^[\w-]+$", "a-b_1", true),
            (r"^[\w-]+$", "é", false),
            (r"^[a&&b]$", "&", true),
            (r"^[[a]$", "[", true),
            (r"^[]a]$", "]", true),
            (r"^[[:alpha:]]$", "x", true),
            (r"^{a}$", "{a}", true),
            (r"^a{2}$", "aa", true),
            (r"^\/x$", "/x", true),
            (r"\Qa.b\E", "a.b", true),
            (r"^[^\s]$", " ", false),
            (r"\bx\b", "éx", true),
        ] {
            let regex = compile(pattern, TOTAL_BYTES_MAX).expect("a pattern").0;
            assert_eq!(regex.is_match(text), matches, "{pattern} {text}");
        }
        for pattern in ["(", "a{1001}", "(?=a)", r"(a)\1", "((((a{99}){99}){99}){99})", "\\"] {
            assert!(compile(pattern, TOTAL_BYTES_MAX).is_err(), "{pattern}");
        }
    }

    #[test]
    fn patterns_of_a_schema_share_a_bound() {
        let mut compiler = Compiler::default();
        let compiled = (0..1000).take_while(|_| compiler.compile(r"\pL{50}").is_ok()).count();
        assert!((1..1000).contains(&compiled), "{compiled}");
        // Thousands used to be compiled one by one, for minutes, before any of them was refused.
        let mut compiler = Compiler::default();
        assert!(compiler.fits("(") && compiler.fits("a") && !(0..1000).all(|_| compiler.fits(r"\pL{50}")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_rewriting(text in r"[\[\]\\{}^$a-d,0-9:&~wWdDsSbQE()|*+?é-]{0,40}") {
            let _ = compile(&text, 1 << 20);
        }
    }
}
