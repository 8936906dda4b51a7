//! Definitions of custom resources.
//!
//! What all versions have in common is told of as a part of `spec` itself (`spec.validation`, `spec.subresources`), since
//! that is where Kubernetes' internal type keeps it; what differs is told of under its version.
//! Source: `k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation`.

mod conversion;
mod defaults;
mod rule;
mod schema;
mod structural;
mod version;
pub(crate) mod walk;

pub use conversion::{ca_bundle, is_ca_bundle};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
    CustomResourceDefinitionVersion, CustomResourceValidation, JSONSchemaProps,
};

use serde::Serialize;

use super::meta;
use super::rules::{immutable, required, required_one_of, text};
use super::{Validate, rules};
use crate::field::{Errors, Path};
use crate::names;

const SPEC: Path<'static> = Path::new("spec");
const STATUS: Path<'static> = Path::new("status");
/// The annotation that says who has approved an API of a group of Kubernetes' own.
const APPROVED: &str = "api-approved.kubernetes.io";

impl Validate for CustomResourceDefinition {
    fn validate(&self, errors: &mut Errors) {
        let required = format!("{}.{}", self.spec.names.plural, self.spec.group);
        let wrong = |name: &str| {
            let mut wrong = names::dns_subdomain(name);
            if name != required {
                wrong.push(r#"must be spec.names.plural+"."+spec.group"#.to_owned());
            }
            wrong
        };
        meta::create_extension(&self.metadata, wrong, false, errors);
        whole(self, errors);
        approval(self, None, errors);
        preserving(self, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Errors) {
        spec(&self.spec, errors);
        if is_established(old) && ca_bundle(old).is_none_or(is_ca_bundle) {
            conversion::validate_bundle(self, &SPEC.child("conversion"), errors);
        }
        if is_established(old) {
            immutable(&self.spec.scope, &old.spec.scope, &SPEC.child("scope"), errors);
            immutable(&self.spec.names.kind, &old.spec.names.kind, &SPEC.child("names").child("kind"), errors);
        }
        immutable(&self.spec.group, &old.spec.group, &SPEC.child("group"), errors);
        immutable(&self.spec.names.plural, &old.spec.names.plural, &SPEC.child("names").child("plural"), errors);
        status(self, errors);
        stored_versions(self, errors);
        approval(self, Some(old), errors);
        if old.spec.preserve_unknown_fields != Some(true) {
            preserving(self, errors);
        }
    }

    fn validate_status(&self, _: &Self, errors: &mut Errors) {
        status(self, errors);
    }
}

fn whole(definition: &CustomResourceDefinition, errors: &mut Errors) {
    spec(&definition.spec, errors);
    status(definition, errors);
    stored_versions(definition, errors);
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True")
}

fn spec(spec: &CustomResourceDefinitionSpec, errors: &mut Errors) {
    group(&spec.group, errors);
    required_one_of(&spec.scope, &["Cluster", "Namespaced"], &SPEC.child("scope"), errors);
    let common = Common::of(&spec.versions);
    let versions = SPEC.child("versions");
    if common.schema.is_none_or(|s| s.open_api_v3_schema.is_none()) {
        for (i, version) in spec.versions.iter().enumerate() {
            if schema_of(version).is_none() || common.schema.is_some() {
                let (path, version) = (versions.index(i), "schema");
                errors.required(&path.child(version).child("openAPIV3Schema"), "");
            }
        }
    }
    if spec.preserve_unknown_fields == Some(true) && spec.versions.iter().filter_map(schema_of).any(has_defaults) {
        let rule = "must be false in order to use defaults in the schema";
        errors.invalid(&SPEC.child("preserveUnknownFields"), &true, rule);
    }
    for (i, version) in spec.versions.iter().enumerate() {
        joined(&version.name, names::dns_1035_label(&version.name), &versions.index(i).child("name"), errors);
        version::validate(version, &common, &versions.index(i), errors);
    }
    let mut seen: Vec<&str> = spec.versions.iter().map(|v| v.name.as_str()).collect();
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        errors.invalid(&versions, &shown(&spec.versions), "must contain unique version names");
    }
    if spec.versions.iter().filter(|v| v.storage).count() != 1 {
        errors.invalid(&versions, &shown(&spec.versions), "must have exactly one version marked as storage version");
    }
    if let Some(first) = spec.versions.first().filter(|first| !first.name.is_empty()) {
        joined(&first.name, names::dns_1035_label(&first.name), &SPEC.child("version"), errors);
    }
    let names = SPEC.child("names");
    required(&spec.names.plural, &names.child("plural"), errors);
    required(text(spec.names.singular.as_ref()), &names.child("singular"), errors);
    required(&spec.names.kind, &names.child("kind"), errors);
    required(text(spec.names.list_kind.as_ref()), &names.child("listKind"), errors);
    all_names(&spec.names, &names, errors);
    version::validate_common(&common, errors);
    conversion::validate(spec, &SPEC.child("conversion"), errors);
}

/// A version as Kubernetes' internal type has it, without what it has in common with the others.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'a str,
    served: bool,
    storage: bool,
    deprecated: bool,
    deprecation_warning: Option<&'a str>,
    schema: (),
    subresources: (),
    additional_printer_columns: (),
    selectable_fields: (),
}

fn shown(versions: &[CustomResourceDefinitionVersion]) -> Vec<Shown<'_>> {
    fn one(version: &CustomResourceDefinitionVersion) -> Shown<'_> {
        Shown {
            name: &version.name,
            served: version.served,
            storage: version.storage,
            deprecated: version.deprecated == Some(true),
            deprecation_warning: version.deprecation_warning.as_deref(),
            schema: (),
            subresources: (),
            additional_printer_columns: (),
            selectable_fields: (),
        }
    }
    versions.iter().map(one).collect()
}

fn has_defaults(schema: &JSONSchemaProps) -> bool {
    walk::any(schema, &mut |schema| schema.default.is_some())
}

fn schema_of(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn group(group: &str, errors: &mut Errors) {
    let path = SPEC.child("group");
    let wrong = names::dns_subdomain(group);
    match group {
        "" => errors.required(&path, ""),
        _ if !wrong.is_empty() => errors.invalid(&path, group, &wrong.join(",")),
        _ if !group.contains('.') => errors.invalid(&path, group, "should be a domain with at least one dot"),
        _ => {}
    }
}

/// One error for all that is wrong with a name.
fn joined(name: &str, wrong: Vec<String>, path: &Path<'_>, errors: &mut Errors) {
    if !wrong.is_empty() {
        errors.invalid(path, name, &wrong.join(","));
    }
}

fn all_names(names: &CustomResourceDefinitionNames, path: &Path<'_>, errors: &mut Errors) {
    let lower = |name: &str, field: &str, errors: &mut Errors| {
        let wrong = if name.is_empty() { Vec::new() } else { names::dns_1035_label(name) };
        joined(name, wrong, &path.child(field), errors);
    };
    let mixed = |name: &str, field: &str, errors: &mut Errors| {
        let wrong = if name.is_empty() { Vec::new() } else { names::dns_1035_label(&name.to_lowercase()) };
        if !wrong.is_empty() {
            let rule = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&path.child(field), name, &rule);
        }
    };
    let list_kind = text(names.list_kind.as_ref());
    lower(&names.plural, "plural", errors);
    lower(text(names.singular.as_ref()), "singular", errors);
    mixed(&names.kind, "kind", errors);
    mixed(list_kind, "listKind", errors);
    for (i, name) in names.short_names.iter().flatten().enumerate() {
        joined(name, names::dns_1035_label(name), &path.child("shortNames").index(i), errors);
    }
    if !names.kind.is_empty() && names.kind == list_kind {
        errors.invalid(&path.child("listKind"), list_kind, "kind and listKind may not be the same");
    }
    for (i, name) in names.categories.iter().flatten().enumerate() {
        joined(name, names::dns_1035_label(name), &path.child("categories").index(i), errors);
    }
}

fn status(definition: &CustomResourceDefinition, errors: &mut Errors) {
    if let Some(names) = definition.status.as_ref().and_then(|s| s.accepted_names.as_ref()) {
        all_names(names, &STATUS.child("acceptedNames"), errors);
    }
}

fn stored_versions(definition: &CustomResourceDefinition, errors: &mut Errors) {
    let path = STATUS.child("storedVersions");
    let stored = definition.status.as_ref().and_then(|s| s.stored_versions.as_deref()).unwrap_or_default();
    if stored.is_empty() {
        return errors.invalid(&path, stored, "must have at least one stored version");
    }
    let versions = &definition.spec.versions;
    for version in versions.iter().filter(|v| v.storage && !stored.contains(&v.name)) {
        errors.invalid(&path, stored, &format!("must have the storage version {}", version.name));
    }
    for (i, name) in stored.iter().enumerate().filter(|(_, name)| versions.iter().all(|v| v.name != **name)) {
        let rule = format!(
            "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
        );
        errors.invalid(&path.index(i), name, &rule);
    }
}

/// An API of a group of Kubernetes' own says where it was approved, unless nothing of that changes.
fn approval(new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>, errors: &mut Errors) {
    let state = Approval::of(new);
    if !is_protected(&new.spec.group) || old.is_some_and(|old| Approval::of(old) == state) {
        return;
    }
    let annotations = Path::new("metadata");
    let annotations = annotations.child("annotations");
    let path = annotations.key(APPROVED);
    match state {
        Approval::Missing => errors.required(&path, &state.words(new)),
        Approval::Wrong => errors.invalid(&path, &approved(new), &state.words(new)),
        Approval::Given | Approval::Bypassed => {}
    }
}

/// How an API of a group of Kubernetes' own stands with its approval, as a condition says it: whether it has it, the
/// reason and the message.
#[must_use]
pub fn approval_of(definition: &CustomResourceDefinition) -> Option<(bool, &'static str, String)> {
    let state = Approval::of(definition);
    let reason = match state {
        Approval::Missing => "MissingAnnotation",
        Approval::Given => "ApprovedAnnotation",
        Approval::Bypassed => "UnapprovedAnnotation",
        Approval::Wrong => "InvalidAnnotation",
    };
    is_protected(&definition.spec.group).then(|| (state == Approval::Given, reason, state.words(definition)))
}

/// Whether a group is Kubernetes' own.
fn is_protected(group: &str) -> bool {
    let is_below = |own: &str| group.strip_suffix(own).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    ["k8s.io", "kubernetes.io"].into_iter().any(is_below)
}

/// What the annotation says.
fn approved(definition: &CustomResourceDefinition) -> &str {
    definition.metadata.annotations.as_ref().and_then(|all| all.get(APPROVED)).map_or("", String::as_str)
}

#[derive(Clone, Copy, PartialEq)]
enum Approval {
    Missing,
    Given,
    Bypassed,
    Wrong,
}

impl Approval {
    fn of(definition: &CustomResourceDefinition) -> Self {
        match approved(definition) {
            "" => Approval::Missing,
            reason if reason.starts_with("unapproved") => Approval::Bypassed,
            url => {
                let rest = url.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, rest)| rest);
                let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
                if host.is_some_and(|host| !host.is_empty()) { Approval::Given } else { Approval::Wrong }
            }
        }
    }

    fn words(self, definition: &CustomResourceDefinition) -> String {
        let rule = format!("protected groups must have approval annotation {APPROVED:?}");
        let see = "see https://github.com/kubernetes/enhancements/pull/1111";
        match self {
            Approval::Missing => format!("{rule}, {see}"),
            Approval::Given => format!("approved in {}", approved(definition)),
            Approval::Bypassed => format!("not approved: {:?}", approved(definition)),
            Approval::Wrong => format!("{rule} with either a URL or a reason starting with \"unapproved\", {see}"),
        }
    }
}

fn preserving(definition: &CustomResourceDefinition, errors: &mut Errors) {
    if definition.spec.preserve_unknown_fields == Some(true) {
        let rule =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&SPEC.child("preserveUnknownFields"), &true, rule);
    }
}

/// What all versions have in common; `None` where they differ or have nothing.
#[derive(Default)]
struct Common<'a> {
    schema: Option<&'a CustomResourceValidation>,
    subresources: Option<&'a version::Subresources>,
    columns: &'a [version::Column],
    selectable: &'a [version::Selectable],
    same_schema: bool,
    same_subresources: bool,
    same_columns: bool,
    same_selectable: bool,
    any_status: bool,
}

impl<'a> Common<'a> {
    fn of(versions: &'a [CustomResourceDefinitionVersion]) -> Self {
        let Some((first, rest)) = versions.split_first() else { return Self::default() };
        let same_schema = rest.iter().all(|v| v.schema == first.schema);
        let same_subresources = rest.iter().all(|v| v.subresources == first.subresources);
        let same_columns = rest.iter().all(|v| version::columns(v) == version::columns(first));
        let same_selectable = rest.iter().all(|v| version::selectable(v) == version::selectable(first));
        Self {
            schema: first.schema.as_ref().filter(|_| same_schema),
            subresources: first.subresources.as_ref().filter(|_| same_subresources),
            columns: if same_columns { version::columns(first) } else { &[] },
            selectable: if same_selectable { version::selectable(first) } else { &[] },
            same_schema,
            same_subresources,
            same_columns,
            same_selectable,
            any_status: versions.iter().any(has_status),
        }
    }
}

/// Whether the status of a version's objects is a subresource.
fn has_status(version: &CustomResourceDefinitionVersion) -> bool {
    version.subresources.as_ref().is_some_and(|s| s.status.is_some())
}

#[cfg(test)]
mod tests;
