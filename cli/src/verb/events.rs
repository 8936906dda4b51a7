//! `coracle events`: what happened, the newest last.

use futures::StreamExt;
use serde_json::Value;
use tokio::pin;

use crate::age;
use crate::failure::Result;
use crate::output::Out;
use crate::server::{Access, Named, Server, media, query};
use crate::tabs;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only those about one object: `pod/web-5d`
    #[arg(long = "for", value_name = "TYPE/NAME")]
    about: Option<String>,

    /// Only those of these types: `Warning`
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,

    /// In all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,

    /// Go on with what happens from now on
    #[arg(long, short)]
    watch: bool,

    /// Without the line of column names
    #[arg(long)]
    no_headers: bool,
}

/// Runs the verb.
///
/// # Errors
/// When the server refuses.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let server = Server::connect(access).await?;
    let path = options.path(&server).await?;
    let list = server.get(&path).await?;
    let mut events: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
    events.retain(|event| options.wants(event));
    events.sort_by_key(|event| last_seen(event).to_owned());
    if events.is_empty() && !options.watch {
        eprintln!(
            "No events found{}",
            if options.all_namespaces { String::new() } else { format!(" in {} namespace.", server.namespace()) }
        );
        return Ok(());
    }
    let mut lines: Vec<String> = events.iter().map(|event| options.line(event)).collect();
    if !options.no_headers {
        let namespace = if options.all_namespaces { "NAMESPACE\t" } else { "" };
        lines.insert(0, format!("{namespace}LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE"));
    }
    write!(out, "{}", tabs::TABLE.align(&lines.join("\n")))?;
    out.flush()?;
    if options.watch {
        watch(&options, &server, &path, list["metadata"]["resourceVersion"].as_str(), out).await?;
    }
    Ok(())
}

async fn watch(options: &Options, server: &Server, path: &str, version: Option<&str>, out: Out<'_>) -> Result {
    let frames = server.watch(&query(path, &[("watch", Some("1")), ("resourceVersion", version)]), media::JSON).await?;
    pin!(frames);
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        if frame.kind != "DELETED" && options.wants(&frame.object) {
            write!(out, "{}", tabs::TABLE.align(&options.line(&frame.object)))?;
            out.flush()?;
        }
    }
    Ok(())
}

impl Options {
    async fn path(&self, server: &Server) -> Result<String> {
        let collection = match self.all_namespaces {
            true => "/api/v1/events".to_owned(),
            false => format!("/api/v1/namespaces/{}/events", server.namespace()),
        };
        let Some(about) = &self.about else { return Ok(collection) };
        let Named { resource, name } = Named::parse(&server.discover().await?, about)?;
        let selector = format!("involvedObject.kind={},involvedObject.name={name}", resource.kind);
        Ok(query(&collection, &[("fieldSelector", Some(&selector))]))
    }

    fn wants(&self, event: &Value) -> bool {
        let kind = event["type"].as_str().unwrap_or_default();
        self.types.is_empty() || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    }

    fn line(&self, event: &Value) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().trim().replace(['\n', '\t'], " ");
        let namespace = if self.all_namespaces { text(&event["metadata"]["namespace"]) + "\t" } else { String::new() };
        let object = &event["involvedObject"];
        format!(
            "{namespace}{}\t{}\t{}\t{}/{}\t{}",
            ages(event),
            text(&event["type"]),
            text(&event["reason"]),
            text(&object["kind"]),
            text(&object["name"]),
            text(&event["message"]),
        )
    }
}

/// When an event was seen last, in the order of its forms: a series, a count, a single one.
pub fn last_seen(event: &Value) -> &str {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().find_map(Value::as_str).unwrap_or_default()
}

/// `5s`, or `5s (x3 over 2m)` for one that came again and again.
pub fn ages(event: &Value) -> String {
    let last = age::since(last_seen(event));
    let count = event["series"]["count"].as_u64().or(event["count"].as_u64()).unwrap_or(1);
    let first = event["firstTimestamp"].as_str().or(event["eventTime"].as_str());
    match first {
        Some(first) if count > 1 => format!("{last} (x{count} over {})", age::since(first)),
        _ => last,
    }
}
