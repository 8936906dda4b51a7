//! A description as it grows: lines of a name and a value, indented by depth.

use std::fmt::{Display, Write};

use serde_json::Value;

use crate::tabs;
use crate::verb::events::ages;

/// The text of one object. Its columns are aligned at the end.
#[derive(Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// `Name:  value`, at a depth.
    pub fn field(&mut self, depth: usize, name: &str, value: impl Display) {
        self.write(format_args!("{:indent$}{name}:\t{value}\n", "", indent = depth * 2));
    }

    /// As [`Page::field`], when there is a value.
    pub fn field_of(&mut self, depth: usize, name: &str, value: &Value) {
        if !value.is_null() {
            self.field(depth, name, scalar(value));
        }
    }

    /// A line of its own, such as a heading.
    pub fn line(&mut self, depth: usize, text: impl Display) {
        self.write(format_args!("{:indent$}{text}\n", "", indent = depth * 2));
    }

    /// A name with several lines of values under each other; `<none>` without any.
    pub fn list<T: Display>(&mut self, depth: usize, name: &str, values: impl IntoIterator<Item = T>) {
        let mut values = values.into_iter();
        match values.next() {
            None => self.field(depth, name, "<none>"),
            Some(first) => {
                self.field(depth, name, first);
                for value in values {
                    self.write(format_args!("{:indent$}\t{value}\n", "", indent = depth * 2));
                }
            }
        }
    }

    /// A map, an entry a line.
    pub fn map(&mut self, depth: usize, name: &str, map: &Value, separator: &str) {
        // What `apply` keeps there is for machines.
        let shown = |key: &str| key != "kubectl.kubernetes.io/last-applied-configuration";
        let entries = map.as_object().into_iter().flatten().filter(|(key, _)| shown(key));
        self.list(depth, name, entries.map(|(key, value)| format!("{key}{separator}{}", scalar(value))));
    }

    /// Name, namespace, labels and annotations.
    pub fn metadata(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        self.field_of(0, "Name", &metadata["name"]);
        self.field_of(0, "Namespace", &metadata["namespace"]);
        self.map(0, "Labels", &metadata["labels"], "=");
        self.map(0, "Annotations", &metadata["annotations"], ": ");
    }

    /// The conditions of a status, in the columns that are asked for.
    pub fn conditions(&mut self, conditions: &Value, columns: &[(&str, &str)]) {
        let Some(conditions) = conditions.as_array().filter(|it| !it.is_empty()) else { return };
        self.line(0, "Conditions:");
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        self.line(1, headings.join("\t"));
        if columns.len() > 2 {
            let rules: Vec<String> = headings.iter().map(|heading| "-".repeat(heading.len())).collect();
            self.line(1, rules.join("\t"));
        }
        for condition in conditions {
            let cells: Vec<String> = columns.iter().map(|(_, field)| cell(field, &condition[*field])).collect();
            self.line(1, cells.join("\t"));
        }
    }

    /// The events of an object.
    pub fn events(&mut self, events: &[Value]) {
        if events.is_empty() {
            return self.field(0, "Events", "<none>");
        }
        self.line(0, "Events:");
        self.line(1, "Type\tReason\tAge\tFrom\tMessage");
        self.line(1, "----\t------\t----\t----\t-------");
        for event in events {
            let from =
                event["source"]["component"].as_str().or(event["reportingComponent"].as_str()).unwrap_or_default();
            let message = scalar(&event["message"]).trim().replace(['\n', '\t'], " ");
            let (kind, reason) = (scalar(&event["type"]), scalar(&event["reason"]));
            self.line(1, format_args!("{kind}\t{reason}\t{}\t{from}\t{message}", ages(event)));
        }
    }

    pub fn finish(self) -> String {
        tabs::DESCRIBE.align(&self.text)
    }

    fn write(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a string takes everything");
    }
}

/// A scalar as a person writes it; nothing for nothing.
pub fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An RFC 3339 time as kubectl shows it: `Sat, 21 Nov 2026 00:05:00 +0000`.
pub fn time(value: &Value) -> String {
    let parsed = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    parsed.map_or_else(|| "<unset>".to_owned(), |time| time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
}

/// The entries of a map in one line.
pub fn inline(map: &Value) -> String {
    let entries = map.as_object().into_iter().flatten();
    let entries: Vec<String> = entries.map(|(key, value)| format!("{key}={}", scalar(value))).collect();
    if entries.is_empty() { "<none>".to_owned() } else { entries.join(",") }
}

fn cell(field: &str, value: &Value) -> String {
    if field.ends_with("Time") { time(value) } else { scalar(value).replace('\n', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_is_aligned_at_its_end() {
        let mut page = Page::default();
        page.metadata(&json!({"metadata": {"name": "web", "labels": {"a": "1", "b": "2"}}}));
        page.conditions(&json!([{"type": "Ready", "status": "True"}]), &[("Type", "type"), ("Status", "status")]);
        page.events(&[]);
        let expected = "\
Name:         web
Labels:       a=1
              b=2
Annotations:  <none>
Conditions:
  Type   Status
  Ready  True
Events:  <none>
";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn times_are_shown_in_full() {
        assert_eq!(time(&json!("2026-11-21T00:05:00Z")), "Sat, 21 Nov 2026 00:05:00 +0000");
        assert_eq!(time(&Value::Null), "<unset>");
    }
}
