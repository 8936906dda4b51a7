//! `coracle logs`: what a pod's containers have written.

use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::output::Out;
use crate::remote::{container, pods_with, selector_of};
use crate::server::{Access, Discovery, Named, Server, query};

/// Source: kubectl, which follows no more logs at once than this unless it is told to.
const FOLLOWED_MAX: usize = 5;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The pod, or what it belongs to: `web-5d`, `deploy/web`
    #[arg(value_name = "POD | TYPE/NAME")]
    target: Option<String>,

    /// The container
    container: Option<String>,

    #[arg(long = "container", short = 'c', value_name = "NAME", conflicts_with = "container")]
    named_container: Option<String>,

    /// Every container of the pod
    #[arg(long)]
    all_containers: bool,

    /// Go on with what is written from now on
    #[arg(long, short)]
    follow: bool,

    /// Only the last lines
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    tail: Option<i64>,

    /// Of the container before the last restart
    #[arg(long, short)]
    previous: bool,

    /// With the time of each line
    #[arg(long)]
    timestamps: bool,

    /// Only what is younger: `5s`, `2m`, `3h`
    #[arg(long, value_parser = seconds, value_name = "AGE")]
    since: Option<u64>,

    /// All pods with these labels
    #[arg(long, short = 'l', conflicts_with = "target")]
    selector: Option<String>,

    /// Put the pod and container before each line
    #[arg(long)]
    prefix: bool,
}

/// One log: a container of a pod.
#[derive(Clone, Debug)]
struct Log {
    pod: String,
    /// None: the server chooses the only one.
    container: Option<String>,
}

/// Runs the verb.
///
/// # Errors
/// When there is no such pod or container.
pub async fn run(options: Options, access: &Access, out: Out<'_>) -> Result {
    let server = Server::connect(access).await?;
    show(&options, &server, out).await
}

/// The verb, on a server that is reached already.
///
/// # Errors
/// As [`run`].
pub async fn show(options: &Options, server: &Server, out: Out<'_>) -> Result {
    let logs = logs(options, server).await?;
    if options.follow && logs.len() > 1 {
        return follow_all(options, server, logs, out).await;
    }
    for log in logs {
        let mut body = server.stream(&options.path(server, &log)).await?;
        let mut lines = Lines::new(options.prefix.then(|| log.prefix()));
        while let Some(part) = body.frame().await {
            lines.add(part.map_err(broken)?.data_ref().map_or(&[], |data| data), out)?;
        }
        lines.end(out)?;
    }
    Ok(())
}

async fn logs(options: &Options, server: &Server) -> Result<Vec<Log>> {
    let pods = match (&options.target, &options.selector) {
        (Some(target), None) => vec![pod_of(server, target).await?],
        (None, Some(selector)) => pods_with(server, selector).await?,
        _ => return Err(Failure::new("name a pod, or a label selector with -l")),
    };
    let container = options.named_container.clone().or_else(|| options.container.clone());
    let mut logs = Vec::new();
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match options.all_containers {
            true => logs.extend(containers(&pod).map(|it| Log { pod: name.clone(), container: Some(it.to_owned()) })),
            false => {
                let container = container.clone().or_else(|| default_container(&pod));
                logs.push(Log { pod: name, container });
            }
        }
    }
    Ok(logs)
}

/// The container that is meant in a pod of several when none is named, which is then said; none in a pod of one.
fn default_container(pod: &Value) -> Option<String> {
    let all = ["containers", "initContainers", "ephemeralContainers"].iter();
    if all.filter_map(|list| pod["spec"][list].as_array()).map(Vec::len).sum::<usize>() < 2 {
        return None;
    }
    let (found, said) = container(pod, None).ok()?;
    if let Some(said) = said {
        eprintln!("{said}");
    }
    Some(found["name"].as_str()?.to_owned())
}

fn containers(pod: &Value) -> impl Iterator<Item = &str> {
    let named = |list| pod["spec"][list].as_array().into_iter().flatten().filter_map(|it: &Value| it["name"].as_str());
    named("initContainers").chain(named("containers"))
}

/// The pod itself, or the first of those that a workload selects.
async fn pod_of(server: &Server, target: &str) -> Result<Value> {
    let pods = format!("/api/v1/namespaces/{}/pods", server.namespace());
    let Some((kind, name)) = target.split_once('/') else {
        return Ok(server.get(&format!("{pods}/{target}")).await?);
    };
    if ["pod", "pods", "po"].contains(&kind) {
        return Ok(server.get(&format!("{pods}/{name}")).await?);
    }
    let discovery: Discovery = server.discover().await?;
    let owner = Named::parse(&discovery, target)?;
    let object = server.get(&owner.resource.object(server.namespace(), &owner.name)).await?;
    let mut found = pods_with(server, &selector_of(&object)?).await?;
    if found.len() > 1 {
        let first = found[0]["metadata"]["name"].as_str().unwrap_or_default();
        eprintln!("Found {} pods, using pod/{first}", found.len());
    }
    if found.is_empty() { Err(Failure::new(format!("no pods of {target}"))) } else { Ok(found.swap_remove(0)) }
}

async fn follow_all(options: &Options, server: &Server, logs: Vec<Log>, out: Out<'_>) -> Result {
    if logs.len() > FOLLOWED_MAX {
        let many = logs.len();
        return Err(Failure::new(format!("{many} logs would be followed at once, and {FOLLOWED_MAX} are the most")));
    }
    let (sender, mut lines) = tokio::sync::mpsc::channel::<Vec<u8>>(64);
    let mut readers: FuturesUnordered<_> = logs
        .into_iter()
        .map(|log| {
            let sender = sender.clone();
            async move {
                let mut body = server.stream(&options.path(server, &log)).await?;
                let mut lines = Lines::new(options.prefix.then(|| log.prefix()));
                while let Some(part) = body.frame().await {
                    let mut whole = Vec::new();
                    lines.add(part.map_err(broken)?.data_ref().map_or(&[], |data| data), &mut whole)?;
                    if sender.send(whole).await.is_err() {
                        break;
                    }
                }
                Ok::<_, Failure>(())
            }
        })
        .collect();
    drop(sender);
    loop {
        tokio::select! {
            Some(whole) = lines.recv() => { out.write_all(&whole)?; out.flush()?; }
            ended = readers.try_next() => if ended?.is_none() { return Ok(()) },
        }
    }
}

impl Options {
    fn path(&self, server: &Server, log: &Log) -> String {
        let text = |number: Option<String>| number;
        let tail = text(self.tail.filter(|tail| *tail >= 0).map(|tail| tail.to_string()));
        let since = text(self.since.map(|since| since.to_string()));
        let yes = |flag: bool| flag.then_some("true");
        query(
            &format!("/api/v1/namespaces/{}/pods/{}/log", server.namespace(), log.pod),
            &[
                ("container", log.container.as_deref()),
                ("follow", yes(self.follow)),
                ("previous", yes(self.previous)),
                ("timestamps", yes(self.timestamps)),
                ("tailLines", tail.as_deref()),
                ("sinceSeconds", since.as_deref()),
            ],
        )
    }
}

impl Log {
    fn prefix(&self) -> String {
        format!("[pod/{}/{}] ", self.pod, self.container.as_deref().unwrap_or_default())
    }
}

/// Writes what arrives; with a prefix, line by line.
struct Lines {
    prefix: Option<String>,
    begun: bool,
}

impl Lines {
    fn new(prefix: Option<String>) -> Self {
        Self { prefix, begun: false }
    }

    fn add(&mut self, bytes: &[u8], out: Out<'_>) -> Result {
        let Some(prefix) = &self.prefix else {
            out.write_all(bytes)?;
            return Ok(out.flush()?);
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.begun {
                out.write_all(prefix.as_bytes())?;
            }
            out.write_all(part)?;
            self.begun = !part.ends_with(b"\n");
        }
        Ok(out.flush()?)
    }

    fn end(self, out: Out<'_>) -> Result {
        if self.begun {
            writeln!(out)?;
        }
        Ok(())
    }
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the log broke off: {error}"))
}

/// `90`, `90s`, `5m`, `2h`, in seconds.
pub fn seconds(text: &str) -> std::result::Result<u64, String> {
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is not a time such as 30s, 5m or 2h"))?;
    Ok(number.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_prefix_however_it_arrives() {
        let mut lines = Lines::new(Some("[p] ".into()));
        let mut out = Vec::new();
        for part in ["one\ntw", "o\n", "three"] {
            lines.add(part.as_bytes(), &mut out).expect("a buffer takes all");
        }
        lines.end(&mut out).expect("a buffer takes all");
        assert_eq!(String::from_utf8_lossy(&out), "[p] one\n[p] two\n[p] three\n");
    }

    #[test]
    fn ages_are_given_in_units() {
        assert_eq!(
            ["90", "90s", "5m", "2h"].map(|text| seconds(text).ok()),
            [Some(90), Some(90), Some(300), Some(7200)]
        );
        assert!(seconds("soon").is_err());
    }
}
