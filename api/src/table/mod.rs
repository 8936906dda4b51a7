//! What `kubectl get` shows: the columns of a kind, and a row of cells for an object.
//!
//! The columns are Kubernetes' own (`api/schema/columns.tsv`); the cells are made here, one file a kind or family. Ages
//! are told relative to a time that the caller gives. Source: `pkg/printers/internalversion`.

mod admission;
pub(crate) mod age;
mod api_service;
mod autoscaler;
mod batch;
pub(crate) mod cells;
mod certificate;
mod device;
mod endpoints;
mod event;
mod flow;
mod networking;
mod node;
mod plain;
mod pod;
mod policy;
mod rbac;
mod service;
mod small;
mod storage;
mod workload;

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use serde::Serialize;
use serde_json::{Value, json};

pub use age::{human_duration, since};

use crate::any::AnyObject;
use crate::codec;
use crate::kind::{Kind, Name};
use crate::schema;

static TEXT: &str = include_str!("../../schema/columns.tsv");

/// The head of a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: Name,
    #[serde(rename = "type")]
    pub type_: Name,
    pub format: Name,
    pub description: Name,
    /// 0 is shown always, 1 with `-o wide`.
    pub priority: i32,
}

/// The columns of a kind of which nothing is known.
static UNKNOWN: [Column; 2] = [column("Name", "string", "name", 0), column("Created At", "date", "", 0)];

const fn column(name: &'static str, type_: &'static str, format: &'static str, priority: i32) -> Column {
    let [name, type_, format, description] =
        [Cow::Borrowed(name), Cow::Borrowed(type_), Cow::Borrowed(format), Cow::Borrowed("")];
    Column { name, type_, format, description, priority }
}

/// The columns of a kind.
#[must_use]
pub fn columns(kind: &Kind) -> &[Column] {
    if let Some(model) = kind.model.custom() {
        return &model.heads;
    }
    let key = (&*kind.group, &*kind.version, &*kind.plural);
    all_columns().iter().find(|(k, _)| *k == key).map_or(&UNKNOWN, |(_, columns)| columns)
}

/// The columns of a scale, which every kind that has one shows alike. Source: upstream's `scaleColumnDefinitions`.
#[must_use]
pub fn scale_columns() -> [Column; 4] {
    [
        column("Name", "string", "", 0),
        column("Desired", "integer", "", 0),
        column("Available", "integer", "", 0),
        column("Age", "string", "", 0),
    ]
}

/// The cells of a scale's row.
#[must_use]
pub fn scale_row(scale: &Scale, now: Timestamp) -> Vec<Value> {
    let desired = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    let available = scale.status.as_ref().map(|status| status.replicas).unwrap_or_default();
    let name = cells::text(scale.metadata.name.as_ref());
    vec![name.into(), desired.into(), available.into(), age(&scale.metadata, now).into()]
}

/// A resource's group, version and plural.
type Key = (&'static str, &'static str, &'static str);

fn all_columns() -> &'static [(Key, Vec<Column>)] {
    static COLUMNS: OnceLock<Vec<(Key, Vec<Column>)>> = OnceLock::new();
    COLUMNS.get_or_init(|| {
        let mut all: Vec<(Key, Vec<Column>)> = Vec::new();
        for line in TEXT.lines().skip(1) {
            let [group, version, resource, name, type_, format, priority] = line.split('\t').collect::<Vec<_>>()[..]
            else {
                continue;
            };
            let key = (group, version, resource);
            if all.last().is_none_or(|(last, _)| *last != key) {
                all.push((key, Vec::new()));
            }
            let column = column(name, type_, format, priority.parse().unwrap_or(0));
            all.last_mut().expect("one was just added").1.push(column);
        }
        all
    })
}

/// Why a row's object has come to its end, and what is said of it.
pub type Completed = (&'static str, &'static str);

/// When what was never made was made: Go's first moment.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The row of a kind in a table.
pub trait Cells: k8s_openapi::Metadata<Ty = ObjectMeta> {
    /// The cells, one a column. Of a kind that has no columns of its own: its name, and when it was made.
    fn cells(&self, _now: Timestamp) -> Vec<Value> {
        let meta = self.metadata();
        let created = meta.creation_timestamp.as_ref().map(|t| t.0.to_string());
        vec![cells::text(meta.name.as_ref()).into(), created.unwrap_or_else(|| NEVER.to_owned()).into()]
    }

    /// Whether the object has come to its end, so that a client may leave its row out.
    fn completed(&self) -> Option<Completed> {
        None
    }
}

/// The cells of an object's row, one a column.
#[must_use]
pub fn row(object: &AnyObject, now: Timestamp) -> Vec<Value> {
    object.erased().cells(now)
}

/// Whether an object has come to its end.
#[must_use]
pub fn completed(object: &AnyObject) -> Option<Completed> {
    object.erased().completed()
}

/// How long an object has been there.
fn age(meta: &ObjectMeta, now: Timestamp) -> String {
    since(meta.creation_timestamp.as_ref().map(|t| t.0), now)
}

/// A table being written.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    first: bool,
}

impl Writer {
    /// Begins a table; one in a watch has its columns in the first frame only, and then `columns` is empty.
    #[must_use]
    pub fn new(meta: &ListMeta, columns: &[Column]) -> Self {
        let list_meta = schema::find("meta.v1.ListMeta").expect("the graph has the metadata of lists");
        let mut out = br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":"#.to_vec();
        out.extend_from_slice(&codec::encode_as(meta, list_meta));
        out.extend_from_slice(br#","columnDefinitions":"#);
        // What is told of them once is nothing afterwards.
        let columns = Some(columns).filter(|columns| !columns.is_empty());
        serde_json::to_writer(&mut out, &columns).expect("columns are text and numbers");
        out.extend_from_slice(br#","rows":["#);
        Self { out, first: true }
    }

    /// Adds a row; `object` is the JSON of what the row shows of the object beside the cells.
    pub fn row(&mut self, cells: &[Value], completed: Option<Completed>, object: &[u8]) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.extend_from_slice(br#"{"cells":"#);
        serde_json::to_writer(&mut self.out, cells).expect("cells are JSON");
        if let Some((reason, message)) = completed {
            let conditions = json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]);
            write!(self.out, r#","conditions":{conditions}"#).expect("a Vec takes whatever is written to it");
        }
        self.out.extend_from_slice(br#","object":"#);
        self.out.extend_from_slice(if object.is_empty() { b"null" } else { object });
        self.out.push(b'}');
    }

    /// The table.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        self.out.extend_from_slice(b"]}");
        self.out.into()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::core::v1 as core;

    use super::*;
    use crate::kinds;

    pub(crate) const NOW: &str = "2026-01-01T01:00:00Z";

    /// The row of an object as one line, cells apart by ` | `.
    pub(crate) fn line<T: crate::object::Object>(json: &str) -> String {
        let object = AnyObject::new(T::decode(json.as_bytes()).unwrap());
        let row = row(&object, NOW.parse().unwrap());
        let cells = row.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned));
        cells.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn every_kind_has_as_many_cells_as_columns() {
        for kind in kinds::all() {
            let object = kind.model.decode(b"{}").unwrap();
            // Upstream tells the age of an address, and has no column for it; clients leave such cells out.
            let more = usize::from(kind.plural == "ipaddresses");
            assert_eq!(row(&object, NOW.parse().unwrap()).len(), columns(kind).len() + more, "{}", kind.plural);
        }
    }

    #[test]
    fn small_kinds() {
        let meta = r#""metadata":{"name":"a","creationTimestamp":"2026-01-01T00:57:00Z"}"#;
        assert_eq!(
            line::<core::ConfigMap>(&format!(r#"{{{meta},"data":{{"a":"1"}},"binaryData":{{"b":""}}}}"#)),
            "a | 2 | 3m"
        );
        assert_eq!(line::<core::Secret>(&format!(r#"{{{meta},"type":"Opaque"}}"#)), "a | Opaque | 0 | 3m");
        assert_eq!(line::<core::Namespace>(&format!(r#"{{{meta},"status":{{"phase":"Active"}}}}"#)), "a | Active | 3m");
        assert_eq!(line::<core::ServiceAccount>(r#"{"metadata":{"name":"a"}}"#), "a | <unknown>");
    }

    #[test]
    fn tables_are_json() {
        let mut writer = Writer::new(&ListMeta::default(), columns(kinds::of::<core::ServiceAccount>()));
        writer.row(&["a".into(), 1.into()], None, br#"{"kind":"X"}"#);
        writer.row(&[Value::Null], Some(("Failed", "so it is")), b"");
        let table: Value = serde_json::from_slice(&writer.finish()).unwrap();
        assert_eq!(table["columnDefinitions"][0]["format"], "name");
        assert_eq!(table["rows"][0]["object"]["kind"], "X");
        assert_eq!(table["rows"][1]["object"], Value::Null);
        assert_eq!(table["rows"][0].get("conditions"), None);
        let condition = json!({"type": "Completed", "status": "True", "reason": "Failed", "message": "so it is"});
        assert_eq!(table["rows"][1]["conditions"], json!([condition]));
    }

    #[test]
    fn what_has_ended_says_so() {
        for (phase, expected) in [
            ("Running", None),
            ("Succeeded", Some(("Succeeded", "The pod has completed successfully."))),
            ("Failed", Some(("Failed", "The pod failed."))),
        ] {
            let pod = <core::Pod as crate::object::Object>::decode(
                format!(r#"{{"status":{{"phase":"{phase}"}}}}"#).as_bytes(),
            );
            assert_eq!(completed(&AnyObject::new(pod.unwrap())), expected, "{phase}");
        }
    }

    #[test]
    fn kinds_without_columns_of_their_own() {
        assert_eq!(
            line::<core::LimitRange>(r#"{"metadata":{"name":"a","creationTimestamp":"2026-01-01T00:57:00Z"}}"#),
            "a | 2026-01-01T00:57:00Z"
        );
        assert_eq!(line::<core::LimitRange>(r#"{"metadata":{"name":"a"}}"#), "a | 0001-01-01T00:00:00Z");
    }
}
