//! Tables as the server makes them, and how they are printed.

use serde::Deserialize;
use serde_json::Value;

use crate::tabs;

/// A `meta.k8s.io/v1` Table.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    #[serde(default)]
    pub metadata: TableMeta,
    #[serde(default)]
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableMeta {
    pub resource_version: Option<String>,
}

/// The columns of a table.
#[derive(Clone, Debug, Default)]
pub struct Columns(Vec<Column>);

#[derive(Clone, Debug, Deserialize)]
struct Column {
    name: String,
    /// 0: always shown; more: with `-o wide`.
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Deserialize)]
struct Row {
    cells: Vec<Value>,
    #[serde(default)]
    object: Value,
}

/// What of a table is printed.
#[derive(Clone, Debug, Default)]
pub struct Cells {
    pub wide: bool,
    pub namespace: bool,
    pub labels: bool,
    /// Put before each name: `pod/`.
    pub prefix: String,
}

impl Table {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes the columns of the table before it, unless it names its own: in a watch only the first one does.
    pub fn follow(&mut self, before: &mut Columns) {
        match self.column_definitions.is_empty() {
            true => self.column_definitions.clone_from(&before.0),
            false => before.0.clone_from(&self.column_definitions),
        }
    }

    /// The names of the columns, separated by tabs.
    pub fn header(&self, cells: &Cells) -> String {
        let mut names: Vec<String> = Vec::new();
        names.extend(cells.namespace.then(|| "NAMESPACE".to_owned()));
        names.extend(self.shown(cells).map(|(_, column)| column.name.to_uppercase()));
        names.extend(cells.labels.then(|| "LABELS".to_owned()));
        names.join("\t")
    }

    /// The rows, each a line of cells separated by tabs.
    pub fn lines(&self, cells: &Cells) -> Vec<String> {
        self.rows.iter().map(|row| self.line(row, cells)).collect()
    }

    /// Header and rows, aligned.
    pub fn print(&self, cells: &Cells) -> String {
        let mut lines = vec![self.header(cells)];
        lines.extend(self.lines(cells));
        tabs::TABLE.align(&lines.join("\n"))
    }

    fn line(&self, row: &Row, cells: &Cells) -> String {
        let metadata = &row.object["metadata"];
        let mut texts: Vec<String> = Vec::new();
        texts.extend(cells.namespace.then(|| metadata["namespace"].as_str().unwrap_or_default().to_owned()));
        for (at, _) in self.shown(cells) {
            let prefix = if at == 0 { cells.prefix.as_str() } else { "" };
            texts.push(format!("{prefix}{}", row.cells.get(at).map(text).unwrap_or_default()));
        }
        texts.extend(cells.labels.then(|| labels(&metadata["labels"])));
        texts.join("\t")
    }

    fn shown<'a>(&'a self, cells: &'a Cells) -> impl Iterator<Item = (usize, &'a Column)> {
        self.column_definitions.iter().enumerate().filter(|(_, column)| cells.wide || column.priority == 0)
    }
}

/// `a=1,b=2`, or `<none>`.
pub fn labels(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// Only the first line of a cell fits into a table.
fn text(cell: &Value) -> String {
    let whole = match cell {
        Value::Null => "<none>".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match whole.split_once(['\n', '\r', '\u{c}']) {
        Some((first, _)) => format!("{first}..."),
        None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_are_printed_as_kubectl_prints_them() {
        let table: Table = serde_json::from_value(json!({
            "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0}, {"name": "IP", "priority": 1}],
            "rows": [
                {"cells": ["web-1", "1/1", "127.64.0.2"], "object": {"metadata": {"namespace": "default", "labels": {"app": "web"}}}},
                {"cells": ["b", "0/1", null], "object": {"metadata": {"namespace": "kube-system"}}},
            ],
        }))
        .expect("a table");
        assert_eq!(table.print(&Cells::default()), "NAME    READY\nweb-1   1/1\nb       0/1\n");
        let all = Cells { wide: true, namespace: true, labels: true, prefix: "pod/".into() };
        let expected = "\
NAMESPACE     NAME        READY   IP           LABELS
default       pod/web-1   1/1     127.64.0.2   app=web
kube-system   pod/b       0/1     <none>       <none>
";
        assert_eq!(table.print(&all), expected);
    }
}
