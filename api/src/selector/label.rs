//! Label selectors: `app=web,tier in (front,back),!canary`, and the typed form that kinds have in their specs.
//!
//! Source: `k8s.io/apimachinery/pkg/labels`.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Typed;

use super::ParseError;
use crate::field::{Errors, Path};
use crate::names;

/// A conjunction of requirements; none of them selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without repetitions.
    pub values: Vec<String>,
}

/// How a label is compared with the values of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    DoubleEquals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Selects every object.
    #[must_use]
    pub const fn everything() -> Self {
        Self { requirements: Vec::new(), nothing: false }
    }

    /// Selects no object.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Selects objects that have all of these labels.
    #[must_use]
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self { requirements: labels.iter().map(equals).collect(), nothing: false }
    }

    /// Reads the form that URLs have.
    ///
    /// # Errors
    /// When the text is no selector; the message says where it fails.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { tokens: lex(text), at: 0 };
        let mut requirements = parser.requirements()?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements, nothing: false })
    }

    /// Makes a selector of the typed form. None selects nothing, an empty one everything.
    ///
    /// # Errors
    /// When an operator or a value is none.
    pub fn of_typed(typed: Option<&Typed>) -> Result<Self, ParseError> {
        let Some(typed) = typed else { return Ok(Self::nothing()) };
        let mut selector = typed.match_labels.as_ref().map(Self::of_labels).unwrap_or_default();
        for expression in typed.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(ParseError(format!("{other:?} is not a valid label selector operator"))),
            };
            let values = expression.values.clone().unwrap_or_default();
            selector.requirements.push(Requirement::new(expression.key.clone(), operator, values)?);
        }
        Ok(selector)
    }

    /// Whether an object of these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.matches_with(|key| labels.and_then(|labels| labels.get(key)).map(String::as_str))
    }

    /// As [`LabelSelector::matches`], for labels that are kept in another form: `label` gives the value of one.
    #[must_use]
    pub fn matches_with<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }

    /// Whether it selects every object.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Requirement {
    /// A requirement whose parts fit each other.
    ///
    /// # Errors
    /// When the key or a value can't be a label's, or the operator takes another number of values.
    pub fn new(key: String, operator: Operator, mut values: Vec<String>) -> Result<Self, ParseError> {
        let mut errors = Errors::new();
        errors.invalid_each(&Path::new("key"), &key, names::qualified(&key));
        let path = Path::new("values");
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                errors.invalid(&path, &values, "for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                errors.invalid(&path, &values, "exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                errors.invalid(&path, &values, "values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
                errors.invalid(&path, &values, "for 'Gt', 'Lt' operators, exactly one value is required");
            }
            Operator::GreaterThan | Operator::LessThan if values[0].parse::<i64>().is_err() => {
                errors.invalid(&path.index(0), &values[0], "for 'Gt', 'Lt' operators, the value must be an integer");
            }
            _ => {}
        }
        for (i, value) in values.iter().enumerate() {
            errors.invalid_each(&path.index(i).key(&key), value, names::label_value(value));
        }
        if !errors.is_empty() {
            return Err(ParseError(errors.to_string()));
        }
        values.sort();
        values.dedup();
        Ok(Self { key, operator, values })
    }

    fn matches(&self, label: Option<&str>) -> bool {
        let listed = |label: &str| self.values.iter().any(|v| v == label);
        let compared = |wanted: std::cmp::Ordering| {
            let label = label.and_then(|l| l.parse::<i64>().ok());
            let value = self.values.first().and_then(|v| v.parse::<i64>().ok());
            label.zip(value).is_some_and(|(label, value)| label.cmp(&value) == wanted)
        };
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => label.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => compared(std::cmp::Ordering::Greater),
            Operator::LessThan => compared(std::cmp::Ordering::Less),
        }
    }
}

impl Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        let values = values.join(",");
        match operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// A typed selector as tables show it: `app=web,tier in (a,b)`, or `<none>`. Source: `FormatLabelSelector`.
#[must_use]
pub fn format(typed: Option<&Typed>) -> String {
    match LabelSelector::of_typed(typed) {
        Ok(selector) if selector.requirements.is_empty() => "<none>".to_owned(),
        Ok(selector) => selector.to_string(),
        Err(_) => "<error>".to_owned(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    /// `=`, `==`, `!=`, `!`, `,`, `(`, `)`, `<`, `>`
    Symbol(&'t str),
    End,
}

impl Token<'_> {
    fn text(&self) -> &str {
        match self {
            Token::Word(text) | Token::Symbol(text) => text,
            Token::End => "",
        }
    }
}

const SYMBOLS: &[char] = &['=', '!', '(', ')', ',', '<', '>'];

fn lex(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = match rest.find(|c: char| SYMBOLS.contains(&c) || c.is_whitespace()) {
            Some(0) => {
                let len = if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 };
                tokens.push(Token::Symbol(&rest[..len]));
                len
            }
            end => {
                let end = end.unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..end]));
                end
            }
        };
        rest = rest[end..].trim_start();
    }
    tokens
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn expect_failed(found: &Token<'_>, expected: &str) -> ParseError {
        ParseError(format!("found '{}', expected: {expected}", found.text()))
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, ParseError> {
        let mut requirements = Vec::new();
        if self.peek() == Token::End {
            return Ok(requirements);
        }
        if !matches!(self.peek(), Token::Word(_) | Token::Symbol("!")) {
            return Err(Self::expect_failed(&self.peek(), "!, identifier, or 'end of string'"));
        }
        loop {
            let requirement = self.requirement();
            requirements.push(
                requirement.map_err(|ParseError(why)| ParseError(format!("unable to parse requirement: {why}")))?,
            );
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => {}
                other => return Err(Self::expect_failed(&other, "',' or 'end of string'")),
            }
            if !matches!(self.peek(), Token::Word(_) | Token::Symbol("!")) {
                return Err(Self::expect_failed(&self.peek(), "identifier after ','"));
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        let absent = self.peek() == Token::Symbol("!");
        if absent {
            self.at += 1;
        }
        let key = match self.next() {
            Token::Word(word) => word.to_owned(),
            other => return Err(Self::expect_failed(&other, "identifier")),
        };
        if absent {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        let operator = match self.peek() {
            Token::End | Token::Symbol(",") => return Requirement::new(key, Operator::Exists, Vec::new()),
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Symbol("=") => Operator::Equals,
            Token::Symbol("==") => Operator::DoubleEquals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return Err(Self::expect_failed(&other, "in, notin, =, ==, !=, gt, lt")),
        };
        self.at += 1;
        let values = if matches!(operator, Operator::In | Operator::NotIn) { self.set()? } else { vec![self.value()?] };
        Requirement::new(key, operator, values)
    }

    /// One value, which may be empty: `a=` and `a=,b`.
    fn value(&mut self) -> Result<String, ParseError> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(word) => {
                self.at += 1;
                Ok(word.to_owned())
            }
            other => Err(Self::expect_failed(&other, "identifier")),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, ParseError> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(Self::expect_failed(&other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(word) => {
                    values.push(word.to_owned());
                    match self.next() {
                        Token::Symbol(",") => {
                            if self.peek() == Token::Symbol(")") {
                                values.push(String::new());
                            }
                        }
                        Token::Symbol(")") => return Ok(values),
                        other => return Err(Self::expect_failed(&other, "',' or ')'")),
                    }
                }
                Token::Symbol(")") => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    return Ok(values);
                }
                Token::Symbol(",") => values.push(String::new()),
                other => return Err(Self::expect_failed(&other, "',', ')' or identifier")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split(',').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn texts_select() {
        for (selector, of, expected) in [
            ("", "", true),
            ("a=1", "a=1,b=2", true),
            ("a==1", "a=2", false),
            ("a!=1", "a=2", true),
            ("a!=1", "", true),
            ("a in (1, 2)", "a=2", true),
            ("a notin (1,2)", "a=2", false),
            ("a notin (1,2)", "b=2", true),
            ("a", "a=", true),
            ("!a", "a=1", false),
            ("a,!b , c in (x)", "a=1,c=x", true),
            ("a=", "a=", true),
            ("a>5", "a=6", true),
            ("a<5", "a=6", false),
            ("in in (in)", "in=in", true),
            ("x.io/a=1", "x.io/a=1", true),
        ] {
            let parsed = LabelSelector::parse(selector).unwrap();
            assert_eq!(parsed.matches(Some(&labels(of))), expected, "{selector} on {of}");
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        for (text, message) in [
            ("a,", "found '', expected: identifier after ','"),
            ("a in 1", "found '1', expected: '('"),
            ("a in (1", "expected: ',' or ')'"),
            ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("=", "found '=', expected: !, identifier, or 'end of string'"),
            ("a=!!", "found '!', expected: identifier"),
            ("_=1", "key: Invalid value: \"_\": name part must consist of"),
            ("a=b_", "values[0][a]: Invalid value: \"b_\""),
            ("a>x", "the value must be an integer"),
        ] {
            let error = LabelSelector::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn typed_selectors_select() {
        assert!(!LabelSelector::of_typed(None).unwrap().matches(None));
        assert!(LabelSelector::of_typed(Some(&Typed::default())).unwrap().matches(None));
        let typed = |operator: &str, values: &[&str]| Typed {
            match_labels: Some(labels("a=1")),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "b".to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
        };
        assert!(LabelSelector::of_typed(Some(&typed("In", &["2"]))).unwrap().matches(Some(&labels("a=1,b=2"))));
        assert!(LabelSelector::of_typed(Some(&typed("Near", &[]))).is_err());
        assert!(LabelSelector::of_typed(Some(&typed("In", &[]))).is_err());
        assert_eq!(format(Some(&typed("NotIn", &["z", "y"]))), "a=1,b notin (y,z)");
        assert_eq!(format(Some(&Typed::default())), "<none>");
    }

    proptest! {
        #[test]
        fn printing_and_parsing_undo_each_other(
            keys in proptest::collection::btree_set("[a-z]{1,8}(\\.io/[a-z]{1,3})?", 0..5),
            operators in proptest::collection::vec(0..9_usize, 5),
            values in proptest::collection::vec("[a-z0-9]{1,3}", 1..4),
        ) {
            let all = [
                Operator::Equals, Operator::DoubleEquals, Operator::NotEquals, Operator::In, Operator::NotIn,
                Operator::Exists, Operator::DoesNotExist, Operator::GreaterThan, Operator::LessThan,
            ];
            let requirements: Vec<Requirement> = keys.into_iter().zip(operators).map(|(key, o)| {
                let values = match all[o] {
                    Operator::In | Operator::NotIn => values.clone(),
                    Operator::Exists | Operator::DoesNotExist => vec![],
                    Operator::GreaterThan | Operator::LessThan => vec!["7".to_owned()],
                    _ => vec![values[0].clone()],
                };
                Requirement::new(key, all[o], values).unwrap()
            }).collect();
            let selector = LabelSelector { requirements, nothing: false };
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
