//! Field selectors: `spec.nodeName=n1,status.phase!=Running`, on the few fields that a kind lets be selected by.
//!
//! Source: `k8s.io/apimachinery/pkg/fields`, and the `GetAttrs` of each kind.

use std::borrow::Cow;
use std::fmt::{self, Display};

use k8s_openapi::api::{
    batch::v1 as batch, certificates::v1 as certificates, core::v1 as core, events::v1 as events,
    resource::v1 as resource,
};

use super::ParseError;
use crate::any::AnyObject;
use crate::kind::Kind;
use crate::status::ApiError;

/// A conjunction of terms; none of them selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

/// What one field must be, or must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    pub equal: bool,
}

impl FieldSelector {
    /// Selects every object.
    #[must_use]
    pub const fn everything() -> Self {
        Self { terms: Vec::new() }
    }

    /// Selects objects whose field has this value.
    #[must_use]
    pub fn of(field: &str, value: &str) -> Self {
        Self { terms: vec![FieldTerm { field: field.to_owned(), value: value.to_owned(), equal: true }] }
    }

    /// Reads the form that URLs have; a comma, an equals sign and a backslash in a value are escaped by a backslash.
    ///
    /// # Errors
    /// When a term has no operator, or a value an escape that is none.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let terms = split_terms(text).into_iter().filter(|t| !t.is_empty()).map(|t| parse_term(t, text));
        Ok(Self { terms: terms.collect::<Result<_, _>>()? })
    }

    /// Refuses fields that the kind can't be selected by.
    ///
    /// # Errors
    /// When a term names such a field.
    pub fn check(&self, kind: &Kind) -> Result<(), ApiError> {
        match self.terms.iter().find(|t| !kind.selects_by(&t.field)) {
            None => Ok(()),
            Some(term) => Err(ApiError::BadRequest(not_selectable(kind, &term.field))),
        }
    }

    /// Whether an object is selected, given the values of its fields; a field that it doesn't have is empty.
    #[must_use]
    pub fn matches<'v>(&self, value_of: impl Fn(&str) -> Option<Cow<'v, str>>) -> bool {
        self.terms.iter().all(|t| (value_of(&t.field).as_deref().unwrap_or_default() == t.value) == t.equal)
    }

    /// Whether an object is selected.
    #[must_use]
    pub fn matches_object(&self, object: &AnyObject) -> bool {
        self.matches(|field| value_of(object, field))
    }

    /// The value that this field must have, if there is one: an index may know the objects.
    #[must_use]
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equal && t.field == field).map(|t| t.value.as_str())
    }

    /// Whether it selects every object.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    #[must_use]
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }
}

/// Why objects of a kind cannot be selected by a field: kinds with fields of their own say it in other words.
///
/// Source: the conversions of field labels that are registered for each kind.
fn not_selectable(kind: &Kind, field: &str) -> String {
    if kind.kind == "Job" {
        format!("field label {field:?} not supported for Job")
    } else if kind.kind == "ResourceSlice" {
        format!("field label not supported for {}, Kind=ResourceSlice: {field}", kind.api_version())
    } else if kind.selectable.is_empty() && kind.model.custom().is_none() {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    }
}

impl Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

fn escape(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', ',', '=']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\="))
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn parse_term(term: &str, whole: &str) -> Result<FieldTerm, ParseError> {
    let invalid = || ParseError(format!("invalid selector: '{whole}'; can't understand '{term}'"));
    let at = term.find(['=', '!']).ok_or_else(invalid)?;
    let (field, rest) = term.split_at(at);
    let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
        (false, value)
    } else if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        (true, value)
    } else {
        return Err(invalid());
    };
    Ok(FieldTerm { field: field.to_owned(), value: unescape(value)?, equal })
}

fn unescape(value: &str) -> Result<String, ParseError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = other.into_iter().collect();
                    return Err(ParseError(format!("invalid field selector: invalid escape sequence: \\{sequence}")));
                }
            },
            '=' | ',' => return Err(ParseError(format!("invalid field selector: unescaped character in value: {c}"))),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Everything that an object can be selected by, for the one who looks at it many times.
#[must_use]
pub fn fields_of(kind: &Kind, object: &AnyObject) -> Vec<(Cow<'static, str>, String)> {
    let value = |field: &Cow<'static, str>| value_of(object, field).map(|v| (field.clone(), v.into_owned()));
    kind.selectable.iter().filter_map(value).collect()
}

/// The value of a field that selectors may name.
fn value_of<'o>(object: &'o AnyObject, field: &str) -> Option<Cow<'o, str>> {
    match field {
        "metadata.name" => return text(object.meta().name.as_ref()),
        "metadata.namespace" => return text(object.meta().namespace.as_ref()),
        _ => {}
    }
    if let Some(pod) = object.downcast_ref::<core::Pod>() {
        of_pod(pod, field)
    } else if let Some(event) = object.downcast_ref::<core::Event>() {
        of_core_event(event, field)
    } else if let Some(event) = object.downcast_ref::<events::Event>() {
        of_event(event, field)
    } else if let Some(node) = object.downcast_ref::<core::Node>() {
        Some(truth(node.spec.as_ref().and_then(|s| s.unschedulable)))
    } else if let Some(namespace) = object.downcast_ref::<core::Namespace>() {
        text(namespace.status.as_ref()?.phase.as_ref())
    } else if let Some(secret) = object.downcast_ref::<core::Secret>() {
        text(secret.type_.as_ref())
    } else if let Some(service) = object.downcast_ref::<core::Service>() {
        let spec = service.spec.as_ref()?;
        text(if field == "spec.type" { spec.type_.as_ref() } else { spec.cluster_ip.as_ref() })
    } else if let Some(request) = object.downcast_ref::<certificates::CertificateSigningRequest>() {
        text(Some(&request.spec.signer_name))
    } else if let Some(slice) = object.downcast_ref::<resource::ResourceSlice>() {
        text(if field == "spec.driver" { Some(&slice.spec.driver) } else { slice.spec.node_name.as_ref() })
    } else if let Some(job) = object.downcast_ref::<batch::Job>() {
        Some(number(job.status.as_ref().and_then(|s| s.succeeded)))
    } else {
        object
            .downcast_ref::<core::ReplicationController>()
            .map(|controller| number(controller.status.as_ref().map(|s| s.replicas)))
    }
}

fn text(value: Option<&String>) -> Option<Cow<'_, str>> {
    value.map(|v| Cow::Borrowed(v.as_str()))
}

fn truth(value: Option<bool>) -> Cow<'static, str> {
    Cow::Borrowed(if value.unwrap_or(false) { "true" } else { "false" })
}

fn number(value: Option<i32>) -> Cow<'static, str> {
    Cow::Owned(value.unwrap_or(0).to_string())
}

fn of_pod<'o>(pod: &'o core::Pod, field: &str) -> Option<Cow<'o, str>> {
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    match field {
        // The older of the two is what clients of long ago say.
        "spec.nodeName" | "spec.host" => text(spec?.node_name.as_ref()),
        "spec.restartPolicy" => text(spec?.restart_policy.as_ref()),
        "spec.schedulerName" => text(spec?.scheduler_name.as_ref()),
        "spec.serviceAccountName" => text(spec?.service_account_name.as_ref()),
        "spec.hostNetwork" => Some(truth(spec.and_then(|s| s.host_network))),
        "status.phase" => text(status?.phase.as_ref()),
        "status.podIP" | "status.podIPs" => text(status?.pod_ip.as_ref()),
        "status.nominatedNodeName" => text(status?.nominated_node_name.as_ref()),
        _ => None,
    }
}

fn of_core_event<'o>(event: &'o core::Event, field: &str) -> Option<Cow<'o, str>> {
    if let Some(part) = field.strip_prefix("involvedObject.") {
        return of_reference(&event.involved_object, part);
    }
    match field {
        "reason" => text(event.reason.as_ref()),
        "reportingComponent" => text(event.reporting_component.as_ref()),
        "source" => {
            text(event.source.as_ref().and_then(|s| s.component.as_ref()).or(event.reporting_component.as_ref()))
        }
        "type" => text(event.type_.as_ref()),
        _ => None,
    }
}

fn of_event<'o>(event: &'o events::Event, field: &str) -> Option<Cow<'o, str>> {
    if let Some(part) = field.strip_prefix("regarding.") {
        return of_reference(event.regarding.as_ref()?, part);
    }
    match field {
        "reason" => text(event.reason.as_ref()),
        "reportingController" => text(event.reporting_controller.as_ref()),
        "type" => text(event.type_.as_ref()),
        _ => None,
    }
}

fn of_reference<'o>(reference: &'o core::ObjectReference, part: &str) -> Option<Cow<'o, str>> {
    match part {
        "kind" => text(reference.kind.as_ref()),
        "namespace" => text(reference.namespace.as_ref()),
        "name" => text(reference.name.as_ref()),
        "uid" => text(reference.uid.as_ref()),
        "apiVersion" => text(reference.api_version.as_ref()),
        "resourceVersion" => text(reference.resource_version.as_ref()),
        "fieldPath" => text(reference.field_path.as_ref()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::kinds;
    use crate::object::Object;

    #[test]
    fn pods_are_selected_by_their_node() {
        let pod = core::Pod::decode(
            br#"{"metadata":{"name":"p"},"spec":{"nodeName":"n","containers":[]},"status":{"phase":"Running"}}"#,
        );
        let pod = AnyObject::new(pod.unwrap());
        for (selector, expected) in [
            ("", true),
            ("spec.nodeName=n", true),
            ("spec.nodeName==n,status.phase!=Running", false),
            ("spec.nodeName!=", true),
            ("spec.hostNetwork=false", true),
            ("spec.host=n", true),
            ("status.podIP=", true),
            ("metadata.name=q", false),
        ] {
            assert_eq!(FieldSelector::parse(selector).unwrap().matches_object(&pod), expected, "{selector}");
        }
        let fields = fields_of(kinds::of::<core::Pod>(), &pod);
        assert!(fields.contains(&("spec.nodeName".into(), "n".into())));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["a", "a!", "a=b=c", "a=\\x", "a=\\"] {
            assert!(FieldSelector::parse(text).is_err(), "{text}");
        }
        let kind = kinds::of::<core::ConfigMap>();
        let error = FieldSelector::parse("data.k=v").unwrap().check(kind).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""data.k" is not a known field selector: only "metadata.name", "metadata.namespace""#
        );
        assert!(FieldSelector::of("metadata.namespace", "x").check(kind).is_ok());
    }

    #[test]
    fn each_kind_says_in_its_words_what_it_is_not_selected_by() {
        for (kind, field, expected) in [
            (kinds::of::<core::Pod>(), "spec.x", "field label not supported: spec.x"),
            (kinds::of::<core::Node>(), "metadata.namespace", "field label not supported: metadata.namespace"),
            (kinds::of::<core::Namespace>(), "metadata.namespace", "field label not supported: metadata.namespace"),
            (kinds::of::<core::Secret>(), "data", "field label not supported: data"),
            (kinds::of::<core::Service>(), "spec.x", "field label not supported: spec.x"),
            (kinds::of::<core::Event>(), "regarding.name", "field label not supported: regarding.name"),
            (kinds::of::<events::Event>(), "involvedObject.name", "field label not supported: involvedObject.name"),
            (kinds::of::<events::Event>(), "source", "field label not supported: source"),
            (kinds::of::<batch::Job>(), "spec.x", "field label \"spec.x\" not supported for Job"),
            (
                kinds::of::<certificates::CertificateSigningRequest>(),
                "metadata.namespace",
                "field label not supported: metadata.namespace",
            ),
            (
                kinds::of::<resource::ResourceSlice>(),
                "metadata.namespace",
                "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: metadata.namespace",
            ),
            (
                kinds::of::<resource::ResourceClaim>(),
                "spec.x",
                "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
        ] {
            let error = FieldSelector::of(field, "v").check(kind).unwrap_err();
            assert_eq!(error.to_string(), expected, "{}", kind.plural);
        }
    }

    #[test]
    fn kinds_are_selected_by_their_own_fields() {
        for (kind, fields) in [
            (kinds::of::<core::Node>(), "metadata.name spec.unschedulable"),
            (kinds::of::<core::Namespace>(), "metadata.name status.phase"),
            (kinds::of::<core::Secret>(), "metadata.name metadata.namespace type"),
            (kinds::of::<core::Service>(), "metadata.name metadata.namespace spec.clusterIP spec.type"),
            (kinds::of::<core::ReplicationController>(), "metadata.name metadata.namespace status.replicas"),
            (kinds::of::<batch::Job>(), "metadata.name metadata.namespace status.successful"),
            (kinds::of::<certificates::CertificateSigningRequest>(), "metadata.name spec.signerName"),
            (kinds::of::<resource::ResourceSlice>(), "metadata.name spec.nodeName spec.driver"),
            (kinds::of::<core::PersistentVolume>(), "metadata.name metadata.namespace"),
        ] {
            for field in fields.split(' ') {
                assert!(FieldSelector::of(field, "v").check(kind).is_ok(), "{} {field}", kind.plural);
            }
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_undo_each_other(values in proptest::collection::vec("[a-z\\\\,= ]{0,6}", 0..4), equal: bool) {
            let terms = values.into_iter().map(|value| FieldTerm { field: "a.b".to_owned(), value, equal }).collect();
            let selector = FieldSelector { terms };
            prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}
