//! `coracle get`: lists and watches, as tables or as objects.

mod printer;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::pin;

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::server::{Access, Cells, Named, Resource, Server, Targets, media, query};
use crate::verb::get::printer::Printer;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What: `pods`, `deploy web`, `pod/a svc/b`, `po,svc`, `all`
    #[arg(required = true, value_name = "TYPE[/NAME]")]
    targets: Vec<String>,

    /// The form of the answer [default: a table]
    #[arg(long, short, value_enum)]
    output: Option<Format>,

    /// After the list, go on with what changes
    #[arg(long, short)]
    watch: bool,

    /// Only what changes from now on
    #[arg(long)]
    watch_only: bool,

    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,

    /// Only those with these labels: `app=web,tier!=db`
    #[arg(long, short = 'l')]
    selector: Option<String>,

    /// Only those with these fields: `status.phase=Running`
    #[arg(long)]
    field_selector: Option<String>,

    /// Without the line of column names
    #[arg(long)]
    no_headers: bool,

    /// With a column of labels
    #[arg(long)]
    show_labels: bool,

    /// An object that is not there is not an error
    #[arg(long)]
    ignore_not_found: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Wide,
    Yaml,
    Json,
    Name,
}

/// Runs the verb.
///
/// # Errors
/// When the server refuses, or an object is not there.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let server = Server::connect(access).await?;
    show(&options, &server, out).await
}

/// The verb, on a server that is reached already.
///
/// # Errors
/// As [`run`].
pub async fn show(options: &Options, server: &Server, out: Out<'_>) -> Result {
    let discovery = server.discover().await?;
    let targets = Targets::parse(&discovery, &options.targets)?;
    let query = Query { options, server };
    match (&targets, options.watch || options.watch_only) {
        (Targets::Kinds(kinds), true) if kinds.len() == 1 => query.watch(&kinds[0], None, out).await,
        (Targets::Objects(objects), true) if objects.len() == 1 => {
            query.watch(&objects[0].resource, Some(&objects[0].name), out).await
        }
        (_, true) => Err(Failure::new("you may only watch one kind, or one object, at a time")),
        (_, false) if matches!(options.output, None | Some(Format::Wide)) => query.tables(&targets, out).await,
        (_, false) => query.objects(&targets, out).await,
    }
}

struct Query<'a> {
    options: &'a Options,
    server: &'a Server,
}

impl Query<'_> {
    /// One table a kind, with an empty line between them.
    async fn tables(&self, targets: &Targets, out: Out<'_>) -> Result {
        let several = match targets {
            Targets::Kinds(kinds) => kinds.len() > 1,
            Targets::Objects(objects) => objects.windows(2).any(|pair| pair[0].resource != pair[1].resource),
        };
        let mut printer = Printer::new(self.options.no_headers);
        match targets {
            Targets::Kinds(kinds) => {
                for resource in kinds {
                    let answer = self.server.get_as(&self.list_path(resource), media::TABLE).await?;
                    printer.add(serde_json::from_value(answer)?, self.cells(resource, several))?;
                }
            }
            Targets::Objects(objects) => {
                for Named { resource, name } in objects {
                    let path = resource.object(self.server.namespace(), name);
                    match self.server.get_as(&path, media::TABLE).await {
                        Ok(answer) => printer.add(serde_json::from_value(answer)?, self.cells(resource, several))?,
                        Err(error) if error.is_not_found() && self.options.ignore_not_found => {}
                        Err(error) => printer.refused(error),
                    }
                }
            }
        }
        if printer.is_empty() && matches!(targets, Targets::Kinds(_)) && !self.options.ignore_not_found {
            eprintln!("No resources found{}", self.place(targets));
        }
        printer.finish(out)
    }

    fn place(&self, targets: &Targets) -> String {
        let namespaced = matches!(targets, Targets::Kinds(kinds) if kinds.iter().any(|kind| kind.namespaced));
        match namespaced && !self.options.all_namespaces {
            true => format!(" in {} namespace.", self.server.namespace()),
            false => String::new(),
        }
    }

    /// As they are: one object alone, several in a list.
    async fn objects(&self, targets: &Targets, out: Out<'_>) -> Result {
        let mut found: Vec<(Resource, Value)> = Vec::new();
        let mut refused = None;
        match targets {
            Targets::Kinds(kinds) => {
                for resource in kinds {
                    let list = self.server.get(&self.list_path(resource)).await?;
                    let items = list["items"].as_array().cloned().unwrap_or_default();
                    found.extend(items.into_iter().map(|item| (resource.clone(), typed(resource, item))));
                }
            }
            Targets::Objects(objects) => {
                for Named { resource, name } in objects {
                    match self.server.get(&resource.object(self.server.namespace(), name)).await {
                        Ok(object) => found.push((resource.clone(), object)),
                        Err(error) if error.is_not_found() && self.options.ignore_not_found => {}
                        Err(error) => refused = Some(error),
                    }
                }
            }
        }
        let alone = matches!(targets, Targets::Objects(objects) if objects.len() == 1);
        if !(found.is_empty() && refused.is_some()) {
            self.print(found, alone, out)?;
        }
        refused.map_or(Ok(()), |error| Err(error.into()))
    }

    fn print(&self, found: Vec<(Resource, Value)>, alone: bool, out: Out<'_>) -> Result {
        if self.options.output == Some(Format::Name) {
            for (resource, object) in &found {
                writeln!(out, "{}", resource.named(object["metadata"]["name"].as_str().unwrap_or_default()))?;
            }
            return Ok(());
        }
        let mut items: Vec<Value> = found.into_iter().map(|(_, object)| object).collect();
        items.iter_mut().for_each(strip);
        let whole = match alone && items.len() == 1 {
            true => items.remove(0),
            false => json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}),
        };
        printer::print_value(&whole, self.options.output, out)
    }

    /// The list, then what changes, until the server ends the watch; then on from there.
    async fn watch(&self, resource: &Resource, name: Option<&str>, out: Out<'_>) -> Result {
        let selector = name.map(|name| format!("metadata.name={name}"));
        let path = query(
            &resource.collection(self.namespace().as_deref()),
            &[
                ("labelSelector", self.options.selector.as_deref()),
                ("fieldSelector", selector.as_deref().or(self.options.field_selector.as_deref())),
            ],
        );
        let mut printer = Printer::new(self.options.no_headers);
        let table = matches!(self.options.output, None | Some(Format::Wide));
        let accept = if table { media::TABLE } else { media::JSON };
        let first = self.server.get_as(&path, accept).await?;
        let mut version = first["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
        if !self.options.watch_only {
            self.show_first(first, resource, &mut printer, out)?;
        }
        loop {
            let parameters = [
                ("watch", Some("1")),
                ("resourceVersion", Some(version.as_str())),
                ("allowWatchBookmarks", Some("true")),
            ];
            let frames = self.server.watch(&query(&path, &parameters), accept).await?;
            pin!(frames);
            while let Some(frame) = frames.next().await {
                let frame = frame?;
                if let Some(newer) = version_of(&frame.object) {
                    version = newer;
                }
                if frame.kind == "BOOKMARK" {
                    continue;
                }
                self.show_one(frame.object, resource, &mut printer, out)?;
            }
        }
    }

    fn show_first(&self, list: Value, resource: &Resource, printer: &mut Printer, out: Out<'_>) -> Result {
        if matches!(self.options.output, None | Some(Format::Wide)) {
            return printer.stream(serde_json::from_value(list)?, &self.cells(resource, false), out);
        }
        for item in list["items"].as_array().cloned().unwrap_or_default() {
            self.print(vec![(resource.clone(), typed(resource, item))], true, out)?;
        }
        Ok(())
    }

    fn show_one(&self, object: Value, resource: &Resource, printer: &mut Printer, out: Out<'_>) -> Result {
        if matches!(self.options.output, None | Some(Format::Wide)) {
            return printer.stream(serde_json::from_value(object)?, &self.cells(resource, false), out);
        }
        if self.options.output == Some(Format::Yaml) {
            writeln!(out, "---")?;
        }
        self.print(vec![(resource.clone(), object)], true, out)
    }

    fn namespace(&self) -> Option<String> {
        (!self.options.all_namespaces).then(|| self.server.namespace().to_owned())
    }

    fn list_path(&self, resource: &Resource) -> String {
        query(
            &resource.collection(self.namespace().as_deref()),
            &[
                ("labelSelector", self.options.selector.as_deref()),
                ("fieldSelector", self.options.field_selector.as_deref()),
            ],
        )
    }

    fn cells(&self, resource: &Resource, several: bool) -> Cells {
        Cells {
            wide: self.options.output == Some(Format::Wide),
            namespace: self.options.all_namespaces && resource.namespaced,
            labels: self.options.show_labels,
            prefix: if several { resource.named("") } else { String::new() },
        }
    }
}

/// The version of an object, or of the one in a table's only row.
fn version_of(object: &Value) -> Option<String> {
    let version = &object["rows"][0]["object"]["metadata"]["resourceVersion"];
    version.as_str().or(object["metadata"]["resourceVersion"].as_str()).filter(|it| !it.is_empty()).map(str::to_owned)
}

/// The items of a list need not say their kind.
fn typed(resource: &Resource, mut item: Value) -> Value {
    if let Some(members) = item.as_object_mut() {
        members.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        members.entry("kind").or_insert_with(|| resource.kind.clone().into());
    }
    item
}

/// Who manages which field is for machines.
fn strip(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}
