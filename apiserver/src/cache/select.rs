//! Which objects of a kind a list or a watch is about.

use coracle_api::selector::LabelSelector;

use super::object::Cached;

/// The part of the key space that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Namespace(String),
    /// One object: `namespace/name`, or `name`.
    Object(String),
}

/// One requirement on a field, by its place among the kind's fields.
#[derive(Clone, Debug)]
pub(crate) struct FieldTerm {
    pub(crate) field: usize,
    pub(crate) value: Box<str>,
    pub(crate) equal: bool,
}

/// A scope and what its objects must be like.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) scope: Scope,
    pub(crate) labels: Option<LabelSelector>,
    pub(crate) fields: Vec<FieldTerm>,
    /// What `metadata.name` and `metadata.namespace` must or must not be, beyond the scope.
    pub(crate) names: Vec<NameTerm>,
}

#[derive(Clone, Debug)]
pub(crate) struct NameTerm {
    pub(crate) part: NamePart,
    pub(crate) value: Box<str>,
    pub(crate) equal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamePart {
    Name,
    Namespace,
}

impl Selection {
    /// Everything in `scope`.
    pub(crate) fn of(scope: Scope) -> Self {
        Self { scope, labels: None, fields: Vec::new(), names: Vec::new() }
    }

    /// Whether the selection is the scope alone.
    pub(crate) fn is_plain(&self) -> bool {
        self.labels.is_none() && self.fields.is_empty() && self.names.is_empty()
    }

    /// Whether `object`, which lies in the scope, is wanted.
    pub(crate) fn wants(&self, object: &Cached) -> bool {
        self.fields.iter().all(|term| (object.fields[term.field] == term.value) == term.equal)
            && self.names.iter().all(|term| term.holds(object))
            && self.labels.as_ref().is_none_or(|labels| labels.matches_with(|name| object.label(name)))
    }

    /// The value that the field at `index` must have, if there is one.
    pub(crate) fn required(&self, index: usize) -> Option<&str> {
        self.fields.iter().find(|term| term.field == index && term.equal).map(|term| &*term.value)
    }
}

impl NameTerm {
    fn holds(&self, object: &Cached) -> bool {
        let is = match self.part {
            NamePart::Name => object.name(),
            NamePart::Namespace => object.namespace().unwrap_or_default(),
        };
        (is == &*self.value) == self.equal
    }
}
