//! `coracle apply`: makes the cluster's objects be as manifests say.
//!
//! What was applied is kept in the object, under the annotation that kubectl uses, so that either can go on where the
//! other stopped.

mod merge;

use coracle_api::schema;
use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::manifest::{Document, Filenames};
use crate::output::Out;
use crate::server::{Access, Discovery, Resource, Server, media, query};

/// Source: `v1.LastAppliedConfigAnnotation`.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How often the object may be changed by others while it is merged.
const ATTEMPTS_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    files: Filenames,

    /// Ask the server what would come of it, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// What becomes of fields that the kind does not have
    #[arg(long, value_enum, default_value_t = Validate::Strict, value_name = "HOW")]
    validate: Validate,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum Validate {
    /// The object is refused
    #[default]
    Strict,
    /// They are left out, with a warning
    Warn,
    /// They are left out
    Ignore,
}

/// Applies documents to one server.
pub struct Applier<'a> {
    pub server: &'a Server,
    pub discovery: &'a Discovery,
    pub dry_run: bool,
    pub validate: Validate,
}

/// What became of a document.
#[derive(Clone, Debug)]
pub struct Applied {
    pub resource: Resource,
    pub object: Value,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Configured,
    Unchanged,
}

/// Runs the verb.
///
/// # Errors
/// When a manifest cannot be read, or the server refuses an object; the others are applied nevertheless.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    if options.files.filename.is_empty() {
        return Err(Failure::new("no manifest was named").with_hint("name a file, a folder or `-` with -f"));
    }
    let (documents, unreadable) = options.files.read()?;
    let server = Server::connect(access).await?;
    let discovery = server.discover().await?;
    let applier =
        Applier { server: &server, discovery: &discovery, dry_run: options.dry_run, validate: options.validate };
    let mut failed = unreadable.len();
    for (place, failure) in unreadable {
        eprintln!("{}", failure.with_context(place).message());
    }
    for document in &documents {
        match applier.apply(document, access.namespace.as_deref()).await {
            Ok(applied) => writeln!(out, "{}", applied.words(options.dry_run))?,
            Err(failure) => {
                failed += 1;
                failure.report();
            }
        }
    }
    if failed > 0 { Err(Failure::silent(1)) } else { Ok(()) }
}

impl Applied {
    /// `deployment.apps/web created`
    pub fn words(&self, dry_run: bool) -> String {
        let outcome = match self.outcome {
            Outcome::Created => "created",
            Outcome::Configured => "configured",
            Outcome::Unchanged => "unchanged",
        };
        let name = self.object["metadata"]["name"].as_str().unwrap_or_default();
        let dry_run = if dry_run { " (server dry run)" } else { "" };
        format!("{} {outcome}{dry_run}", self.resource.named(name))
    }
}

impl Applier<'_> {
    /// Applies one document. `namespace` is the one that was asked for by name.
    ///
    /// # Errors
    /// When the kind is unknown or the server refuses; the text says in which file and document.
    pub async fn apply(&self, document: &Document, namespace: Option<&str>) -> Result<Applied> {
        self.try_apply(document, namespace).await.map_err(|failure| failure.with_context(&document.place))
    }

    async fn try_apply(&self, document: &Document, asked: Option<&str>) -> Result<Applied> {
        let resource = self.discovery.of_manifest(document.api_version(), document.kind())?;
        let namespace = self.namespace(resource, document, asked)?;
        let wanted = annotated(document, resource, &namespace)?;
        let path = resource.object(&namespace, document.name());
        let applied = |object, outcome| Applied { resource: resource.clone(), object, outcome };
        for _ in 0..ATTEMPTS_MAX {
            let Some(current) = self.server.find(&path).await? else {
                match self.server.post(&self.checked(&resource.collection(Some(&namespace))), &wanted).await {
                    Err(error) if error.is_already_exists() => continue,
                    created => return Ok(applied(created?, Outcome::Created)),
                }
            };
            let Some(patch) = changes(resource, &wanted, &current) else {
                return Ok(applied(current, Outcome::Unchanged));
            };
            match self.server.patch(&self.checked(&path), media::MERGE_PATCH, &patch).await {
                Err(error) if error.is_conflict() => {}
                patched => {
                    let patched = patched?;
                    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                    let same = !self.dry_run && version(&patched) == version(&current);
                    return Ok(applied(patched, if same { Outcome::Unchanged } else { Outcome::Configured }));
                }
            }
        }
        Err(Failure::new(format!("{} is being changed by others all the time", resource.named(document.name()))))
    }

    fn namespace(&self, resource: &Resource, document: &Document, asked: Option<&str>) -> Result<String> {
        match (document.namespace().filter(|_| resource.namespaced), asked) {
            (Some(own), Some(asked)) if own != asked => Err(Failure::new(format!(
                "the namespace of the manifest, \"{own}\", is not the namespace asked for, \"{asked}\""
            ))),
            (Some(own), _) => Ok(own.to_owned()),
            (None, _) => Ok(self.server.namespace().to_owned()),
        }
    }

    fn checked(&self, path: &str) -> String {
        let validation = match self.validate {
            Validate::Strict => "Strict",
            Validate::Warn => "Warn",
            Validate::Ignore => "Ignore",
        };
        let dry_run = self.dry_run.then_some("All");
        let manager = Some("kubectl-client-side-apply");
        query(path, &[("fieldManager", manager), ("fieldValidation", Some(validation)), ("dryRun", dry_run)])
    }
}

/// The object that is wanted, with its own text in it.
fn annotated(document: &Document, resource: &Resource, namespace: &str) -> Result<Value> {
    let mut wanted = document.object.clone();
    let metadata = wanted["metadata"].as_object_mut().ok_or_else(|| Failure::new("metadata is not an object"))?;
    if resource.namespaced {
        metadata.insert("namespace".into(), namespace.into());
    }
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    let annotations =
        annotations.as_object_mut().ok_or_else(|| Failure::new("metadata.annotations is not an object"))?;
    annotations.remove(LAST_APPLIED);
    let text = format!("{wanted}\n");
    wanted["metadata"]["annotations"][LAST_APPLIED] = text.into();
    Ok(wanted)
}

/// What is to be changed, for exactly the version that was read.
fn changes(resource: &Resource, wanted: &Value, current: &Value) -> Option<Value> {
    let last = current["metadata"]["annotations"][LAST_APPLIED].as_str();
    let last: Value = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let ty = schema::find_kind(&resource.group, &resource.version, &resource.kind).map(schema::TypeId::get);
    let mut patch = merge::patch(current, &merge::merge(&last, wanted, current, ty))?;
    patch["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
    Some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_carries_what_was_applied() {
        let place = crate::manifest::Place { file: "a.yaml".into(), document: 1, line: 1 };
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let resource =
            Resource { version: "v1".into(), kind: "ConfigMap".into(), namespaced: true, ..Resource::default() };
        let wanted = annotated(&Document { place, object }, &resource, "n").expect("an object");
        let text = wanted["metadata"]["annotations"][LAST_APPLIED].as_str().expect("the annotation");
        // As kubectl writes it.
        let expected = r#"{"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"a","namespace":"n"}}"#;
        assert_eq!(text, format!("{expected}\n"));
        assert_eq!(changes(&resource, &wanted, &wanted), None);
    }
}
