//! The options of writes, from the query or the body, checked as upstream checks them.

use coracle_api::codec::{self, FieldValidation, Format};
use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::validation;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions as Typed, Preconditions};

use crate::limits;
use crate::query::Query;

/// What becomes of the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    /// They are left behind.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted before.
    Foreground,
}

/// How an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WriteOptions {
    pub(super) dry_run: bool,
    pub(super) validation: FieldValidation,
    /// How the client wants to be called as a manager of fields.
    pub(super) field_manager: Option<String>,
    /// Whether an apply takes what others own.
    pub(super) force: bool,
}

impl WriteOptions {
    /// Reads the options of a create, an update or a patch: `kind` is what they are called.
    ///
    /// # Errors
    /// When one has a value that it cannot have.
    pub(super) fn parse(query: &Query, kind: &'static str) -> Result<Self, ApiError> {
        Self::checked(query, kind, Errors::new())
    }

    /// Reads the options of a patch.
    ///
    /// # Errors
    /// As [`WriteOptions::parse`].
    pub(super) fn parse_patch(query: &Query, is_apply: bool) -> Result<Self, ApiError> {
        let mut errors = Errors::new();
        if !is_apply && query.optional_flag("force").is_some() {
            errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        }
        if is_apply && query.get("fieldManager").is_none_or(str::is_empty) {
            errors.required(&Path::new("fieldManager"), "is required for apply patch");
        }
        Self::checked(query, "PatchOptions", errors)
    }

    fn checked(query: &Query, kind: &'static str, mut errors: Errors) -> Result<Self, ApiError> {
        let field_manager = query.get("fieldManager").map(str::to_owned);
        check_manager(&Path::new("fieldManager"), field_manager.as_deref().unwrap_or_default(), &mut errors);
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                errors.not_supported(&Path::new("fieldValidation"), other, &["", "Ignore", "Strict", "Warn"]);
                FieldValidation::Warn
            }
        };
        refuse(kind, errors)?;
        Ok(Self { dry_run, validation, field_manager, force: query.flag("force") })
    }
}

/// How an object is deleted.
#[derive(Clone, Debug)]
pub(super) struct DeleteOptions {
    pub(super) dry_run: bool,
    pub(super) grace_seconds: Option<i64>,
    pub(super) propagation: Option<Propagation>,
    /// The older way to say it: `orphanDependents`.
    pub(super) orphan_dependents: Option<bool>,
    pub(super) preconditions: Preconditions,
}

impl DeleteOptions {
    /// Reads them from the body; from the query when there is no body.
    ///
    /// # Errors
    /// When one has a value that it cannot have.
    pub(super) fn parse(query: &Query, body: &[u8], format: Format) -> Result<Self, ApiError> {
        let typed = match body {
            [] => Typed {
                dry_run: Some(query.all("dryRun").map(str::to_owned).collect()),
                grace_period_seconds: query.integer("gracePeriodSeconds")?,
                propagation_policy: query.first("propagationPolicy").map(str::to_owned),
                orphan_dependents: query.optional_flag("orphanDependents"),
                preconditions: preconditions(query),
                ..Typed::default()
            },
            body => codec::decode_delete_options(body, format)?,
        };
        Self::check(typed)
    }

    /// Checks options that came with something else.
    ///
    /// # Errors
    /// As [`DeleteOptions::parse`].
    pub(super) fn check(typed: Typed) -> Result<Self, ApiError> {
        refuse("DeleteOptions", validation::delete_options(&typed))?;
        let propagation = match typed.propagation_policy.as_deref() {
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            _ => None,
        };
        Ok(Self {
            dry_run: typed.dry_run.is_some_and(|values| !values.is_empty()),
            grace_seconds: typed.grace_period_seconds,
            propagation,
            orphan_dependents: typed.orphan_dependents,
            preconditions: typed.preconditions.unwrap_or_default(),
        })
    }
}

/// What an object must be like to be deleted, by the query. Source: upstream's `Convert_url_Values_To_v1_DeleteOptions`.
fn preconditions(query: &Query) -> Option<Preconditions> {
    let text = |name: &str| query.get(name).map(str::to_owned);
    let asked = Preconditions { uid: text("uid"), resource_version: text("resourceVersion") };
    (asked != Preconditions::default()).then_some(asked)
}

/// Source: upstream's `ValidateFieldManager`.
pub(super) fn check_manager(path: &Path<'_>, name: &str, errors: &mut Errors) {
    if name.len() > limits::MANAGER_BYTES_MAX {
        errors.too_long(path, limits::MANAGER_BYTES_MAX);
    }
    for (position, letter) in name.char_indices().filter(|(_, letter)| !is_printable(*letter)) {
        let code = u32::from(letter);
        errors.invalid(path, name, &format!("invalid character U+{code:04X} (at position {position})"));
    }
}

/// Whether a letter can be seen: of the spaces only the plain one can. Source: Go's `unicode.IsPrint`, which goes by the
/// same categories as Rust's escapes.
pub(super) fn is_printable(letter: char) -> bool {
    let shown: String = ['.', letter].iter().collect();
    let mut escaped = shown.escape_debug().skip(1);
    escaped.next() != Some('\\') || matches!(letter, '\\' | '"' | '\'')
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Errors) -> bool {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|value| *value != "All") {
        errors.value_not_supported(&Path::new("dryRun"), &values, &["All"]);
    }
    !values.is_empty()
}

fn refuse(kind: &'static str, errors: Errors) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid { kind: GroupKind::fixed("meta.k8s.io", kind), name: String::new(), errors })
}
