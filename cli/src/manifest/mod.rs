//! Manifests: from paths on a command line to objects, each knowing where it stood.

mod files;

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::yaml;

pub use files::{Input, wasm_beside};

/// An object of a manifest.
#[derive(Clone, Debug)]
pub struct Document {
    pub place: Place,
    pub object: Value,
}

/// Where an object stood: the file, and the how-manieth of its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// From 1.
    pub document: usize,
    /// From 1: the line at which the document begins.
    pub line: usize,
}

/// A document that is none.
pub type Unreadable = (Place, Failure);

/// `-f` and `-R`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filenames {
    /// A manifest, a folder of them, or `-` for stdin
    #[arg(long = "filename", short = 'f', value_name = "PATH")]
    pub filename: Vec<PathBuf>,

    /// Folders with the folders in them
    #[arg(long, short = 'R')]
    pub recursive: bool,
}

impl Filenames {
    /// Reads every document. A file that cannot be read is an error; a document that cannot, one of the second list.
    ///
    /// # Errors
    /// When a path is not there, or not readable.
    pub fn read(&self) -> Result<(Vec<Document>, Vec<Unreadable>)> {
        let (mut documents, mut unreadable) = (Vec::new(), Vec::new());
        for path in &self.filename {
            for input in Input::at(path, self.recursive)? {
                for document in split(&input) {
                    match document {
                        Ok(found) => documents.extend(found),
                        Err(error) => unreadable.push(error),
                    }
                }
            }
        }
        Ok((documents, unreadable))
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, document, line } = self;
        write!(f, "{file}, document {document} (line {line})")
    }
}

impl Document {
    pub fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty())
    }
}

/// The documents of a text, in order; a `List` is what it holds. Empty documents count, and are left out.
fn split(input: &Input) -> Vec<Result<Vec<Document>, Unreadable>> {
    let mut found = Vec::new();
    for (number, (line, text)) in documents(&input.text).into_iter().enumerate() {
        let place = Place { file: input.name.clone(), document: number + 1, line };
        match yaml::parse(&text) {
            Ok(Value::Null) => {}
            Ok(value) => found.push(objects(&place, value)),
            Err(error) => found.push(Err((place, Failure::new(format!("not YAML: {error}"))))),
        }
    }
    found
}

fn objects(place: &Place, mut value: Value) -> Result<Vec<Document>, Unreadable> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let items = match value.get_mut("items") {
        Some(Value::Array(items)) if is_list => std::mem::take(items),
        _ => vec![value],
    };
    let document = |object: Value| {
        let document = Document { place: place.clone(), object };
        let missing =
            [("apiVersion", document.api_version()), ("kind", document.kind()), ("metadata.name", document.name())];
        match missing.iter().find(|(_, value)| value.is_empty()) {
            Some((field, _)) => Err((place.clone(), Failure::new(format!("{field} is missing")))),
            None => Ok(document),
        }
    };
    items.into_iter().map(document).collect()
}

/// The texts between the lines of `---`, each with the number of its first line.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut found = vec![(1, String::new())];
    for (number, line) in text.lines().enumerate() {
        let separates = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if separates {
            // The first `---` of a file opens its first document.
            if found.len() == 1 && is_blank(&found[0].1) {
                found.clear();
            }
            found.push((number + 2, String::new()));
        } else if let Some((_, document)) = found.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    found
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let input = Input { name: "web.yaml".into(), text: text.into() };
        let show = |found: Result<Vec<Document>, Unreadable>| match found {
            Ok(documents) => {
                documents.iter().map(|it| format!("{} {} at {}", it.kind(), it.name(), it.place)).collect()
            }
            Err((place, failure)) => vec![format!("{place}: {}", failure.message())],
        };
        split(&input).into_iter().flat_map(show).collect()
    }

    #[test]
    fn documents_are_counted_where_they_stand() {
        let text = "# a comment\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\n\n---\n{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"b\"}}\n";
        assert_eq!(read(text), ["Pod a at web.yaml, document 1 (line 3)", "Pod b at web.yaml, document 3 (line 9)"]);
    }

    #[test]
    fn a_list_is_what_it_holds() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n";
        assert_eq!(read(text), ["Pod a at web.yaml, document 1 (line 1)"]);
    }

    /// A document that is a mere word used to end the program.
    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["hello\n", "- a\n- b\n", "7\n"] {
            assert_eq!(read(text), ["web.yaml, document 1 (line 1): error: apiVersion is missing"]);
        }
    }

    #[test]
    fn a_bad_document_is_named_and_the_others_are_read() {
        let found = read(
            "apiVersion: v1\nkind: [\n---\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: c}\n",
        );
        assert!(found[0].starts_with("web.yaml, document 1 (line 1): error: not YAML"), "{found:?}");
        assert_eq!(found[1], "web.yaml, document 2 (line 4): error: apiVersion is missing");
        assert_eq!(found[2], "Pod c at web.yaml, document 3 (line 7)");
    }
}
