//! The fields that objects are selected by: where each stands in an object, and what a field selector asks of it.

use std::borrow::Cow;

use coracle_api::key;
use coracle_api::kind::Kind;
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::ApiError;

use crate::cache::{Extractor, FieldSource, FieldTerm, Layout, NamePart, NameTerm, Scope, Selection};
use crate::query::Query;
use crate::resource::Resource;
use crate::writer::path;

/// The field by which pods are found: every kubelet watches those of its own node.
const NODE_NAME: &str = "spec.nodeName";

/// How the objects of a kind are cached.
pub(crate) fn layout(kind: &Kind) -> Layout {
    let sources: Vec<FieldSource<'_>> = kind.selectable.iter().map(|field| source(kind, field)).collect();
    Layout {
        prefix: key::of_kind(kind),
        extractor: Extractor::new(&sources),
        index: kind.selectable.iter().position(|field| field == NODE_NAME),
        custom: kind.model.custom().cloned(),
    }
}

/// Where a selectable field stands. Most are called by their path.
fn source<'a>(kind: &Kind, field: &'a str) -> FieldSource<'a> {
    if kind.model.custom().is_some() {
        return FieldSource { path: field, default: "", otherwise: None };
    }
    let place = |name: &str| kind.selectable.iter().position(|field| field == name);
    let (path, default, otherwise) = match field {
        "source" => ("source.component", "", place("reportingComponent")),
        "status.podIPs" => ("status.podIPs", "", place("status.podIP")),
        "spec.unschedulable" | "spec.hostNetwork" => (field, "false", None),
        "spec.host" => ("spec.host", "", place(NODE_NAME)),
        "status.replicas" => (field, "0", None),
        "status.successful" => ("status.succeeded", "0", None),
        _ => (field, "", None),
    };
    FieldSource { path, default, otherwise }
}

/// What a list, a watch or the deletion of a collection is about.
///
/// # Errors
/// When a selector cannot be read, or names a field that the kind cannot be selected by.
pub(crate) fn selection(
    resource: &Resource,
    namespace: Option<&str>,
    name: Option<&str>,
    query: &Query,
) -> Result<Selection, ApiError> {
    let labels = query.get("labelSelector").map(LabelSelector::parse).transpose();
    let labels = labels.map_err(|error| ApiError::BadRequest(error.to_string()))?;
    let fields = query.get("fieldSelector").map(FieldSelector::parse).transpose();
    let fields = fields.map_err(|error| ApiError::BadRequest(error.to_string()))?.unwrap_or_default();
    fields.check(&resource.kind)?;
    if name.is_some() && !fields.is_everything() && fields.required("metadata.name") != name {
        return Err(ApiError::BadRequest("fieldSelector metadata.name doesn't match requested name".to_owned()));
    }
    let mut selection = Selection::of(scope(resource, namespace, name, &fields));
    selection.labels = labels.filter(|labels| !labels.is_everything());
    for term in fields.terms() {
        let (value, equal) = (term.value.as_str().into(), term.equal);
        match term.field.as_str() {
            "metadata.name" => selection.names.push(NameTerm { part: NamePart::Name, value, equal }),
            "metadata.namespace" => selection.names.push(NameTerm { part: NamePart::Namespace, value, equal }),
            field => {
                let stored = if resource.is_view { stored_name(field) } else { field.into() };
                let place = resource.stored.selectable.iter().position(|selectable| *selectable == stored);
                selection.fields.push(FieldTerm { field: place.expect("the selector was checked"), value, equal });
            }
        }
    }
    Ok(selection)
}

/// What a field of an event of `events.k8s.io` is called in the event of the core group that is stored.
fn stored_name(field: &str) -> Cow<'_, str> {
    match field.strip_prefix("regarding.") {
        Some(part) => format!("involvedObject.{part}").into(),
        None if field == "reportingController" => "reportingComponent".into(),
        None => field.into(),
    }
}

/// The smallest part of the key space that holds everything that is asked for.
fn scope(resource: &Resource, namespace: Option<&str>, name: Option<&str>, fields: &FieldSelector) -> Scope {
    let namespace = namespace.or_else(|| fields.required("metadata.namespace").filter(|_| resource.namespaced()));
    let name = name.or_else(|| fields.required("metadata.name")).filter(|name| !name.is_empty());
    match (namespace.filter(|namespace| !namespace.is_empty()), name) {
        (Some(namespace), Some(name)) => Scope::Object(path(namespace, name)),
        (None, Some(name)) if !resource.namespaced() => Scope::Object(name.to_owned()),
        (Some(namespace), None) => Scope::Namespace(namespace.to_owned()),
        _ => Scope::All,
    }
}
