//! PATCH: the object as a value, changed, and then on the path of an update.

use std::sync::Arc;

use coracle_api::any::AnyObject;
use coracle_api::codec::{self, Decoded, FieldValidation, Format};
use coracle_api::field::{Errors, Path};
use coracle_api::kind::Kind;
use coracle_api::patch::{json, merge, strategic};
use coracle_api::schema::TypeId;
use coracle_api::status::{ApiError, GroupKind};
use http::{Response, StatusCode};
use serde_json::Value;

use super::options::WriteOptions;
use super::owner::{Config, Owner};
use super::{Call, create, meta, update};
use crate::cache::Cached;
use crate::strategy::Part;
use crate::{body, limits, negotiate, respond};

/// A patch, read once and applied to each present state in turn.
pub(super) enum Patch {
    Json(Vec<json::Operation>),
    Merge(Value),
    Strategic(Value),
}

/// The body of a PATCH, read.
pub(super) enum Body {
    Patch {
        patch: Patch,
        /// Whether it may be about who manages which fields.
        names_managers: bool,
        /// What stands twice in it.
        findings: Vec<String>,
    },
    /// A configuration, which makes what is not there.
    Apply(Config),
}

const APPLY: &str = "application/apply-patch+yaml";

const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// The media types of patches that can be made of objects of a kind: nothing is known of how the lists of custom ones
/// merge.
fn accepted(kind: &Kind) -> impl Iterator<Item = &'static str> {
    let is_custom = kind.model.custom().is_some();
    ["application/json-patch+json", "application/merge-patch+json", STRATEGIC, APPLY]
        .into_iter()
        .filter(move |media_type| !is_custom || *media_type != STRATEGIC)
}

pub(super) async fn run(
    call: &Call,
    part: Part,
    body: axum::body::Body,
) -> Result<Response<axum::body::Body>, ApiError> {
    let (options, body) = Body::read(call, body).await?;
    let owner = Owner::of(call, part, &options);
    let (code, object, warnings) = match &body {
        Body::Apply(config) => {
            let (code, object) = apply(call, part, &options, &owner, config).await?;
            (code, object, config.warnings(options.validation)?)
        }
        Body::Patch { patch, names_managers, findings } => {
            let warnings = std::sync::Mutex::new(Vec::new());
            let object = update::change(call, part, options.dry_run, Some(&owner), |old| {
                let patched = patch.apply_to(call, old, *names_managers, findings, options.validation)?;
                *warnings.lock().expect("nothing panics while it holds the warnings") = patched.warnings;
                Ok(patched.object)
            })
            .await?;
            (StatusCode::OK, object, warnings.into_inner().unwrap_or_default())
        }
    };
    let mut response = call.show(code, &object)?;
    respond::warn(&mut response, &warnings);
    Ok(response)
}

/// Applies a configuration to an object, which is created if there is none.
async fn apply(
    call: &Call,
    part: Part,
    options: &WriteOptions,
    owner: &Owner<'_>,
    config: &Config,
) -> Result<(StatusCode, Arc<Cached>), ApiError> {
    let placed = |mut object: AnyObject| {
        config.warnings(options.validation)?;
        meta::same_name(object.meta(), call.name())?;
        meta::place(object.meta_mut(), call.target.namespace.as_deref())?;
        Ok(object)
    };
    for _ in 0..limits::WRITE_TRIES_MAX {
        let changed =
            update::change(call, part, options.dry_run, None, |old| placed(owner.apply(call, Some(old), config)?))
                .await;
        match changed {
            Err(ApiError::NotFound { .. }) if part == Part::Main => {}
            changed => return Ok((StatusCode::OK, changed?)),
        }
        let object = placed(owner.apply(call, None, config)?)?;
        if let Some(uid) = object.meta().uid.as_deref().filter(|uid| !uid.is_empty()) {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(call.writer(true).conflict(call.name(), &why));
        }
        match create::create(call, object, options.dry_run, None).await {
            // Somebody else has made it in between.
            Err(ApiError::AlreadyExists { .. }) => {}
            created => return Ok((StatusCode::CREATED, created?)),
        }
    }
    Err(call.writer(true).modified(call.name()))
}

impl Body {
    /// Reads the options of a PATCH, and its body as its media type says.
    ///
    /// # Errors
    /// When it is of no kind that is known, or cannot be read.
    pub(super) async fn read(call: &Call, body: axum::body::Body) -> Result<(WriteOptions, Self), ApiError> {
        let media_type = negotiate::media_type(&call.headers);
        let mut accepted = accepted(&call.resource().kind);
        if !accepted.by_ref().any(|accepted| accepted == media_type) {
            let accepted = self::accepted(&call.resource().kind).map(str::to_owned).collect();
            return Err(ApiError::UnsupportedMediaType { accepted });
        }
        let options = WriteOptions::parse_patch(&call.query, media_type == APPLY)?;
        let body = body::read(body).await?;
        if media_type == APPLY {
            let config = Config::read(&body, options.force)?;
            return Ok((options, Self::Apply(config)));
        }
        let Decoded { object: value, warnings: findings } = codec::decode_value(&body, Format::Json)?;
        let patch = match media_type.as_str() {
            "application/json-patch+json" => Patch::Json(json::parse(&body)?),
            "application/merge-patch+json" => Patch::Merge(value),
            _ => Patch::Strategic(value),
        };
        // Whoever means the managers says so, here or by an escape: then they are in the object that is patched.
        let names_managers = body.windows(12).any(|text| text == b"anagedFields") || body.contains(&b'\\');
        Ok((options, Self::Patch { patch, names_managers, findings }))
    }
}

impl Body {
    /// What stands twice in a patch.
    pub(super) fn findings(&self) -> &[String] {
        match self {
            Self::Patch { findings, .. } => findings,
            Self::Apply(_) => &[],
        }
    }
}

impl Patch {
    /// The value that the patch makes of `value`, which is of the type `schema` if it is of any.
    ///
    /// # Errors
    /// When it does not fit.
    pub(super) fn apply(&self, mut value: Value, schema: Option<TypeId>) -> Result<Value, ApiError> {
        Ok(match self {
            Self::Json(operations) => json::apply(value, operations)?,
            Self::Merge(patch) => {
                merge::apply(&mut value, patch.clone());
                value
            }
            Self::Strategic(patch) => match schema {
                Some(schema) => strategic::apply(value, patch.clone(), schema)?,
                // Nothing is known of how the lists of custom objects merge.
                None => return Err(ApiError::UnsupportedMediaType { accepted: Vec::new() }),
            },
        })
    }

    fn apply_to(
        &self,
        call: &Call,
        old: &AnyObject,
        names_managers: bool,
        findings: &[String],
        validation: FieldValidation,
    ) -> Result<Decoded<AnyObject>, ApiError> {
        let kind = &call.resource().kind;
        let before = if names_managers { old.encode() } else { old.encode_alone() };
        let before: Value = codec::decode_plain(&before, Format::Json)?;
        let patched = self.apply(before, kind.model.schema())?;
        let json = serde_json::to_vec(&patched).map_err(|error| ApiError::Internal(error.to_string()))?;
        let decoded = codec::decode(kind, &json, Format::Json, validation);
        let mut decoded = judge(decoded, findings, validation)?;
        meta::same_name(decoded.object.meta(), call.name())?;
        meta::place(decoded.object.meta_mut(), call.target.namespace.as_deref())?;
        Ok(decoded)
    }
}

/// What a patch made, as it was read, with what stood twice in the patch itself. What cannot be read is the patch's fault.
pub(super) fn judge<T>(
    decoded: Result<Decoded<T>, ApiError>,
    findings: &[String],
    validation: FieldValidation,
) -> Result<Decoded<T>, ApiError> {
    let unfit = |why: &str| {
        let mut errors = Errors::new();
        errors.invalid(&Path::new("patch"), "", why);
        ApiError::Invalid { kind: GroupKind::fixed("", ""), name: String::new(), errors }
    };
    let decoded = decoded.map_err(|error| match error {
        ApiError::BadRequest(why) => unfit(&why),
        error => error,
    })?;
    match validation {
        FieldValidation::Strict if !findings.is_empty() => {
            Err(unfit(&format!("strict decoding error: {}", findings.join(", "))))
        }
        FieldValidation::Ignore => Ok(decoded),
        FieldValidation::Strict | FieldValidation::Warn => {
            let warnings = findings.iter().cloned().chain(decoded.warnings).collect();
            Ok(Decoded { object: decoded.object, warnings })
        }
    }
}
