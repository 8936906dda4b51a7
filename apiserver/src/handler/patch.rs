//! PATCH: the object as a value, changed, and then on the path of an update.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use coracle_api::any::AnyObject;
use coracle_api::codec::{self, Decoded, FieldValidation, Format};
use coracle_api::field::{Errors, Path};
use coracle_api::kind::Kind;
use coracle_api::patch::{self, Read, convert, json, merge, strategic};
use coracle_api::schema::TypeId;
use coracle_api::status::{ApiError, GroupKind};
use http::{Response, StatusCode};
use serde_json::Value;

use super::options::WriteOptions;
use super::owner::{Config, Owner};
use super::{Call, create, meta, update};
use crate::cache::Cached;
use crate::strategy::Part;
use crate::{body, limits, negotiate};

/// A patch as it has come. It is read when there is something to patch, and then applied to each present state in turn.
pub(super) struct Patch {
    form: Form,
    body: Bytes,
    validation: FieldValidation,
    read: OnceLock<Result<Parsed, ApiError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Merge,
    Strategic,
}

/// A patch that has been read.
enum Parsed {
    Json(Read<Vec<json::Operation>>),
    Merge(Read<Value>),
    Strategic(Read<Value>),
}

/// The body of a PATCH.
pub(super) enum Body {
    Patch(Patch),
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
    let (code, object) = match &body {
        Body::Apply(config) => apply(call, part, &options, &owner, config).await?,
        Body::Patch(patch) => {
            let patched =
                update::change(call, part, options.dry_run, Some(&owner), |old| patch.apply_to(call, old)).await?;
            (StatusCode::OK, patched)
        }
    };
    call.show(code, &object)
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
        call.warn(config.warnings(options.validation)?);
        meta::place(object.meta_mut(), call.target.namespace.as_deref())?;
        meta::same_name(object.meta(), call.name())?;
        Ok(object)
    };
    for _ in 0..limits::WRITE_TRIES_MAX {
        let changed =
            update::change(call, part, options.dry_run, None, |old| placed(owner.apply(Some(old), config)?)).await;
        match changed {
            Err(ApiError::NotFound { .. }) if part == Part::Main => {}
            changed => return Ok((StatusCode::OK, changed?)),
        }
        let object = owner.apply(None, config)?;
        call.warn(config.warnings(options.validation)?);
        if let Some(uid) = object.meta().uid.as_deref().filter(|uid| !uid.is_empty()) {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(call.writer(true).conflict(call.name(), &why));
        }
        let mut object = placed(object)?;
        // Whatever version it says: there is none that it could be of.
        object.meta_mut().resource_version = None;
        match create::create(call, object, options.dry_run, None).await {
            // Somebody else has made it in between.
            Err(ApiError::AlreadyExists { .. }) => {}
            created => return Ok((StatusCode::CREATED, created?)),
        }
    }
    Err(call.writer(true).modified(call.name()))
}

impl Body {
    /// Reads the options of a PATCH, and its body if it is a configuration.
    ///
    /// # Errors
    /// When it is of no kind that is known, an option is wrong, or the configuration cannot be read.
    pub(super) async fn read(call: &Call, body: axum::body::Body) -> Result<(WriteOptions, Self), ApiError> {
        let media_type = negotiate::media_type(&call.headers);
        let mut accepted = accepted(&call.resource().kind);
        if !accepted.by_ref().any(|accepted| accepted == media_type) {
            let accepted = self::accepted(&call.resource().kind).map(str::to_owned).collect();
            return Err(ApiError::UnsupportedMediaType { accepted });
        }
        call.named()?;
        let body = body::read(body).await?;
        let options = WriteOptions::parse_patch(&call.query, media_type == APPLY)?;
        let form = match media_type.as_str() {
            APPLY => {
                let config = Config::read(&body, options.force)?;
                return Ok((options, Self::Apply(config)));
            }
            "application/json-patch+json" => Form::Json,
            "application/merge-patch+json" => Form::Merge,
            _ => Form::Strategic,
        };
        let patch = Patch { form, body, validation: options.validation, read: OnceLock::new() };
        Ok((options, Self::Patch(patch)))
    }
}

impl Patch {
    /// What it says.
    ///
    /// # Errors
    /// When it is no patch of its form.
    fn parsed(&self) -> Result<&Parsed, ApiError> {
        let checked = self.validation != FieldValidation::Ignore;
        let read = self.read.get_or_init(|| {
            Ok(match self.form {
                Form::Json => Parsed::Json(json::parse(&self.body, checked)?),
                Form::Merge => Parsed::Merge(merge::parse(&self.body, checked)?),
                Form::Strategic => Parsed::Strategic(strategic::parse(&self.body)?),
            })
        });
        read.as_ref().map_err(Clone::clone)
    }

    /// Whether it may be about who manages which fields: whoever means them says so, here or by an escape.
    fn names_managers(&self) -> bool {
        self.body.windows(12).any(|text| text == b"anagedFields") || self.body.contains(&b'\\')
    }

    /// What the patch makes of an object of the type `schema`, if it is of any, read by `decode`. `live` is the object's
    /// JSON with its managers or without.
    ///
    /// # Errors
    /// When it does not fit.
    pub(super) fn make<T>(
        &self,
        live: impl Fn(bool) -> Bytes,
        schema: Option<TypeId>,
        decode: impl Fn(&[u8], FieldValidation) -> Result<Decoded<T>, ApiError>,
    ) -> Result<Decoded<T>, ApiError> {
        let parsed = self.parsed()?;
        let value = |json: &[u8]| codec::decode_plain::<Value>(json, Format::Json);
        // What the patch is about is all that need be read. An object of a custom kind is read as a whole, or not.
        let whole = live(self.names_managers());
        let names = schema.and_then(|_| parsed.members());
        let parts = names.and_then(|names| {
            codec::partition(&whole, |key| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(key)))
        });
        let (touched, rest) = parts.map_or((whole, Bytes::new()), |(touched, rest)| (touched.into(), rest.into()));
        let mut after = parsed.apply(value(&touched)?, schema)?;
        let unfit = |why: &str| -> Result<ApiError, ApiError> {
            let shown = match parsed {
                Parsed::Strategic(read) => strategic::shown(&read.patch),
                // Who manages its fields is shown with it.
                parsed => parsed.apply(value(&live(true))?, schema)?.to_string(),
            };
            let mut errors = Errors::new();
            errors.invalid(&Path::new("patch"), &shown, why);
            Ok(ApiError::Invalid { kind: GroupKind::fixed("", ""), name: String::new(), errors })
        };
        let fitted = match (parsed, schema) {
            (Parsed::Strategic(_), Some(schema)) => convert::fit(&mut after, schema),
            _ => Ok(()),
        };
        if let Err(why) = fitted {
            return Err(unfit(&why)?);
        }
        let lenient = match self.validation {
            FieldValidation::Strict => FieldValidation::Warn,
            other => other,
        };
        let after = codec::unite(after.to_string().into(), &rest);
        let Decoded { object, mut warnings } = match decode(&after, lenient) {
            Ok(decoded) => decoded,
            Err(ApiError::Undecodable { why, .. } | ApiError::BadRequest(why)) => return Err(unfit(&why)?),
            Err(error) => return Err(error),
        };
        if matches!(parsed, Parsed::Strategic(_)) {
            warnings.sort();
        }
        let findings: Vec<String> = parsed.findings().iter().cloned().chain(warnings).collect();
        match self.validation {
            FieldValidation::Strict if !findings.is_empty() => {
                Err(unfit(&format!("strict decoding error: {}", findings.join(", ")))?)
            }
            FieldValidation::Ignore => Ok(Decoded { object, warnings: Vec::new() }),
            FieldValidation::Strict | FieldValidation::Warn => Ok(Decoded { object, warnings: findings }),
        }
    }

    fn apply_to(&self, call: &Call, old: &AnyObject) -> Result<AnyObject, ApiError> {
        let kind = &call.resource().kind;
        let live = |with_managers: bool| if with_managers { old.encode() } else { old.encode_alone() };
        let decode = |json: &[u8], validation| codec::decode(kind, json, Format::Json, validation);
        let mut object = call.told(self.make(live, kind.model.schema(), decode)?);
        meta::place(object.meta_mut(), call.target.namespace.as_deref())?;
        meta::same_name(object.meta(), call.name())?;
        Ok(object)
    }
}

impl Parsed {
    /// The members of an object that it is about; `None` when it may be about all of it.
    fn members(&self) -> Option<BTreeSet<String>> {
        match self {
            Self::Json(read) => json::members(&read.patch),
            Self::Merge(read) | Self::Strategic(read) => patch::members(&read.patch),
        }
    }

    /// The value that the patch makes of `value`.
    ///
    /// # Errors
    /// When it does not fit.
    fn apply(&self, mut value: Value, schema: Option<TypeId>) -> Result<Value, ApiError> {
        Ok(match self {
            Self::Json(read) => json::apply(value, &read.patch)?,
            Self::Merge(read) => {
                merge::apply(&mut value, read.patch.clone());
                value
            }
            Self::Strategic(read) => match schema {
                Some(schema) => strategic::apply(value, read.patch.clone(), schema)?,
                // Nothing is known of how the lists of custom objects merge.
                None => return Err(ApiError::UnsupportedMediaType { accepted: Vec::new() }),
            },
        })
    }

    /// What stands in it that should not.
    fn findings(&self) -> &[String] {
        match self {
            Self::Json(read) => &read.findings,
            Self::Merge(read) | Self::Strategic(read) => &read.findings,
        }
    }
}
