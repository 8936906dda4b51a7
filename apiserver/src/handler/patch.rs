//! PATCH: the object as a value, changed, and then on the path of an update.

use axum::body::Body;
use coracle_api::any::AnyObject;
use coracle_api::codec::{self, FieldValidation, Format};
use coracle_api::patch::{json, merge, strategic};
use coracle_api::schema::TypeId;
use coracle_api::status::ApiError;
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use super::options::WriteOptions;
use super::{Call, meta, update};
use crate::strategy::Part;
use crate::{body, negotiate, respond};

/// A patch, read once and applied to each present state in turn.
pub(super) enum Patch {
    Json(Vec<json::Operation>),
    Merge(Value),
    Strategic(Value),
}

const ACCEPTED: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];

pub(super) async fn run(call: &Call, part: Part, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    let patch = Patch::read(&call.headers, body).await?;
    let warnings = std::sync::Mutex::new(Vec::new());
    let object = update::change(call, part, options.dry_run, |old| {
        let patched = patch.apply_to(call, old, options.validation)?;
        *warnings.lock().expect("nothing panics while it holds the warnings") = patched.warnings;
        Ok(patched.object)
    })
    .await?;
    let mut response = call.show(StatusCode::OK, &object)?;
    respond::warn(&mut response, &warnings.into_inner().unwrap_or_default());
    Ok(response)
}

impl Patch {
    /// Reads a patch of the kind that its media type says.
    ///
    /// # Errors
    /// When it is of no kind that is known, or cannot be read.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        let media_type = negotiate::media_type(headers);
        let body = body::read(body).await?;
        let value = || codec::decode_plain::<Value>(&body, Format::Json);
        match media_type.as_str() {
            "application/json-patch+json" => Ok(Self::Json(json::parse(&body)?)),
            "application/merge-patch+json" => Ok(Self::Merge(value()?)),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic(value()?)),
            _ => Err(ApiError::UnsupportedMediaType { accepted: ACCEPTED.map(str::to_owned).to_vec() }),
        }
    }

    /// The value that the patch makes of `value`, which is of the type `schema`.
    ///
    /// # Errors
    /// When it does not fit.
    pub(super) fn apply(&self, mut value: Value, schema: TypeId) -> Result<Value, ApiError> {
        Ok(match self {
            Self::Json(operations) => json::apply(value, operations)?,
            Self::Merge(patch) => {
                merge::apply(&mut value, patch.clone());
                value
            }
            Self::Strategic(patch) => strategic::apply(value, patch.clone(), schema)?,
        })
    }

    fn apply_to(
        &self,
        call: &Call,
        old: &AnyObject,
        validation: FieldValidation,
    ) -> Result<codec::Decoded<AnyObject>, ApiError> {
        let kind = call.resource().kind;
        let before: Value = codec::decode_plain(&old.encode(), Format::Json)?;
        let patched = self.apply(before, (kind.model.schema)())?;
        let json = serde_json::to_vec(&patched).map_err(|error| ApiError::Internal(error.to_string()))?;
        let mut decoded = codec::decode(kind, &json, Format::Json, validation)?;
        meta::same_name(decoded.object.meta(), call.name())?;
        meta::place(decoded.object.meta_mut(), call.target.namespace.as_deref())?;
        Ok(decoded)
    }
}
