//! Objects of custom kinds: metadata that is typed, and the rest as it was given.
//!
//! What a `CustomResourceDefinition` says of one version stands in a [`CustomModel`], which every object of that version
//! carries: so defaults, rules and cells are found as they are for a typed object.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionVersion,
    CustomResourceSubresourceScale,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::columns::{self, Column};
use super::defaults::drop_nulls;
use super::kinds::by_preference;
use super::structural::{SchemaError, Structural};
use super::validate::{judge, judge_status, misread_map, read_meta};
use super::{default, prune, scale};
use crate::any::{AnyObject, Erased};
use crate::field::{Errors, Path};
use crate::object::DecodeError;
use crate::table::cells::text;
use crate::validation::meta;
use crate::{codec, names, schema, table};

/// What is known of the objects of one version of a custom kind.
#[derive(Debug)]
pub struct CustomModel {
    /// `example.com/v1`
    pub api_version: String,
    pub kind: String,
    pub list_kind: String,
    pub namespaced: bool,
    pub schema: Arc<Structural>,
    /// Whether the status is a subresource: then it is written there, and there alone.
    pub has_status: bool,
    pub scale: Option<CustomResourceSubresourceScale>,
    /// What who uses the version is told.
    pub warning: Option<String>,
    /// Whether the definition is being deleted: then no objects are made.
    pub is_terminating: bool,
    /// Whether objects of other versions become such of this by asking a webhook.
    pub converts_by_webhook: bool,
    columns: Vec<Column>,
    /// The heads of the columns, that of the name first.
    pub heads: Vec<table::Column>,
}

/// An object of a custom kind.
#[derive(Clone, Debug)]
pub struct CustomObject {
    pub model: Arc<CustomModel>,
    pub metadata: ObjectMeta,
    /// Everything but `apiVersion`, `kind` and `metadata`.
    pub rest: Map<String, Value>,
}

impl CustomModel {
    /// What a definition says of one of its versions, under the names that it was given.
    ///
    /// # Errors
    /// When the schema cannot be used, as no schema can be that passed validation.
    pub fn new(
        definition: &CustomResourceDefinition,
        names: &CustomResourceDefinitionNames,
        version: &CustomResourceDefinitionVersion,
    ) -> Result<Self, SchemaError> {
        let (spec, subresources) = (&definition.spec, version.subresources.as_ref());
        let props = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let api_version = format!("{}/{}", spec.group, version.name);
        let columns = Column::of(version.additional_printer_columns.as_deref());
        Ok(Self {
            schema: props.map_or_else(|| Ok(Structural::preserving()), Structural::new)?,
            kind: names.kind.clone(),
            list_kind: match names.list_kind.as_deref().unwrap_or_default() {
                "" => format!("{}List", names.kind),
                name => name.to_owned(),
            },
            namespaced: spec.scope == "Namespaced",
            has_status: subresources.is_some_and(|subresources| subresources.status.is_some()),
            scale: subresources.and_then(|subresources| subresources.scale.clone()),
            warning: (version.deprecated == Some(true))
                .then(|| version.deprecation_warning.clone().unwrap_or_else(|| deprecation(definition, version))),
            is_terminating: definition.metadata.deletion_timestamp.is_some(),
            converts_by_webhook: spec.conversion.as_ref().is_some_and(|conversion| conversion.strategy == "Webhook"),
            heads: std::iter::once(name_column()).chain(columns.iter().map(head)).collect(),
            columns,
            api_version,
        })
    }

    /// Reads an object, whose `apiVersion` and `kind` are not looked at: they are the model's.
    ///
    /// # Errors
    /// When `json` is no object of JSON, or its metadata is not what metadata is.
    pub fn decode(self: &Arc<Self>, json: &[u8]) -> Result<AnyObject, DecodeError> {
        AnyObject::decode_with(json, |json| self.read(json).map(AnyObject::from))
    }

    fn read(self: &Arc<Self>, json: &[u8]) -> Result<CustomObject, DecodeError> {
        let refuse = |source| DecodeError { kind: Cow::Owned(self.kind.clone()), source };
        let mut rest: Map<String, Value> = serde_json::from_slice(json).map_err(refuse)?;
        rest.remove("apiVersion");
        rest.remove("kind");
        let metadata = match rest.remove("metadata") {
            None | Some(Value::Null) => ObjectMeta::default(),
            Some(metadata) => ObjectMeta::deserialize(&metadata).or_else(|error| {
                // What is null within is only rarely there.
                read_meta(&metadata).map_err(|_| refuse(error))
            })?,
        };
        Ok(CustomObject { model: self.clone(), metadata, rest })
    }

    /// A stored object as the definition wants it now, if that is another text: without what the schema no longer has,
    /// and with the defaults that have come since.
    #[must_use]
    pub fn form(self: &Arc<Self>, stored: &[u8]) -> Option<Bytes> {
        let mut object = self.decode(stored).ok()?;
        let custom = object.custom_mut()?;
        let _ = custom.prune();
        custom.set_defaults();
        let formed = object.encode();
        (formed != stored).then_some(formed)
    }
}

impl CustomObject {
    /// Removes what the schema does not know, and says what that was: `unknown field "spec.x"`. What is null and may not
    /// be goes with it.
    #[must_use]
    pub fn prune(&mut self) -> Vec<String> {
        let schema = self.model.schema.clone();
        self.with_rest(|rest| {
            let unknown = prune(rest, &schema);
            drop_nulls(rest, &schema);
            unknown
        })
    }

    /// The first of what within objects in this one has another type than it has there.
    pub(crate) fn misread(&self) -> Option<Errors> {
        misread_map(&self.rest, &self.model.schema, false, &Path::ROOT)
    }

    /// Makes it an object of another version. Source: conversion strategy `None`, which changes the version alone.
    pub fn convert(&mut self, model: &Arc<CustomModel>) {
        if !Arc::ptr_eq(&self.model, model) {
            self.model = model.clone();
            let _ = self.prune();
        }
    }

    /// The whole object as a value.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut whole = self.rest.clone();
        whole.insert("apiVersion".to_owned(), self.model.api_version.as_str().into());
        whole.insert("kind".to_owned(), self.model.kind.as_str().into());
        let metadata = serde_json::to_value(&self.metadata).expect("metadata is JSON");
        whole.insert("metadata".to_owned(), metadata);
        whole.into()
    }

    /// The value at a path such as `.spec.replicas`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Value> {
        let path = path.trim_start_matches('.');
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let found = self.rest.get(first)?;
        if rest.is_empty() { Some(found) } else { scale::get(found, rest) }
    }

    /// Sets the value at a path such as `.spec.replicas`; `false` when something is in the way.
    pub fn set_at(&mut self, path: &str, value: Value) -> bool {
        self.with_rest(|rest| scale::set(rest, path, value))
    }

    /// Keeps the status of `old`, or that it has none.
    pub fn keep_status(&mut self, old: &Self) {
        match old.rest.get("status") {
            Some(status) => self.rest.insert("status".to_owned(), status.clone()),
            None => self.rest.remove("status"),
        };
    }

    fn with_rest<R>(&mut self, change: impl FnOnce(&mut Value) -> R) -> R {
        let mut value = Value::Object(std::mem::take(&mut self.rest));
        let result = change(&mut value);
        if let Value::Object(rest) = value {
            self.rest = rest;
        }
        result
    }
}

impl PartialEq for CustomObject {
    fn eq(&self, other: &Self) -> bool {
        self.model.api_version == other.model.api_version
            && self.model.kind == other.model.kind
            && self.metadata == other.metadata
            && self.rest == other.rest
    }
}

impl From<CustomObject> for AnyObject {
    fn from(object: CustomObject) -> Self {
        Self::of_custom(object)
    }
}

impl Erased for CustomObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn api_version(&self) -> &str {
        &self.model.api_version
    }

    fn kind(&self) -> &str {
        &self.model.kind
    }

    fn encode(&self) -> Bytes {
        const PLAIN: &str = "texts and values of JSON are JSON";
        let metadata = schema::find("meta.v1.ObjectMeta").expect("the graph has the metadata of objects");
        let mut out = br#"{"apiVersion":"#.to_vec();
        serde_json::to_writer(&mut out, &self.model.api_version).expect(PLAIN);
        out.extend_from_slice(br#","kind":"#);
        serde_json::to_writer(&mut out, &self.model.kind).expect(PLAIN);
        out.extend_from_slice(br#","metadata":"#);
        out.extend_from_slice(&codec::encode_as(&self.metadata, metadata));
        for (name, value) in &self.rest {
            out.push(b',');
            serde_json::to_writer(&mut out, name).expect(PLAIN);
            out.push(b':');
            codec::number::write(&mut out, value).expect(PLAIN);
        }
        out.push(b'}');
        out.into()
    }

    fn clone_box(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Erased) -> bool {
        of(other).is_some_and(|other| self == other)
    }

    fn set_defaults(&mut self) {
        let schema = self.model.schema.clone();
        self.with_rest(|rest| default(rest, &schema));
    }

    fn validate(&self, errors: &mut Errors) {
        meta::create_extension(&self.metadata, names::dns_subdomain, self.model.namespaced, errors);
        judge(&self.to_value(), None, &self.model.schema, self.model.scale.as_ref(), errors);
    }

    fn validate_update(&self, old: &dyn Erased, errors: &mut Errors) {
        let old = of(old).map(CustomObject::to_value);
        judge(&self.to_value(), old.as_ref(), &self.model.schema, self.model.scale.as_ref(), errors);
    }

    fn validate_status(&self, old: &dyn Erased, errors: &mut Errors) {
        let old = of(old).map(CustomObject::to_value);
        judge_status(&self.to_value(), old.as_ref(), &self.model.schema, self.model.scale.as_ref(), errors);
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let mut row = vec![text(self.metadata.name.as_ref()).into()];
        row.extend(columns::cells(&self.to_value(), &self.model.columns, now));
        row
    }
}

fn of(object: &dyn Erased) -> Option<&CustomObject> {
    (object as &dyn Any).downcast_ref()
}

/// What is told of a deprecated version that says nothing itself: which one to use instead, if there is a newer one.
fn deprecation(definition: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> String {
    let spec = &definition.spec;
    let named = |version: &str| format!("{}/{version} {}", spec.group, spec.names.kind);
    let is_better = |other: &&CustomResourceDefinitionVersion| {
        other.served && other.deprecated != Some(true) && by_preference(&other.name, &version.name).is_lt()
    };
    let best = spec.versions.iter().filter(is_better).min_by(|one, other| by_preference(&one.name, &other.name));
    let instead = best.map(|best| format!("; use {}", named(&best.name))).unwrap_or_default();
    format!("{} is deprecated{instead}", named(&version.name))
}

fn name_column() -> table::Column {
    table::Column {
        name: Cow::Borrowed("Name"),
        type_: Cow::Borrowed("string"),
        format: Cow::Borrowed("name"),
        description: Cow::Borrowed(NAME),
        priority: 0,
    }
}

/// Source: the documentation of `ObjectMeta.name`.
const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

fn head(column: &Column) -> table::Column {
    table::Column {
        name: Cow::Owned(column.name.clone()),
        type_: Cow::Owned(column.type_.clone()),
        format: Cow::Owned(column.format.clone()),
        description: Cow::Owned(column.description.clone()),
        priority: column.priority,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn model(schema: &str) -> Arc<CustomModel> {
        let definition = format!(
            r#"{{"spec":{{"group":"example.com","scope":"Namespaced","names":{{"plural":"widgets","kind":"Widget"}},
            "versions":[{{"name":"v1","served":true,"storage":true,"schema":{{"openAPIV3Schema":{schema}}}}}]}}}}"#
        );
        let definition: CustomResourceDefinition = serde_json::from_str(&definition).unwrap();
        Arc::new(CustomModel::new(&definition, &definition.spec.names, &definition.spec.versions[0]).unwrap())
    }

    #[test]
    fn what_is_not_metadata_is_kept_as_it_is() {
        let model = model(r#"{"type":"object","x-kubernetes-preserve-unknown-fields":true}"#);
        let json = br#"{"data":[1,null],"kind":"Other","metadata":{"name":"w","bogus":1,"labels":{}},"spec":{"b":1.5,"a":{}}}"#;
        let object = model.decode(json).unwrap();
        let written = r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"data":[1,null],"spec":{"a":{},"b":1.5}}"#;
        assert_eq!(object.encode(), written);
        assert!(model.decode(br#"{"metadata":{"name":7}}"#).is_err());
        assert_eq!(model.form(written.as_bytes()), None);
    }

    #[test]
    fn what_is_stored_takes_the_form_of_the_definition() {
        let model = model(
            r#"{"type":"object","properties":{"spec":{"type":"object","properties":{"a":{"type":"integer","default":1}}}}}"#,
        );
        let stored = br#"{"apiVersion":"example.com/v0","kind":"Widget","metadata":{"name":"w"},"spec":{"old":2}}"#;
        assert_eq!(
            model.form(stored).unwrap(),
            r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"a":1}}"#
        );
    }
}
