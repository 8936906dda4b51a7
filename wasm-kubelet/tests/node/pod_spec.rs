//! `docs/pod-spec.md` against the types of the API and against the node: every field is listed once, and what is listed as
//! refused is.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use coracle_api::schema::{self, Shape, Type, TypeId};
use coracle_kubelet::FakeRuntime;
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};

use super::{Node, waiting};

const DOCUMENT: &str = include_str!("../../../docs/pod-spec.md");

/// What the document says of a field.
struct Row {
    state: String,
    why: String,
}

/// The document's rows by type and field; panics for a field that is there twice.
fn rows() -> BTreeMap<(String, String), Row> {
    let mut rows = BTreeMap::new();
    let mut of = "";
    for line in DOCUMENT.lines() {
        if let Some(name) = line.strip_prefix("### `") {
            of = name.split('`').next().unwrap();
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let mut cells = row.trim_end_matches('|').splitn(3, " | ");
        let field = cells.next().unwrap().trim_end_matches('`').to_owned();
        let (state, why) = (cells.next().unwrap().to_owned(), cells.next().unwrap_or_default().trim().to_owned());
        let before = rows.insert((of.to_owned(), field.clone()), Row { state, why });
        assert!(before.is_none(), "{of}.{field} is listed twice");
    }
    rows
}

/// The type that a field leads to.
fn leads_to(shape: &Shape) -> Option<TypeId> {
    match shape {
        Shape::Object(id) => Some(*id),
        Shape::List(inner) | Shape::Map(inner) => leads_to(inner),
        _ => None,
    }
}

/// Every type within a pod's spec, with the shortest way to it.
fn types() -> Vec<(&'static Type, Vec<(&'static str, Shape)>)> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    let mut open = VecDeque::from([(schema::find("core.v1.PodSpec").unwrap().get(), Vec::new())]);
    while let Some((of, way)) = open.pop_front() {
        if !seen.insert(of.name) {
            continue;
        }
        for field in &of.fields {
            if let Some(next) = leads_to(&field.shape) {
                let mut way: Vec<(&'static str, Shape)> = way.clone();
                way.push((field.name, field.shape));
                open.push_back((next.get(), way));
            }
        }
        all.push((of, way));
    }
    all
}

#[test]
fn the_document_lists_every_field_of_a_pod_once() {
    let mut rows = rows();
    let mut missing = Vec::new();
    for (of, _) in types() {
        for field in &of.fields {
            match rows.remove(&(of.short_name().to_owned(), field.name.to_owned())) {
                None => missing.push(format!("{}.{}", of.short_name(), field.name)),
                Some(row) => {
                    let is_known = matches!(row.state.as_str(), "done" | "refused" | "no meaning")
                        || row.state.starts_with("refused: `") && row.state.ends_with('`');
                    assert!(is_known, "{}.{}: {}", of.name, field.name, row.state);
                    let needs_why = row.state != "done";
                    assert!(!needs_why || !row.why.is_empty(), "{}.{}: say why", of.name, field.name);
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "fields that the document does not list");
    assert_eq!(rows.keys().collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "there are no such fields");
}

/// Something that a field of this shape may hold.
fn sample(shape: &Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => json!("x"),
        Shape::Bool => json!(true),
        Shape::Int32 | Shape::Int64 | Shape::Float => json!(1),
        Shape::Quantity => json!("1"),
        Shape::Time | Shape::MicroTime => json!("2026-01-01T00:00:00Z"),
        Shape::IntOrString => json!(80),
        Shape::Any | Shape::Object(_) => json!({}),
        Shape::List(inner) => json!([sample(inner)]),
        Shape::Map(inner) => json!({"x": sample(inner)}),
    }
}

/// A value as what a field of this shape holds: alone, in a list, or in a map.
fn wrapped(shape: &Shape, value: Value) -> Value {
    match shape {
        Shape::List(inner) => json!([wrapped(inner, value)]),
        Shape::Map(inner) => json!({"x": wrapped(inner, value)}),
        _ => value,
    }
}

/// A pod that runs but for what is at the end of `way`.
fn spec(way: &[(&'static str, Shape)], field: &str, value: Value) -> Value {
    let mut value = json!({ field: value });
    for (name, shape) in way.iter().rev() {
        value = json!({ *name: wrapped(shape, value) });
    }
    if let Some(volume) = value["volumes"].get_mut(0) {
        volume["name"] = json!("v");
    }
    if value["containers"].is_null() {
        value["containers"] = json!([{}]);
    }
    value["containers"][0]["name"] = json!("main");
    value["containers"][0]["image"] = json!("hello");
    value
}

#[tokio::test(start_paused = true)]
async fn what_the_document_calls_refused_is_refused_by_name_and_once() {
    let rows = rows();
    let node = Node::start(FakeRuntime::new()).await;
    let mut refused = Vec::new();
    for (of, way) in types() {
        for field in &of.fields {
            let row = &rows[&(of.short_name().to_owned(), field.name.to_owned())];
            let Some(example) = row.state.strip_prefix("refused") else { continue };
            let example = example.trim_start_matches(": `").trim_end_matches('`');
            let (value, named) = match example {
                // Refused with what it is in: `with `nfs``.
                "" => (sample(&field.shape), row.why.trim_start_matches("with `").trim_end_matches('`')),
                example => (serde_json::from_str(example).unwrap(), field.name),
            };
            let pod = format!("p{}", refused.len());
            node.run(&pod, &spec(&way, field.name, value).to_string());
            refused.push((pod, named.to_owned(), format!("{}.{}", of.short_name(), field.name)));
        }
    }
    assert!(refused.len() > 130, "{}", refused.len());
    for (pod, named, field) in &refused {
        let found = node.until(pod, |pod| !waiting(pod).is_empty()).await;
        let why = waiting(&found);
        assert!(why.starts_with("CreateContainerConfigError: spec."), "{field}: {why}");
        let path = why["CreateContainerConfigError: ".len()..].split(": ").next().unwrap();
        assert!(path.split(['.', '[', ']']).any(|part| part == named), "{field}: {why} does not name {named}");
        node.until_told(&format!("Failed: Error: {}", &why["CreateContainerConfigError: ".len()..])).await;
    }
    let writes = || node.server.requests().iter().filter(|request| request.contains("/pods/p")).count();
    let told = || {
        let events = node.server.all::<Event>();
        let of_pods = events.iter().filter(|event| event.involved_object.kind.as_deref() == Some("Pod"));
        of_pods.map(|event| event.count.unwrap_or(1)).sum::<i32>()
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = (writes(), told());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((writes(), told()), before, "nothing of it is tried again");
}
