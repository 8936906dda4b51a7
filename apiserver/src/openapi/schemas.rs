//! A type as a schema, in the dialect of either version.
//!
//! The third version publishes defaults and says "one of"; in the second, which has neither, what stands beside a
//! reference counts nevertheless. Source: the documents that upstream publishes.

use serde_json::{Map, Value, json};

use super::text::{Definition, Definitions, Property, Union};

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The version of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Version {
    V2,
    V3,
}

impl Version {
    /// Where the types of a document are.
    fn place(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        }
    }

    /// A reference to a type, by its full name.
    pub(super) fn reference(self, name: &str) -> Value {
        json!({"$ref": format!("{}{name}", self.place())})
    }
}

/// The schema of a type.
pub(super) fn definition(definition: &Definition<'_>, all: &Definitions<'_>, version: Version) -> Value {
    let mut schema = match definition.form {
        Some(form) => form_of(form, version),
        None => Map::from_iter([("type".to_owned(), "object".into())]),
    };
    let about = definition.about();
    if !about.is_empty() {
        schema.insert("description".into(), about.into());
    }
    let property = |p: &Property<'_>| (p.name.to_owned(), property(p, all, version));
    let properties: Map<String, Value> = definition.properties.iter().map(property).collect();
    if !properties.is_empty() {
        schema.insert("properties".into(), properties.into());
    }
    let required: Vec<&str> = definition.properties.iter().filter(|p| p.is_required).map(|p| p.name).collect();
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    let kinds = kinds_of(definition);
    if !kinds.is_empty() {
        schema.insert("x-kubernetes-group-version-kind".into(), kinds.into());
    }
    if definition.is_atomic {
        schema.insert("x-kubernetes-map-type".into(), "atomic".into());
    }
    if let Some(of) = &definition.union {
        schema.insert("x-kubernetes-unions".into(), json!([union(of)]));
    }
    schema.into()
}

fn union(of: &Union<'_>) -> Value {
    let members: Map<String, Value> =
        of.members.iter().map(|(field, told)| ((*field).into(), (*told).into())).collect();
    let mut union = Map::from_iter([("fields-to-discriminateBy".to_owned(), members.into())]);
    if let Some(which) = of.which {
        union.insert("discriminator".into(), which.into());
    }
    union.into()
}

/// The schema of the lists of a kind, whose type is `name`.
pub(super) fn list(
    name: &str,
    (group, group_version, kind): (&str, &str, &str),
    all: &Definitions<'_>,
    version: Version,
) -> Value {
    let items = finish(object(version.reference(name)), Some(json!({})), version);
    json!({
        "type": "object",
        "description": format!("{kind}List is a list of {kind}."),
        "properties": {
            "apiVersion": type_field("apiVersion", all, version),
            "kind": type_field("kind", all, version),
            "metadata": reference_field(LIST_META, "Standard list metadata.", version),
            "items": {"type": "array", "description": format!("The list of {kind}."), "items": items},
        },
        "required": ["items"],
        "x-kubernetes-group-version-kind": [{"group": group, "version": group_version, "kind": format!("{kind}List")}],
    })
}

/// A field that says what an object is, `apiVersion` or `kind`: it is the same in every type.
pub(super) fn type_field(name: &str, all: &Definitions<'_>, version: Version) -> Value {
    let options = all.get("meta.v1.DeleteOptions").map(|definition| definition.properties.as_slice());
    let found = options.unwrap_or_default().iter().find(|p| p.name == name);
    found.map_or_else(|| json!({"type": "string"}), |found| property(found, all, version))
}

/// A field that refers to a type and is always there.
pub(super) fn reference_field(name: &str, about: &str, version: Version) -> Value {
    let mut schema = object(version.reference(name));
    schema.insert("description".into(), about.into());
    finish(schema, Some(json!({})), version)
}

fn property(property: &Property<'_>, all: &Definitions<'_>, version: Version) -> Value {
    let zero = || if property.is_written_always { zero(property.shape, all) } else { None };
    let default = property.default.and_then(|told| serde_json::from_str(told).ok()).or_else(zero);
    let mut schema = shape(property.shape, all, version);
    if let Some(values) = &property.values {
        let of = ["items", "additionalProperties"].into_iter().find(|of| schema.contains_key(*of));
        let told = Value::from_iter(values.iter().map(|value| Value::from(&**value)));
        match of.and_then(|of| schema.get_mut(of)) {
            Some(elements) => elements["enum"] = told,
            None => drop(schema.insert("enum".into(), told)),
        }
    }
    let about = property.about();
    if !about.is_empty() {
        schema.insert("description".into(), about.into());
    }
    for (key, value) in &property.merge {
        let (key, value): (_, Value) = match *key {
            "list" => ("x-kubernetes-list-type", (*value).into()),
            "keys" => ("x-kubernetes-list-map-keys", value.split(',').collect()),
            "patch" => ("x-kubernetes-patch-strategy", (*value).into()),
            "merge" => ("x-kubernetes-patch-merge-key", (*value).into()),
            _ => ("x-kubernetes-map-type", (*value).into()),
        };
        schema.insert(key.into(), value);
    }
    finish(schema, default, version)
}

/// Adds a default where there are any, and moves a reference aside where nothing may stand beside it.
fn finish(mut schema: Map<String, Value>, default: Option<Value>, version: Version) -> Value {
    if version == Version::V3 {
        if let Some(default) = default {
            schema.insert("default".into(), default);
        }
        if schema.len() > 1
            && let Some(reference) = schema.remove("$ref")
        {
            schema.insert("allOf".into(), json!([{"$ref": reference}]));
        }
    }
    schema.into()
}

fn shape(text: &str, all: &Definitions<'_>, version: Version) -> Map<String, Value> {
    let element = |text: &str| finish(shape(text, all, version), zero(text, all), version);
    object(match text.split_at(1) {
        ("[", text) => json!({"type": "array", "items": element(text)}),
        ("{", text) => json!({"type": "object", "additionalProperties": element(text)}),
        ("#", name) => version.reference(all.get(name).map_or(name, |definition| definition.name)),
        ("b", _) => json!({"type": "boolean"}),
        ("i", _) => json!({"type": "integer", "format": "int32"}),
        ("l", _) => json!({"type": "integer", "format": "int64"}),
        ("f", _) => json!({"type": "number", "format": "double"}),
        ("y", _) => json!({"type": "string", "format": "byte"}),
        _ => json!({"type": "string"}),
    })
}

/// What Go's encoder writes in place of what is not set.
fn zero(shape: &str, all: &Definitions<'_>) -> Option<Value> {
    match shape.split_at(1) {
        ("s", _) => Some("".into()),
        ("b", _) => Some(false.into()),
        ("i" | "l" | "f", _) => Some(0.into()),
        ("#", name) if all.get(name).is_some_and(|definition| definition.form.is_none()) => Some(json!({})),
        _ => None,
    }
}

fn form_of(form: &str, version: Version) -> Map<String, Value> {
    let either = |first: &str, second: &str| json!([{"type": first}, {"type": second}]);
    object(match (form, version) {
        ("quantity", Version::V3) => json!({"oneOf": either("string", "number")}),
        ("quantity", Version::V2) => json!({"type": "string"}),
        ("int-or-string", Version::V3) => json!({"format": "int-or-string", "oneOf": either("integer", "string")}),
        ("int-or-string", Version::V2) => json!({"format": "int-or-string", "type": "string"}),
        ("date-time", _) => json!({"format": "date-time", "type": "string"}),
        ("any", _) => json!({}),
        _ => json!({"type": "object"}),
    })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Groups and versions in which every kind of request body and of event is registered.
const GROUP_VERSIONS: &[(&str, &[&str])] = &[
    ("", &["v1"]),
    ("admission.k8s.io", &["v1", "v1beta1"]),
    ("admissionregistration.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("apiextensions.k8s.io", &["v1", "v1beta1"]),
    ("apiregistration.k8s.io", &["v1", "v1beta1"]),
    ("apps", &["v1", "v1beta1", "v1beta2"]),
    ("authentication.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("authorization.k8s.io", &["v1", "v1beta1"]),
    ("autoscaling", &["v1", "v2", "v2beta1", "v2beta2"]),
    ("batch", &["v1", "v1beta1"]),
    ("certificates.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("coordination.k8s.io", &["v1", "v1alpha2", "v1beta1"]),
    ("discovery.k8s.io", &["v1", "v1beta1"]),
    ("events.k8s.io", &["v1", "v1beta1"]),
    ("extensions", &["v1beta1"]),
    ("flowcontrol.apiserver.k8s.io", &["v1", "v1beta1", "v1beta2", "v1beta3"]),
    ("imagepolicy.k8s.io", &["v1alpha1"]),
    ("internal.apiserver.k8s.io", &["v1alpha1"]),
    ("networking.k8s.io", &["v1", "v1beta1"]),
    ("node.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("policy", &["v1", "v1beta1"]),
    ("rbac.authorization.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("resource.k8s.io", &["v1", "v1alpha3", "v1beta1", "v1beta2"]),
    ("scheduling.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("storage.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("storagemigration.k8s.io", &["v1beta1"]),
];

/// The groups, versions and kinds that a type stands for.
fn kinds_of(definition: &Definition<'_>) -> Vec<Value> {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let (_, name) = definition.name.rsplit_once('.').unwrap_or_default();
    match (definition.kind, name) {
        (Some((group, version, own)), _) => vec![kind(group, version, own)],
        (None, "DeleteOptions" | "WatchEvent") => GROUP_VERSIONS
            .iter()
            .flat_map(|(group, versions)| versions.iter().map(move |version| kind(group, version, name)))
            .collect(),
        (None, "Status" | "APIGroup" | "APIGroupList" | "APIResourceList" | "APIVersions")
            if definition.name.contains("apimachinery") =>
        {
            vec![kind("", "v1", name)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "@io.k8s.api.a.v1.Thing gvk=g/v1/Thing
: A thing.
name s v required enum=a,b default=\"a\"
: Its name.
kinds [s o enum=x
parts [#a.v1.Part o list=map keys=name patch=merge merge=name
spec #a.v1.Part v
: What it is.
limits {#api.resource.Quantity o
@io.k8s.api.a.v1.Part atomic
count i p
@io.k8s.apimachinery.pkg.api.resource.Quantity is=quantity
";

    fn made(name: &str, version: Version) -> Value {
        let all = Definitions::parse(TEXT);
        definition(all.get(name).expect("it is there"), &all, version)
    }

    #[test]
    fn either_version_has_its_dialect() {
        let part = "io.k8s.api.a.v1.Part";
        let quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
        assert_eq!(
            made("a.v1.Thing", Version::V3),
            json!({
                "type": "object",
                "description": "A thing.",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "default": "a", "description": "Its name.", "enum": ["a", "b"]},
                    "kinds": {"type": "array", "items": {"type": "string", "default": "", "enum": ["x"]}},
                    "parts": {
                        "type": "array",
                        "items": {"allOf": [{"$ref": format!("#/components/schemas/{part}")}], "default": {}},
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "x-kubernetes-patch-strategy": "merge",
                        "x-kubernetes-patch-merge-key": "name",
                    },
                    "spec": {
                        "allOf": [{"$ref": format!("#/components/schemas/{part}")}],
                        "default": {},
                        "description": "What it is.",
                    },
                    "limits": {
                        "type": "object",
                        "additionalProperties": {"$ref": format!("#/components/schemas/{quantity}")},
                    },
                },
                "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "Thing"}],
            })
        );
        let second = made("a.v1.Thing", Version::V2);
        assert_eq!(
            second["properties"]["name"],
            json!({"type": "string", "description": "Its name.", "enum": ["a", "b"]})
        );
        assert_eq!(
            second["properties"]["spec"],
            json!({"$ref": format!("#/definitions/{part}"), "description": "What it is."})
        );
        assert_eq!(made("a.v1.Part", Version::V2)["x-kubernetes-map-type"], "atomic");
        assert_eq!(made("api.resource.Quantity", Version::V2), json!({"type": "string"}));
    }
}
