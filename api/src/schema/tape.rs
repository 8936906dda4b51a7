//! Random values of any type of the graph, for the properties of what walks it.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Field, ListType, Merge, Shape};
use crate::kind::Kind;
use crate::kinds;

/// Texts with all that JSON and YAML escape, and such as read like something else.
const TEXTS: [&str; 10] = ["v0", "v1", "v2", "v3", "", "é\"\\\n\u{1}\u{2028}", "no", "1e3", " - a: #b", "0x1F"];
const QUANTITIES: [&str; 6] = ["1", "100m", "1Gi", "2k", "1500m", "0"];
const BYTES: [&str; 4] = ["aGk=", "AA==", "/+8=", ""];

/// Times without which an object cannot be read.
const REQUIRED_TIMES: [(&str, &str); 2] =
    [("meta.v1.Condition", "lastTransitionTime"), ("events.v1.EventSeries", "lastObservedTime")];

/// Where the choices that make a value come from; values get smaller as it ends.
pub(crate) struct Tape<'t>(pub std::slice::Iter<'t, u8>);

pub(crate) fn tape() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

/// The kinds that are of the graph.
pub(crate) fn typed() -> Vec<&'static Kind> {
    kinds::all().iter().filter(|kind| kind.model.schema().is_some()).collect()
}

/// Any object of a kind of the graph, without managers.
pub(crate) fn object(kind: &Kind, tape: &[u8]) -> Value {
    let type_ = kind.model.schema().expect("a kind of the graph");
    let mut object = Tape(tape.iter()).value(Shape::Object(type_), &Merge::PLAIN);
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.clone().into();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

impl Tape<'_> {
    fn next(&mut self) -> Option<usize> {
        self.0.next().map(|byte| usize::from(*byte))
    }

    /// A number below another.
    fn below(&mut self, end: usize) -> usize {
        self.next().unwrap_or_default() % end
    }

    fn one_of(&mut self, texts: &[&str]) -> Value {
        json!(texts[self.below(texts.len())])
    }

    /// Any value of a shape, in which no element of a merged list stands twice.
    pub(crate) fn value(&mut self, shape: Shape, merge: &Merge) -> Value {
        match shape {
            Shape::String => self.one_of(&TEXTS),
            Shape::Bool => json!(self.below(2) == 1),
            Shape::Int32 | Shape::Int64 => json!(i64::try_from(self.below(8)).expect("a small number") - 2),
            Shape::Float => json!(f64::from(u8::try_from(self.below(8)).expect("a small number")) + 0.5),
            Shape::Bytes => self.one_of(&BYTES),
            Shape::Quantity => self.one_of(&QUANTITIES),
            Shape::Time => json!(format!("2026-01-0{}T00:00:00Z", self.below(8) + 1)),
            Shape::MicroTime => json!(format!("2026-01-01T00:00:00.00000{}Z", self.below(8))),
            Shape::IntOrString => match self.below(4) {
                0 => json!("25%"),
                number => json!(number),
            },
            Shape::Any => self.json(3),
            Shape::Object(id) => {
                let mut object = self.object(&id.get().fields);
                // A claim in a template says what it is.
                if id.get().short_name() == "PersistentVolumeClaim" {
                    object["apiVersion"] = json!("v1");
                    object["kind"] = json!("PersistentVolumeClaim");
                }
                if let Some((_, name)) = REQUIRED_TIMES.iter().find(|(of, _)| *of == id.get().name) {
                    let field = id.get().field(name).expect("a field of that name");
                    object[*name] = self.value(field.shape, &Merge::PLAIN);
                }
                object
            }
            Shape::List(element) => self.list(*element, merge),
            Shape::Map(entry) => {
                let count = self.below(4);
                (0..count).map(|_| (format!("v{}", self.below(4)), self.value(*entry, &Merge::PLAIN))).collect()
            }
        }
    }

    /// Any JSON but null, which means another thing in a patch.
    fn json(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 3 } else { 5 }) {
            0 => json!(self.below(2) == 1),
            1 => self.one_of(&TEXTS),
            2 => json!(self.below(8)),
            3 => (0..self.below(3)).map(|_| self.json(depth - 1)).collect(),
            _ => (0..self.below(3)).map(|_| (format!("v{}", self.below(4)), self.json(depth - 1))).collect(),
        }
    }

    fn object(&mut self, fields: &[Field]) -> Value {
        let mut object = Map::new();
        let mut at = 0;
        while let Some(skipped) = self.next() {
            at += skipped % 8;
            let Some(field) = fields.get(at) else { break };
            at += 1;
            object.insert(field.name.to_owned(), self.value(field.shape, &field.merge));
        }
        Value::Object(object)
    }

    fn list(&mut self, element: Shape, merge: &Merge) -> Value {
        let mut keys: Vec<&str> = merge.keys().collect();
        if !merge.merge_key.is_empty() && !keys.contains(&merge.merge_key) {
            keys.push(merge.merge_key);
        }
        let mut list: Vec<Value> = Vec::new();
        for n in 0..self.below(4) {
            let mut value = self.value(element, &Merge::PLAIN);
            if value.is_object() {
                for key in &keys {
                    // Some keys are in both versions, in another order; some in only one.
                    value[*key] = self.key(n, element, key);
                }
            }
            let is_other = |other: &Value| {
                let all = keys.iter().all(|key| other.get(key) == value.get(key));
                let merged = !merge.merge_key.is_empty() && other.get(merge.merge_key) == value.get(merge.merge_key);
                if keys.is_empty() || !value.is_object() { *other != value } else { !all && !merged }
            };
            let is_told_apart = merge.list != ListType::Atomic || merge.patch_merges;
            if !is_told_apart || list.iter().all(is_other) {
                list.push(value);
            }
        }
        Value::Array(list)
    }

    /// The value of a key of the `n`th element.
    fn key(&mut self, n: usize, element: Shape, key: &str) -> Value {
        let number = (n + self.below(8)) % 5;
        let field = if let Shape::Object(id) = element { id.get().field(key) } else { None };
        match field.map(|field| field.shape) {
            Some(Shape::Int32 | Shape::Int64) => json!(number + 1),
            _ => json!(format!("k{number}")),
        }
    }
}
