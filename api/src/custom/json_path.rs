//! Paths into JSON as definitions write them: `.status.conditions[?(@.type=="Ready")].status`.
//!
//! Fields (`.a`, `['a']`, dots in names behind a backslash), indices and ranges of lists, everything (`[*]`, `.*`), what is
//! anywhere below (`..a`), and elements that satisfy one comparison. Source: `k8s.io/client-go/util/jsonpath`.

use serde_json::Value;

/// How many values a step may give: a path of many stars over a large object ends here.
const RESULTS_MAX: usize = 100_000;
/// How many steps a path may have.
const STEPS_MAX: usize = 100;

/// A path that has been read.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// From, to (excluded), by.
    Range(Option<i64>, Option<i64>, usize),
    Index(i64),
    Every,
    Descend,
    Filter(Filter),
}

/// `?(@.a=="x")`; without a comparison, that there is something.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    compared: Option<(Operator, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(JsonPath),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PathError(String);

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        while !rest.is_empty() {
            if steps.len() >= STEPS_MAX {
                return Err(PathError(format!("a path has at most {STEPS_MAX} steps")));
            }
            rest = step(rest, &mut steps)?;
        }
        Ok(Self(steps))
    }

    /// The first value that the path leads to.
    #[must_use]
    pub fn first<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.find(object).into_iter().next()
    }

    /// All values that the path leads to.
    #[must_use]
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![object];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                if next.len() >= RESULTS_MAX {
                    break;
                }
                step.apply(value, &mut next);
            }
            found = next;
        }
        found
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value, out: &mut Vec<&'a Value>) {
        match (self, value) {
            (Step::Field(name), Value::Object(map)) => out.extend(map.get(name)),
            (Step::Every, Value::Object(map)) => out.extend(map.values()),
            (Step::Every, Value::Array(list)) => out.extend(list),
            (Step::Index(at), Value::Array(list)) => out.extend(place(*at, list.len()).and_then(|at| list.get(at))),
            (Step::Range(from, to, by), Value::Array(list)) => {
                let end = |at: Option<i64>, default| at.map_or(Some(default), |at| place(at, list.len()));
                let (from, to) = (end(*from, 0), end(*to, list.len()).map(|to| to.min(list.len())));
                if let (Some(from), Some(to)) = (from, to) {
                    out.extend(list.iter().take(to).skip(from).step_by(*by));
                }
            }
            (Step::Filter(filter), Value::Array(list)) => out.extend(list.iter().filter(|v| filter.holds(v))),
            (Step::Descend, _) => descend(value, out),
            _ => {}
        }
    }
}

fn place(at: i64, length: usize) -> Option<usize> {
    if at < 0 { length.checked_sub(usize::try_from(at.unsigned_abs()).ok()?) } else { usize::try_from(at).ok() }
}

fn descend<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    if out.len() >= RESULTS_MAX {
        return;
    }
    out.push(value);
    match value {
        Value::Object(map) => map.values().for_each(|value| descend(value, out)),
        Value::Array(list) => list.iter().for_each(|value| descend(value, out)),
        _ => {}
    }
}

impl Filter {
    fn holds(&self, value: &Value) -> bool {
        let Some(left) = self.left.of(value) else { return false };
        let Some((operator, right)) = &self.compared else { return true };
        right.of(value).is_some_and(|right| operator.compare(left, right))
    }
}

impl Operand {
    fn of<'a>(&'a self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Operand::Path(path) => path.first(value),
            Operand::Literal(literal) => Some(literal),
        }
    }
}

impl Operator {
    fn compare(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(l), Value::Number(r)) => l.as_f64().partial_cmp(&r.as_f64()),
            (Value::String(l), Value::String(r)) => Some(l.cmp(r)),
            _ => (left == right).then_some(std::cmp::Ordering::Equal),
        };
        match self {
            Operator::Equal => order.is_some_and(|o| o.is_eq()),
            Operator::NotEqual => !order.is_some_and(|o| o.is_eq()),
            Operator::Less => order.is_some_and(|o| o.is_lt()),
            Operator::LessOrEqual => order.is_some_and(|o| o.is_le()),
            Operator::Greater => order.is_some_and(|o| o.is_gt()),
            Operator::GreaterOrEqual => order.is_some_and(|o| o.is_ge()),
        }
    }
}

fn step<'a>(rest: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, PathError> {
    if let Some(after) = rest.strip_prefix("..") {
        steps.push(Step::Descend);
        return if after.starts_with('[') { Ok(after) } else { name(after, steps) };
    }
    if let Some(after) = rest.strip_prefix('.') {
        return if after.starts_with('[') || after.is_empty() { Ok(after) } else { name(after, steps) };
    }
    if let Some(after) = rest.strip_prefix('[') {
        return bracket(after, steps);
    }
    name(rest, steps)
}

fn name<'a>(rest: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, PathError> {
    let mut name = String::new();
    let mut chars = rest.char_indices();
    let mut end = rest.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '.' | '[' => {
                end = at;
                break;
            }
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            ' ' | '{' | '}' | '(' | ')' | ']' | '"' | '\'' | '|' | '?' => {
                return Err(PathError(format!("unrecognized character in action: {c:?}")));
            }
            _ => name.push(c),
        }
    }
    match name.as_str() {
        "" => return Err(PathError("a field has no name".to_owned())),
        "*" => steps.push(Step::Every),
        _ => steps.push(Step::Field(name)),
    }
    Ok(&rest[end..])
}

/// What stands between brackets, the first of which has been read.
fn bracket<'a>(rest: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, PathError> {
    let end = closing(rest).ok_or_else(|| PathError("unterminated array".to_owned()))?;
    let (inner, after) = (rest[..end].trim(), &rest[end + 1..]);
    let step = if inner == "*" {
        Step::Every
    } else if let Some(filter) = inner.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        Step::Filter(parse_filter(filter)?)
    } else if let Some(name) = quoted(inner) {
        Step::Field(name)
    } else {
        range(inner).ok_or_else(|| PathError(format!("invalid array index {inner}")))?
    };
    steps.push(step);
    Ok(after)
}

/// Where the bracket closes, not counting what is quoted.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), _) => quote = (c != q).then_some(q),
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?),
            c if c == quote => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

fn range(text: &str) -> Option<Step> {
    let end = |text: &str| if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) };
    match text.split(':').collect::<Vec<_>>()[..] {
        [at] => Some(Step::Index(at.parse().ok()?)),
        [from, to] => Some(Step::Range(end(from)?, end(to)?, 1)),
        [from, to, by] => Some(Step::Range(end(from)?, end(to)?, by.parse().ok().filter(|by| *by > 0)?)),
        _ => None,
    }
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

fn parse_filter(text: &str) -> Result<Filter, PathError> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(q), _) => quote = (c != q).then_some(q),
            (None, '\'' | '"') => quote = Some(c),
            (None, _) => {
                if let Some((sign, operator)) = OPERATORS.iter().find(|(sign, _)| text[at..].starts_with(sign)) {
                    let right = operand(&text[at + sign.len()..])?;
                    return Ok(Filter { left: operand(&text[..at])?, compared: Some((*operator, right)) });
                }
            }
        }
    }
    Ok(Filter { left: operand(text)?, compared: None })
}

fn operand(text: &str) -> Result<Operand, PathError> {
    let text = text.trim();
    if let Some(path) = text.strip_prefix('@') {
        return JsonPath::parse(path).map(Operand::Path);
    }
    let literal = quoted(text).map(Value::String).or_else(|| serde_json::from_str(text).ok());
    literal.map(Operand::Literal).ok_or_else(|| PathError(format!("unrecognized operand {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_values() {
        let object = serde_json::json!({
            "spec": {"a": [1, 2, 3], "m": {"x.y/z": "q"}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "n": 3}, {"type": "[x]", "status": "False"}]},
        });
        for (path, found) in [
            (".spec.a", "[[1,2,3]]"),
            ("$.spec.a[0]", "[1]"),
            (".spec.a[-1]", "[3]"),
            (".spec.a[-9]", "[]"),
            (".spec.a[1:]", "[2,3]"),
            (".spec.a[::2]", "[1,3]"),
            (".spec.a[*]", "[1,2,3]"),
            (".spec.m['x.y/z']", r#"["q"]"#),
            (r".spec.m.x\.y/z", r#"["q"]"#),
            (r#".status.conditions[?(@.type=="Ready")].status"#, r#"["True"]"#),
            (r".status.conditions[?(@.type=='[x]')].status", r#"["False"]"#),
            (".status.conditions[?(@.n > 2)].type", r#"["Ready"]"#),
            (".status.conditions[?(@.n)].type", r#"["Ready"]"#),
            (r#".status.conditions[?(@.type != "Ready")].type"#, r#"["[x]"]"#),
            ("..type", r#"["Ready","[x]"]"#),
            (".status.*[0].type", r#"["Ready"]"#),
            (".none.x", "[]"),
        ] {
            let parsed = JsonPath::parse(path).expect("a path");
            assert_eq!(serde_json::to_string(&parsed.find(&object)).expect("JSON"), found, "{path}");
        }
        for path in [".a[", ".a[x]", ".a..", ".a b", ".a[?(@.b==c)]", ".a[1:2:0]", ".a{", "[?(@"] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_a_path(text in r#"[.\[\]?()@=<>!'"\\*:a-c0-2 é$-]{0,40}"#) {
            if let Ok(path) = JsonPath::parse(&text) {
                let _ = path.find(&serde_json::json!({"a": [{"b": 1}, 2], "b": {"c": [1, 2, 3]}}));
            }
        }
    }
}
