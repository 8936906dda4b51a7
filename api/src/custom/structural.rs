//! The schema of one version of a custom resource, as a tree that is built once and shared.
//!
//! A [`Structural`] is made of the `openAPIV3Schema` of a definition. It does not change afterwards, costs nothing to
//! hand on (each node is behind an [`Arc`]), and has its patterns compiled. What pruning, defaulting, validation, field
//! ownership and rules ask is asked here; descriptions are left behind.
//!
//! Source: `k8s.io/apiextensions-apiserver/pkg/apiserver/schema`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

use super::cel::Rule;
use super::pattern::Compiler;
use crate::limits::SCHEMA_DEPTH_MAX;

/// What a value is, as the `type` of a schema says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    /// The type of a name, if there is one of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Type::Object,
            "array" => Type::Array,
            "string" => Type::String,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "boolean" => Type::Boolean,
            _ => return None,
        })
    }

    /// Its name in a schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }
}

/// How a list is owned and merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    /// By the values of the keys that [`Structural::list_map_keys`] names.
    Map,
}

/// What an object may have besides its properties.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// `false`: nothing.
    Forbidden,
    /// `true`: entries of which nothing is known.
    Any,
    /// Entries of this schema: the object is a map.
    Schema(Arc<Structural>),
}

/// One node of a schema.
#[derive(Debug, Default)]
pub struct Structural {
    /// `None` where nothing is said, as for an integer or string, or under `allOf`.
    pub kind: Option<Type>,
    pub nullable: bool,
    pub default: Option<Value>,
    pub properties: BTreeMap<String, Arc<Structural>>,
    pub additional: Additional,
    pub items: Option<Arc<Structural>>,
    pub preserve_unknown_fields: bool,
    pub embedded_resource: bool,
    pub int_or_string: bool,
    /// `None` where nothing is said, which merges as [`ListType::Atomic`].
    pub list_type: Option<ListType>,
    pub list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic_map: bool,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    pub checks: Checks,
    /// Whether a rule stands here or below.
    any_rules: bool,
}

/// What a value must be, beyond its type.
#[derive(Debug, Default)]
pub struct Checks {
    pub required: Vec<String>,
    pub enumeration: Option<Vec<Value>>,
    pub format: Option<String>,
    pub pattern: Option<Regex>,
    /// The pattern as it was written.
    pub pattern_text: String,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub all_of: Vec<Arc<Structural>>,
    pub any_of: Vec<Arc<Structural>>,
    pub one_of: Vec<Arc<Structural>>,
    pub not: Option<Arc<Structural>>,
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SchemaError {
    #[error("the schema is nested more than {SCHEMA_DEPTH_MAX} levels deep")]
    TooDeep,
    #[error("the pattern {pattern:?} is not a valid regular expression: {reason}")]
    Pattern { pattern: String, reason: String },
}

impl Structural {
    /// Makes a schema of how it was written.
    ///
    /// # Errors
    /// If it is nested too deeply, or has a pattern that is none or that would need too much memory. A definition that
    /// passed validation has neither.
    pub fn new(props: &JSONSchemaProps) -> Result<Arc<Self>, SchemaError> {
        build(props, 0, &mut Compiler::default())
    }

    /// A schema that says nothing and keeps everything: for a version without one.
    #[must_use]
    pub fn preserving() -> Arc<Self> {
        Arc::new(Self { kind: Some(Type::Object), preserve_unknown_fields: true, ..Self::default() })
    }

    /// Whether a value is one leaf: neither object nor list.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        self.int_or_string || !matches!(self.kind, None | Some(Type::Object | Type::Array))
    }

    /// Whether nothing is known of what is inside: any JSON may be there.
    #[must_use]
    pub fn is_untyped(&self) -> bool {
        self.kind.is_none() && !self.int_or_string && self.properties.is_empty() && self.items.is_none()
    }

    /// The schema of a field or entry of this object, if the schema knows it.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Arc<Structural>> {
        self.properties.get(name).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        })
    }

    /// The schema of the elements of this list.
    #[must_use]
    pub fn element(&self) -> Option<&Arc<Structural>> {
        self.items.as_ref()
    }

    /// Whether the object is owned and merged as a whole.
    #[must_use]
    pub fn is_atomic_map(&self) -> bool {
        self.atomic_map
    }

    /// How the list is owned and merged.
    #[must_use]
    pub fn list(&self) -> ListType {
        self.list_type.unwrap_or_default()
    }

    /// What a field of this object, or of an element of a list of it, is when nobody says.
    #[must_use]
    pub fn default_of(&self, child: &str) -> Option<&Value> {
        self.properties.get(child)?.default.as_ref()
    }

    /// Whether a rule stands anywhere in the schema.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.any_rules
    }

    /// The schemas right below: properties, entries and elements.
    pub fn children(&self) -> impl Iterator<Item = &Arc<Structural>> {
        let entry = match &self.additional {
            Additional::Schema(schema) => Some(schema),
            _ => None,
        };
        self.properties.values().chain(entry).chain(&self.items)
    }
}

fn build(props: &JSONSchemaProps, depth: usize, patterns: &mut Compiler) -> Result<Arc<Structural>, SchemaError> {
    if depth > SCHEMA_DEPTH_MAX {
        return Err(SchemaError::TooDeep);
    }
    let mut below = |props: &JSONSchemaProps| build(props, depth + 1, patterns);
    let mut properties = BTreeMap::new();
    for (name, child) in props.properties.iter().flatten() {
        properties.insert(name.clone(), below(child)?);
    }
    let additional = match &props.additional_properties {
        None => Additional::Unsaid,
        Some(JSONSchemaPropsOrBool::Bool(true)) => Additional::Any,
        Some(JSONSchemaPropsOrBool::Bool(false)) => Additional::Forbidden,
        Some(JSONSchemaPropsOrBool::Schema(schema)) => Additional::Schema(below(schema)?),
    };
    let items = match &props.items {
        Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(below(schema)?),
        _ => None,
    };
    let rules: Vec<Rule> = props.x_kubernetes_validations.iter().flatten().map(Rule::new).collect();
    let mut built = Structural {
        kind: props.type_.as_deref().and_then(Type::parse),
        nullable: props.nullable == Some(true),
        default: props.default.as_ref().map(|v| v.0.clone()).filter(|v| !v.is_null()),
        properties,
        additional,
        items,
        preserve_unknown_fields: props.x_kubernetes_preserve_unknown_fields == Some(true),
        embedded_resource: props.x_kubernetes_embedded_resource == Some(true),
        int_or_string: props.x_kubernetes_int_or_string == Some(true),
        list_type: props.x_kubernetes_list_type.as_deref().and_then(list_type),
        list_map_keys: props.x_kubernetes_list_map_keys.clone().unwrap_or_default(),
        atomic_map: props.x_kubernetes_map_type.as_deref() == Some("atomic"),
        rules,
        checks: checks(props, depth, patterns)?,
        any_rules: false,
    };
    built.any_rules = !built.rules.is_empty() || built.children().any(|child| child.any_rules);
    Ok(Arc::new(built))
}

fn list_type(name: &str) -> Option<ListType> {
    Some(match name {
        "atomic" => ListType::Atomic,
        "set" => ListType::Set,
        "map" => ListType::Map,
        _ => return None,
    })
}

fn checks(props: &JSONSchemaProps, depth: usize, patterns: &mut Compiler) -> Result<Checks, SchemaError> {
    let mut all = |list: &Option<Vec<JSONSchemaProps>>| -> Result<Vec<_>, SchemaError> {
        list.iter().flatten().map(|props| build(props, depth + 1, patterns)).collect()
    };
    let (all_of, any_of, one_of) = (all(&props.all_of)?, all(&props.any_of)?, all(&props.one_of)?);
    let not = props.not.as_ref().map(|props| build(props, depth + 1, patterns)).transpose()?;
    let pattern_text = props.pattern.clone().unwrap_or_default();
    let pattern = match pattern_text.as_str() {
        "" => None,
        text => Some(patterns.compile(text)?),
    };
    let count = |n: Option<i64>| n.map(|n| u64::try_from(n).unwrap_or(0));
    Ok(Checks {
        required: props.required.clone().unwrap_or_default(),
        enumeration: props.enum_.as_ref().map(|list| list.iter().map(|v| v.0.clone()).collect()),
        format: props.format.clone().filter(|f| !f.is_empty()),
        pattern,
        pattern_text,
        minimum: props.minimum,
        maximum: props.maximum,
        exclusive_minimum: props.exclusive_minimum == Some(true),
        exclusive_maximum: props.exclusive_maximum == Some(true),
        multiple_of: props.multiple_of,
        min_length: count(props.min_length),
        max_length: count(props.max_length),
        min_items: count(props.min_items),
        max_items: count(props.max_items),
        unique_items: props.unique_items == Some(true),
        min_properties: count(props.min_properties),
        max_properties: count(props.max_properties),
        all_of,
        any_of,
        one_of,
        not,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::custom::tests::schema;

    #[test]
    fn a_schema_answers_what_field_ownership_asks() {
        let s = schema(
            r#"{"type":"object","properties":{
                "list":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name","port"],
                    "items":{"type":"object","properties":{"name":{"type":"string"},"port":{"type":"integer","default":80}}}},
                "map":{"type":"object","x-kubernetes-map-type":"atomic","additionalProperties":{"type":"string"}},
                "any":{"x-kubernetes-preserve-unknown-fields":true},
                "port":{"x-kubernetes-int-or-string":true}}}"#,
        );
        let list = s.child("list").expect("a property");
        assert_eq!((list.list(), list.list_map_keys.as_slice()), (ListType::Map, &["name".into(), "port".into()][..]));
        assert_eq!(list.element().and_then(|e| e.default_of("port")), Some(&Value::from(80)));
        let map = s.child("map").expect("a property");
        assert!(map.is_atomic_map() && map.child("x").is_some_and(|x| x.is_scalar()));
        assert!(s.child("any").is_some_and(|any| any.is_untyped() && !any.is_scalar()));
        assert!(s.child("port").is_some_and(|port| port.is_scalar()));
        assert!(s.child("none").is_none());
    }

    #[test]
    fn a_schema_has_a_depth() {
        let mut props = JSONSchemaProps::default();
        for _ in 0..=SCHEMA_DEPTH_MAX {
            let not = Some(Box::new(props));
            props = JSONSchemaProps { not, ..JSONSchemaProps::default() };
        }
        assert_eq!(Structural::new(&props).err(), Some(SchemaError::TooDeep));
    }
}
