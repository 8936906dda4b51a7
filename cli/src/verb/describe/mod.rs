//! `coracle describe`: all about an object, for people, with what happened to it.

mod deployment;
mod generic;
mod node;
mod page;
mod pod;
mod service;
mod volumes;

use futures::future::try_join_all;
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::server::{Access, Named, Resource, Server, Targets, query};
use crate::verb::describe::page::Page;

pub use pod::template;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What: `pod web-5d`, `deploy/web`, `nodes`
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    targets: Vec<String>,

    /// All with these labels
    #[arg(long, short = 'l')]
    selector: Option<String>,

    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
}

/// An object, with what one needs to describe it.
struct Subject<'a> {
    server: &'a Server,
    resource: &'a Resource,
    object: Value,
}

/// Runs the verb.
///
/// # Errors
/// When the server refuses, or an object is not there.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let server = Server::connect(access).await?;
    let discovery = server.discover().await?;
    let found = find(&options, &server, Targets::parse(&discovery, &options.targets)?).await?;
    if found.is_empty() {
        eprintln!("No resources found in {} namespace.", server.namespace());
    }
    let pages =
        found.iter().map(|(resource, object)| Subject { server: &server, resource, object: object.clone() }.describe());
    let pages = try_join_all(pages).await?;
    Ok(write!(out, "{}", pages.join("\n\n"))?)
}

async fn find(options: &Options, server: &Server, targets: Targets) -> Result<Vec<(Resource, Value)>> {
    let mut found = Vec::new();
    match targets {
        Targets::Objects(objects) => {
            for Named { resource, name } in objects {
                found.extend(
                    named_or_begun(server, &resource, &name).await?.into_iter().map(|it| (resource.clone(), it)),
                );
            }
        }
        Targets::Kinds(kinds) => {
            for resource in kinds {
                let namespace = (!options.all_namespaces).then(|| server.namespace());
                let path = query(&resource.collection(namespace), &[("labelSelector", options.selector.as_deref())]);
                let mut list = server.get(&path).await?;
                let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
                found.extend(items.into_iter().map(|it| (resource.clone(), it)));
            }
        }
    }
    Ok(found)
}

/// The object of this name, otherwise all whose names begin with it.
async fn named_or_begun(server: &Server, resource: &Resource, name: &str) -> Result<Vec<Value>> {
    let refused = match server.get(&resource.object(server.namespace(), name)).await {
        Ok(object) => return Ok(vec![object]),
        Err(error) if error.is_not_found() => error,
        Err(error) => return Err(error.into()),
    };
    let mut list = server.get(&resource.collection(Some(server.namespace()))).await?;
    let mut items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    items.retain(|item| item["metadata"]["name"].as_str().is_some_and(|it| it.starts_with(name)));
    if items.is_empty() { Err(Failure::from(refused)) } else { Ok(items) }
}

impl Subject<'_> {
    async fn describe(self) -> Result<String> {
        let mut page = Page::default();
        match (self.resource.group.as_str(), self.resource.kind.as_str()) {
            ("", "Pod") => pod::describe(&self.object, &mut page),
            ("apps", "Deployment") => deployment::describe(&self, &mut page).await?,
            ("apps", "ReplicaSet") | ("", "ReplicationController") => {
                deployment::describe_set(&self, &mut page).await?
            }
            ("", "Service") => service::describe(&self, &mut page).await?,
            ("", "Node") => node::describe(&self, &mut page).await?,
            _ => generic::describe(&self.object, &mut page),
        }
        page.events(&self.events().await?);
        Ok(page.finish())
    }

    fn namespace(&self) -> &str {
        self.object["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// What happened to the object, the oldest first.
    async fn events(&self) -> Result<Vec<Value>> {
        let metadata = &self.object["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let mut selector = format!("involvedObject.name={name},involvedObject.kind={}", self.resource.kind);
        // What a mirror shows has a uid of its own. Source: kubectl, `PodDescriber`.
        let mirrored = metadata["annotations"]["kubernetes.io/config.mirror"].as_str();
        // Events of a node name it by its name instead of its uid.
        if self.resource.namespaced
            && let Some(uid) = mirrored.or(metadata["uid"].as_str())
        {
            selector.push_str(&format!(",involvedObject.uid={uid}"));
        }
        let path = match self.namespace() {
            "" => "/api/v1/events".to_owned(),
            namespace => format!("/api/v1/namespaces/{namespace}/events"),
        };
        let mut list = self.server.get(&query(&path, &[("fieldSelector", Some(&selector))])).await?;
        let mut events = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        events.sort_by_key(|event| crate::verb::events::last_seen(event).to_owned());
        Ok(events)
    }
}
