//! The options of writes, from the query or the body, checked as upstream checks them.

use coracle_api::codec::{self, FieldValidation, Format};
use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};
use coracle_api::validation;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions as Typed, Preconditions};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteOptions {
    pub(super) dry_run: bool,
    pub(super) validation: FieldValidation,
}

impl WriteOptions {
    /// Reads the options of a create, an update or a patch: `kind` is what they are called.
    ///
    /// # Errors
    /// When one has a value that it cannot have.
    pub(super) fn parse(query: &Query, kind: &'static str) -> Result<Self, ApiError> {
        let mut errors = Errors::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                errors.not_supported(&Path::new("fieldValidation"), other, &["Ignore", "Strict", "Warn"]);
                FieldValidation::Warn
            }
        };
        refuse(kind, errors)?;
        Ok(Self { dry_run, validation })
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
                propagation_policy: query.get("propagationPolicy").map(str::to_owned),
                orphan_dependents: query.optional_flag("orphanDependents"),
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
            dry_run: typed.dry_run.iter().flatten().any(|value| !value.is_empty()),
            grace_seconds: typed.grace_period_seconds,
            propagation,
            orphan_dependents: typed.orphan_dependents,
            preconditions: typed.preconditions.unwrap_or_default(),
        })
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Errors) -> bool {
    let mut dry_run = false;
    for value in values.filter(|value| !value.is_empty()) {
        dry_run = true;
        if value != "All" {
            errors.not_supported(&Path::new("dryRun"), value, &["All"]);
        }
    }
    dry_run
}

fn refuse(kind: &'static str, errors: Errors) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid { kind: GroupKind::fixed("meta.k8s.io", kind), name: String::new(), errors })
}
