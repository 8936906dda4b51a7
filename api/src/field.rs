//! Paths of fields, and the list of what is wrong with them.
//!
//! A [`Path`] is a chain on the stack: descending costs nothing, and its text is made only when there is an error to
//! tell. A rule of validation is one call on [`Errors`].
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation/field`.

use std::collections::HashSet;
use std::fmt::{self, Display, Write};

use serde::Serialize;

/// Where in an object something is, as `spec.containers[0].ports[1].name`.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
    Entry(&'a str),
}

impl<'a> Path<'a> {
    /// The object itself, whose path is empty.
    pub const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    /// A field of the object.
    #[must_use]
    pub const fn new(field: &'a str) -> Self {
        Path { parent: None, step: Step::Field(field) }
    }

    /// A field below this one; `name` may itself have dots.
    #[must_use]
    pub const fn child(&'a self, name: &'a str) -> Self {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of this list.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Self {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// An entry of this map.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Self {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    /// An entry of this map, shown as a field is.
    #[must_use]
    pub const fn entry(&'a self, key: &'a str) -> Self {
        Path { parent: Some(self), step: Step::Entry(key) }
    }

    /// The path without indices and keys, as Go's JSON decoder names fields.
    #[must_use]
    pub fn fields_only(&self) -> String {
        let mut text = self.parent.map(Path::fields_only).unwrap_or_default();
        if let Step::Field(name) = self.step {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }

    /// The field that is meant, or whose element or entry is meant.
    #[must_use]
    pub fn last_field(&self) -> Option<&'a str> {
        match (self.step, self.parent) {
            (Step::Field(name), _) => Some(name),
            (_, Some(parent)) => parent.last_field(),
            _ => None,
        }
    }

    /// Whether it is the object itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        matches!(self.step, Step::Root)
    }
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) | Step::Entry(name) => {
                if self.parent.is_some_and(|p| !p.is_root()) {
                    f.write_char('.')?;
                }
                f.write_str(name)
            }
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// What is wrong with a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    Required,
    Invalid,
    NotSupported,
    Duplicate,
    Forbidden,
    TooLong,
    TooMany,
    NotFound,
    TypeInvalid,
    Internal,
}

impl Reason {
    /// The reason of a cause in a `Status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Required => "FieldValueRequired",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::NotFound => "FieldValueNotFound",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
            Reason::Internal => "InternalError",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Reason::Required => "Required value",
            Reason::Invalid | Reason::TypeInvalid => "Invalid value",
            Reason::NotSupported => "Unsupported value",
            Reason::Duplicate => "Duplicate value",
            Reason::Forbidden => "Forbidden",
            Reason::TooLong => "Too long",
            Reason::TooMany => "Too many",
            Reason::NotFound => "Not found",
            Reason::Internal => "Internal error",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub field: String,
    pub reason: Reason,
    /// The message without the field: `Invalid value: "x": must be …`.
    pub message: String,
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

/// Everything that is wrong with an object, in the order of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    found: Vec<Error>,
    tolerated: Vec<Error>,
}

impl Errors {
    /// Nothing wrong so far.
    #[must_use]
    pub const fn new() -> Self {
        Self { found: Vec::new(), tolerated: Vec::new() }
    }

    /// What is wrong but was so before, and is told as a warning.
    pub fn tolerated(&self) -> impl Iterator<Item = String> + '_ {
        self.tolerated.iter().map(Error::to_string)
    }

    /// Lets pass everything that `other` found.
    pub fn tolerate(&mut self, mut other: Errors) {
        self.tolerated.append(&mut other.found);
        self.tolerated.append(&mut other.tolerated);
    }

    /// Forgets what is told a second time.
    pub fn dedup(&mut self) {
        let mut seen = HashSet::new();
        self.found.retain(|error| seen.insert(error.to_string()));
    }

    /// The value is missing; `detail` may be empty.
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, Reason::Required, None, detail);
    }

    /// The value is not of the form that `detail` tells.
    pub fn invalid<V: Serialize + ?Sized>(&mut self, path: &Path<'_>, value: &V, detail: &str) {
        self.push(path, Reason::Invalid, Some(shown(value)), detail);
    }

    /// As [`Errors::invalid`] for each of `details`: a name that breaks two rules is told both.
    pub fn invalid_each<V: Serialize + ?Sized>(&mut self, path: &Path<'_>, value: &V, details: Vec<String>) {
        for detail in details {
            self.invalid(path, value, &detail);
        }
    }

    /// The value is none of those that are supported.
    pub fn not_supported(&mut self, path: &Path<'_>, value: &str, supported: &[&str]) {
        let listed: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = if listed.is_empty() { String::new() } else { format!("supported values: {}", listed.join(", ")) };
        self.push(path, Reason::NotSupported, Some(format!("{value:?}")), &detail);
    }

    /// As [`Errors::not_supported`] for a value that need not be text.
    pub fn value_not_supported<V: Serialize + ?Sized>(&mut self, path: &Path<'_>, value: &V, supported: &[&str]) {
        let listed: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        self.push(path, Reason::NotSupported, Some(shown(value)), &format!("supported values: {}", listed.join(", ")));
    }

    /// The value stands more than once where it may only once.
    pub fn duplicate<V: Serialize + ?Sized>(&mut self, path: &Path<'_>, value: &V) {
        self.push(path, Reason::Duplicate, Some(shown(value)), "");
    }

    /// The value may not be set, or not be changed.
    pub fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, Reason::Forbidden, None, detail);
    }

    /// The value has more than `bytes_max` bytes.
    pub fn too_long(&mut self, path: &Path<'_>, bytes_max: usize) {
        self.push(path, Reason::TooLong, None, &format!("may not be more than {bytes_max} bytes"));
    }

    /// The list has `actual` elements where `max` is the most.
    pub fn too_many(&mut self, path: &Path<'_>, actual: usize, max: usize) {
        let noun = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {noun}");
        self.push(path, Reason::TooMany, Some(actual.to_string()), &detail);
    }

    /// What the value names does not exist.
    pub fn not_found<V: Serialize + ?Sized>(&mut self, path: &Path<'_>, value: &V) {
        self.push(path, Reason::NotFound, Some(shown(value)), "");
    }

    /// The value is of another type than the field.
    pub fn type_invalid<V: Serialize + ?Sized>(&mut self, path: &Path<'_>, value: &V, detail: &str) {
        self.push(path, Reason::TypeInvalid, Some(shown(value)), detail);
    }

    /// What a rule of a custom resource says of a value, which is not shown if it is large.
    pub fn rule<V: Serialize + ?Sized>(&mut self, path: &Path<'_>, reason: Reason, value: Option<&V>, detail: &str) {
        self.push(path, reason, value.map(shown), detail);
    }

    /// The value could not be judged, for no fault of its own.
    pub fn internal(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, Reason::Internal, None, detail);
    }

    fn push(&mut self, path: &Path<'_>, reason: Reason, value: Option<String>, detail: &str) {
        let mut message = reason.words().to_owned();
        for part in [value.as_deref().unwrap_or_default(), detail] {
            if !part.is_empty() {
                message.push_str(": ");
                message.push_str(part);
            }
        }
        self.found.push(Error { field: path.to_string(), reason, message });
    }

    /// Adds what another check found.
    pub fn append(&mut self, mut other: Errors) {
        self.found.append(&mut other.found);
        self.tolerated.append(&mut other.tolerated);
    }

    /// Adds what another check found of a part, whose fields are told from the part on.
    pub fn append_below(&mut self, path: &Path<'_>, other: Errors) {
        for mut error in other.found {
            error.field = match error.field.as_str() {
                "" | "<nil>" => path.to_string(),
                field if field.starts_with('[') => format!("{path}{field}"),
                field => format!("{path}.{field}"),
            };
            self.found.push(error);
        }
    }

    /// Sorts what was found by what is told of it.
    pub fn sort(&mut self) {
        self.found.sort_by_cached_key(Error::to_string);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Error> {
        self.found.iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Error;
    type IntoIter = std::slice::Iter<'a, Error>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One error alone, or all of them in brackets. Source: `utilerrors.Aggregate`, which drops repeated messages.
impl Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A body of 3 MB has room for a hundred thousand faults: each is looked up, never searched for.
        let mut seen = HashSet::new();
        let lines: Vec<String> =
            self.found.iter().map(Error::to_string).filter(|line| seen.insert(line.clone())).collect();
        match lines.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

/// A value as messages show it: JSON, so that text is quoted and numbers are not.
fn shown<V: Serialize + ?Sized>(value: &V) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_print_as_upstream() {
        let spec = Path::new("spec");
        let list = spec.child("containers");
        let first = list.index(0);
        let labels = first.child("labels");
        assert_eq!(labels.key("a/b").to_string(), "spec.containers[0].labels[a/b]");
        assert_eq!(first.child("name").fields_only(), "spec.containers.name");
        assert_eq!(Path::ROOT.child("spec").to_string(), "spec");
        assert_eq!(Path::ROOT.to_string(), "");
    }

    #[test]
    fn messages_are_worded_as_upstream() {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        errors.required(&path.child("a"), "");
        errors.invalid(&path.child("b"), "x", "must be y");
        errors.not_supported(&path.child("c"), "Q", &["A", "B"]);
        errors.duplicate(&path.child("d"), &7);
        errors.too_long(&path.child("e"), 63);
        errors.too_many(&path.child("f"), 9, 8);
        errors.forbidden(&path.child("g"), "no");
        let lines: Vec<String> = errors.iter().map(Error::to_string).collect();
        assert_eq!(
            lines,
            [
                "spec.a: Required value",
                r#"spec.b: Invalid value: "x": must be y"#,
                r#"spec.c: Unsupported value: "Q": supported values: "A", "B""#,
                "spec.d: Duplicate value: 7",
                "spec.e: Too long: may not be more than 63 bytes",
                "spec.f: Too many: 9: must have at most 8 items",
                "spec.g: Forbidden: no",
            ]
        );
        assert!(errors.to_string().starts_with("[spec.a: Required value, spec.b: "));
    }
}
