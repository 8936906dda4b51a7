//! The configuration that kubectl wrote into an annotation when it applied by itself: how an object comes from there to
//! being applied to by the server.
//!
//! Source: `lastAppliedManager` and `lastAppliedUpdater` in `k8s.io/apimachinery/pkg/util/managedfields/internal`.

use serde_json::{Value, json};

use super::check::check;
use super::compare::compare;
use super::fields_of::fields_of;
use super::set::Set;
use super::types::Type;
use crate::limits;

/// The annotation.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn annotation(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str().filter(|text| !text.is_empty())
}

/// The fields that kubectl last applied and that are still as it wanted them. Nothing is known of them when what it
/// applied is of another kind, or one of the two cannot be compared.
pub(super) fn still_so(live: &Value, type_: Type<'_>, api_version: &str) -> Option<Set<'static>> {
    let last: Value = serde_json::from_str(annotation(live)?).ok()?;
    if last.get("apiVersion").and_then(Value::as_str) != Some(api_version) || last.get("kind") != live.get("kind") {
        return None;
    }
    check(&last, type_).ok()?;
    check(live, type_).ok()?;
    let mut fields = fields_of(&last, type_).ok()?;
    let change = compare(&last, live, type_).ok()?;
    for changed in [&change.modified, &change.added, &change.removed] {
        fields.subtract(changed);
    }
    Some(fields.into_owned())
}

/// JSON as Go writes it: safe inside of HTML.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out
}

/// Writes what is applied now into the annotation, where there is one. `object` is `None` when it stays as `live` is.
pub(super) fn renew(object: &mut Option<Value>, live: &Value, config: &Value) {
    if annotation(object.as_ref().unwrap_or(live)).is_none() {
        return;
    }
    let mut applied = config.clone();
    match applied.pointer_mut("/metadata/annotations") {
        Some(Value::Object(annotations)) => drop(annotations.remove(LAST_APPLIED)),
        Some(_) => {
            applied.pointer_mut("/metadata").and_then(Value::as_object_mut).map(|meta| meta.remove("annotations"));
        }
        None => {}
    }
    let text = format!("{}\n", escaped(&applied.to_string()));
    if annotation(object.as_ref().unwrap_or(live)) == Some(&text) {
        return;
    }
    let new = object.get_or_insert_with(|| live.clone());
    let Some(annotations) = new.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else { return };
    annotations.insert(LAST_APPLIED.to_owned(), json!(text));
    let bytes: usize = annotations.iter().map(|(k, v)| k.len() + v.as_str().map_or(0, str::len)).sum();
    if bytes > limits::ANNOTATIONS_BYTES_MAX {
        annotations.remove(LAST_APPLIED);
    }
}
