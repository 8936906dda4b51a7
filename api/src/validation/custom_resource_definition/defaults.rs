//! The defaults of a schema fit the schema.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use super::structural::items;
use crate::custom::{Structural, validate_default};
use crate::field::{Errors, Path};

/// What is wrong with the defaults in the schema of a kind, which is given as it was written and as it was read.
pub(super) fn validate(props: &JSONSchemaProps, schema: &Structural, path: &Path<'_>, errors: &mut Errors) {
    node(props, schema, true, path, errors);
}

fn node(props: &JSONSchemaProps, schema: &Structural, is_resource: bool, path: &Path<'_>, errors: &mut Errors) {
    if let Some(default) = &schema.default {
        validate_default(default, schema, is_resource, &path.child("default"), errors);
    }
    if let (Some(props), Some(schema)) = (items(props), &schema.items) {
        node(props, schema, schema.embedded_resource, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, props) in props.properties.iter().flatten() {
        if let Some(schema) = schema.properties.get(name) {
            node(props, schema, schema.embedded_resource, &properties.key(name), errors);
        }
    }
}
