//! Objects as the tables that `kubectl get` prints.
//!
//! Source: upstream's `metav1.Table` and its `TableConvertor`s.

use std::sync::Arc;

use bytes::Bytes;
use coracle_api::codec;
use coracle_api::object::Object as _;
use coracle_api::status::ApiError;
use coracle_api::table::{Column, Writer, columns, completed, row, scale_columns, scale_row};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use k8s_openapi::jiff::Timestamp;

use crate::cache::Cached;
use crate::query::Query;
use crate::resource::Resource;
use crate::strategy::typed;

/// What of an object stands beside its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    Metadata,
    Object,
}

impl Include {
    /// Reads the parameter `includeObject`.
    ///
    /// # Errors
    /// When it is none of those that there are.
    pub(crate) fn parse(query: &Query) -> Result<Self, ApiError> {
        match query.get("includeObject") {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::Nothing),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(ApiError::BadRequest(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// The table of one object.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn one(resource: &Resource, object: &Cached, include: Include) -> Result<Bytes, ApiError> {
    write(resource, std::slice::from_ref(object), &at(object.revision), columns(&resource.kind), include)
}

/// The table of one object in a watch, where the columns are told once.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn in_watch(
    resource: &Resource,
    object: &Cached,
    include: Include,
    is_first: bool,
) -> Result<Bytes, ApiError> {
    let columns = if is_first { columns(&resource.kind) } else { &[] };
    write(resource, std::slice::from_ref(object), &at(object.revision), columns, include)
}

/// The table of a list.
///
/// # Errors
/// When an object cannot be read.
pub(crate) fn many(
    resource: &Resource,
    objects: &[Arc<Cached>],
    meta: &ListMeta,
    include: Include,
) -> Result<Bytes, ApiError> {
    write(resource, objects, meta, columns(&resource.kind), include)
}

/// The table of a scale.
pub(crate) fn scale(scale: &Scale, include: Include) -> Bytes {
    let meta = ListMeta { resource_version: scale.metadata.resource_version.clone(), ..ListMeta::default() };
    let mut writer = Writer::new(&meta, &scale_columns());
    let beside = match include {
        Include::Nothing => Bytes::new(),
        Include::Metadata => codec::partial_metadata(&scale.encode()),
        Include::Object => scale.encode(),
    };
    writer.row(&scale_row(scale, Timestamp::now()), None, &beside);
    writer.finish()
}

fn at(revision: u64) -> ListMeta {
    ListMeta { resource_version: Some(revision.to_string()), ..ListMeta::default() }
}

fn write(
    resource: &Resource,
    objects: &[impl AsRef<Cached>],
    meta: &ListMeta,
    columns: &[Column],
    include: Include,
) -> Result<Bytes, ApiError> {
    let now = Timestamp::now();
    let mut writer = Writer::new(meta, columns);
    for cached in in_order(resource, objects)? {
        let object = resource.load(cached)?;
        let beside = match include {
            Include::Nothing => Bytes::new(),
            Include::Metadata => codec::partial_metadata(&cached.body),
            Include::Object => resource.body(cached)?,
        };
        writer.row(&row(&object, now), completed(&object), &beside);
    }
    Ok(writer.finish())
}

/// The objects as a table lists them: in the order of their keys, but for flow schemas, which stand in that in which they
/// are tried.
fn in_order<'o>(resource: &Resource, objects: &'o [impl AsRef<Cached>]) -> Result<Vec<&'o Cached>, ApiError> {
    let mut objects: Vec<&Cached> = objects.iter().map(AsRef::as_ref).collect();
    if resource.kind.kind == "FlowSchema" && objects.len() > 1 {
        let mut tried = Vec::with_capacity(objects.len());
        for cached in objects {
            let object = resource.load(cached)?;
            let spec = typed::<FlowSchema>(&object).spec.as_ref();
            tried.push((spec.and_then(|spec| spec.matching_precedence).unwrap_or_default(), cached));
        }
        tried.sort_by_key(|(precedence, _)| *precedence);
        objects = tried.into_iter().map(|(_, cached)| cached).collect();
    }
    Ok(objects)
}
