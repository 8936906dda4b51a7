//! `coracle delete`: by file, by name, by label, or all.

use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::pin;

use crate::failure::{Failure, Hint, Result};
use crate::manifest::Filenames;
use crate::output::Out;
use crate::server::{Access, Discovery, Named, Resource, Server, Targets, media, query};
use crate::verb::logs::seconds;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What: `pod/a`, `deploy web`, `pods -l app=x`
    #[arg(value_name = "TYPE[/NAME]")]
    targets: Vec<String>,

    #[command(flatten)]
    files: Filenames,

    /// All with these labels
    #[arg(long, short = 'l')]
    selector: Option<String>,

    /// All of the kind
    #[arg(long, conflicts_with = "selector")]
    all: bool,

    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,

    /// Seconds that pods have to end by themselves [default: as each says]
    #[arg(long, value_name = "SECONDS")]
    grace_period: Option<u32>,

    /// Without waiting for pods to end: they may go on for a while
    #[arg(long)]
    force: bool,

    /// Wait until they are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    wait: bool,

    /// Return at once
    #[arg(long)]
    no_wait: bool,

    /// How long to wait: `30s`, `5m` [default: as long as it takes]
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    timeout: Option<u64>,

    /// An object that is not there is not an error
    #[arg(long)]
    ignore_not_found: bool,

    /// What becomes of what belongs to them
    #[arg(long, value_enum, default_value_t = Cascade::Background)]
    cascade: Cascade,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Cascade {
    /// Deleted, after
    Background,
    /// Deleted, before
    Foreground,
    /// Nothing
    Orphan,
}

/// One object that is to go.
struct Doomed {
    resource: Resource,
    namespace: String,
    name: String,
}

/// Runs the verb.
///
/// # Errors
/// When an object is not there, or the server refuses; the others are deleted nevertheless.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let server = Server::connect(access).await?;
    let discovery = server.discover().await?;
    let (doomed, mut failed) = doomed(&options, &server, &discovery, access).await?;
    if options.force && options.grace_period.unwrap_or(0) == 0 {
        eprintln!(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated."
        );
    }
    let mut deleted = Vec::new();
    for object in doomed {
        match options.delete(&server, &object).await {
            Ok(uid) => {
                writeln!(out, "{}", options.words(&object))?;
                deleted.push((object, uid));
            }
            Err(error) if error.is_not_found() && options.ignore_not_found => {}
            Err(error) => {
                failed = true;
                Failure::from(error).report();
            }
        }
    }
    out.flush()?;
    if options.wait && !options.no_wait {
        wait_all(&options, &server, deleted).await?;
    }
    if failed { Err(Failure::silent(1)) } else { Ok(()) }
}

/// The objects that are meant, and whether a manifest was unreadable.
async fn doomed(
    options: &Options,
    server: &Server,
    discovery: &Discovery,
    access: &Access,
) -> Result<(Vec<Doomed>, bool)> {
    let own = |resource: &Resource, name: &str| Doomed {
        resource: resource.clone(),
        namespace: server.namespace().to_owned(),
        name: name.to_owned(),
    };
    if !options.files.filename.is_empty() {
        let (documents, unreadable) = options.files.read()?;
        let mut doomed = Vec::new();
        for document in &documents {
            let resource = discovery.of_manifest(document.api_version(), document.kind())?;
            let namespace =
                document.namespace().or(access.namespace.as_deref()).unwrap_or(server.namespace()).to_owned();
            doomed.push(Doomed { namespace, ..own(resource, document.name()) });
        }
        for (place, failure) in &unreadable {
            eprintln!("{place}: {}", failure.message());
        }
        return Ok((doomed, !unreadable.is_empty()));
    }
    match Targets::parse(discovery, &options.targets)? {
        Targets::Objects(objects) => {
            Ok((objects.iter().map(|Named { resource, name }| own(resource, name)).collect(), false))
        }
        Targets::Kinds(_) if !options.all && options.selector.is_none() => {
            Err(Failure::new("resource(s) were provided, but no name was specified"))
                .hint("name objects, or take all of them with --all, or those with a label with -l")
        }
        Targets::Kinds(kinds) => Ok((options.selected(server, &kinds).await?, false)),
    }
}

impl Options {
    async fn selected(&self, server: &Server, kinds: &[Resource]) -> Result<Vec<Doomed>> {
        let mut doomed = Vec::new();
        for resource in kinds {
            let namespace = (!self.all_namespaces).then(|| server.namespace());
            let path = query(&resource.collection(namespace), &[("labelSelector", self.selector.as_deref())]);
            let list = server.get(&path).await?;
            doomed.extend(list["items"].as_array().into_iter().flatten().map(|item| Doomed {
                resource: resource.clone(),
                namespace: item["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(),
                name: item["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            }));
        }
        if doomed.is_empty() {
            eprintln!("No resources found");
        }
        Ok(doomed)
    }

    /// Asks for the deletion; the identity of what goes, when the server says it.
    async fn delete(&self, server: &Server, object: &Doomed) -> Result<Option<String>, coracle_client::Error> {
        let policy = match self.cascade {
            Cascade::Background => "Background",
            Cascade::Foreground => "Foreground",
            Cascade::Orphan => "Orphan",
        };
        let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
        let grace = if self.force { Some(self.grace_period.unwrap_or(0)) } else { self.grace_period };
        if let Some(grace) = grace {
            body["gracePeriodSeconds"] = grace.into();
        }
        let answer = server.delete(&object.resource.object(&object.namespace, &object.name), &body).await?;
        let uid = |value: &Value| value["uid"].as_str().map(str::to_owned);
        Ok(uid(&answer["metadata"]).or_else(|| uid(&answer["details"])))
    }

    fn words(&self, object: &Doomed) -> String {
        let named = object.resource.named(&object.name);
        let (kind, name) = named.rsplit_once('/').unwrap_or(("", &named));
        let force = if self.force { "force " } else { "" };
        format!("{kind} \"{name}\" {force}deleted")
    }
}

async fn wait_all(options: &Options, server: &Server, deleted: Vec<(Doomed, Option<String>)>) -> Result {
    let all = async {
        for (object, uid) in &deleted {
            gone(server, object, uid.as_deref()).await?;
        }
        Ok(())
    };
    match options.timeout {
        None => all.await,
        Some(limit) => match tokio::time::timeout(Duration::from_secs(limit), all).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new("timed out waiting for the objects to go")),
        },
    }
}

/// Waits until the object, or this very one when its identity is known, is no longer there.
async fn gone(server: &Server, object: &Doomed, uid: Option<&str>) -> Result {
    let selector = format!("metadata.name={}", object.name);
    let collection = query(&object.resource.collection(Some(&object.namespace)), &[("fieldSelector", Some(&selector))]);
    loop {
        let list = server.get(&collection).await?;
        let still = |item: &Value| uid.is_none() || item["metadata"]["uid"].as_str() == uid;
        if !list["items"].as_array().into_iter().flatten().any(still) {
            return Ok(());
        }
        let version = list["metadata"]["resourceVersion"].as_str();
        let path = query(&collection, &[("watch", Some("1")), ("resourceVersion", version)]);
        let frames = server.watch(&path, media::JSON).await?;
        pin!(frames);
        while let Some(frame) = frames.next().await {
            if frame?.kind == "DELETED" {
                return Ok(());
            }
        }
    }
}
