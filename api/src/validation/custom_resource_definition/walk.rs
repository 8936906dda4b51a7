//! Every schema within a schema.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSONSchemaPropsOrStringArray,
};

/// Whether something holds of a schema or of one below, wherever it stands. No more are asked once one answers.
pub(crate) fn any(schema: &JSONSchemaProps, holds: &mut dyn FnMut(&JSONSchemaProps) -> bool) -> bool {
    holds(schema) || children(schema).into_iter().any(|child| any(child, holds))
}

/// The schemas right below.
fn children(schema: &JSONSchemaProps) -> Vec<&JSONSchemaProps> {
    let mut found: Vec<&JSONSchemaProps> = Vec::new();
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => found.push(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => found.extend(all),
        None => {}
    }
    for list in [&schema.all_of, &schema.any_of, &schema.one_of] {
        found.extend(list.iter().flatten());
    }
    found.extend(schema.not.as_deref());
    found.extend(schema.properties.iter().flatten().map(|(_, property)| property));
    for entries in [&schema.additional_properties, &schema.additional_items] {
        if let Some(JSONSchemaPropsOrBool::Schema(entries)) = entries {
            found.push(entries);
        }
    }
    for named in [&schema.pattern_properties, &schema.definitions] {
        found.extend(named.iter().flatten().map(|(_, schema)| schema));
    }
    for (_, dependency) in schema.dependencies.iter().flatten() {
        if let JSONSchemaPropsOrStringArray::Schema(schema) = dependency {
            found.push(schema);
        }
    }
    found
}
