//! How the workloads come up: a line each that changes, or plain lines where there is no terminal.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use futures::StreamExt;
use futures::future::try_join_all;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::pin;
use tokio::time::{Instant, timeout_at};

use crate::failure::Result;
use crate::remote::selector_of;
use crate::server::{Server, media, query};
use crate::verb::apply::Applied;
use crate::verb::up::standing::{Standing, State, of_pod, of_workload};

/// Between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// How long a workload may be in trouble before it is no longer waited for. The cluster goes on trying.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where `up` says what happens.
pub struct Progress {
    /// None: plain lines.
    lines: Option<MultiProgress>,
}

/// The line of one workload.
struct Line<'a> {
    progress: &'a Progress,
    bar: Option<ProgressBar>,
    name: String,
    said: Option<Standing>,
}

impl Progress {
    pub fn new() -> Self {
        Self { lines: stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Says something to stdout, above the lines that change.
    pub fn say(&self, text: &str) {
        let print = || {
            use std::io::Write;
            // Whoever reads it may have gone: the cluster stays up.
            let _ = writeln!(std::io::stdout(), "{text}");
        };
        match &self.lines {
            Some(lines) => lines.suspend(print),
            None => print(),
        }
    }

    /// Says to stderr what went wrong.
    pub fn warn(&self, text: &str) {
        match &self.lines {
            Some(lines) => lines.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    fn line(&self, name: String) -> Line<'_> {
        let bar = self.lines.as_ref().map(|lines| {
            let bar = lines.add(ProgressBar::new_spinner());
            bar.set_style(ProgressStyle::with_template("{spinner} {prefix}  {msg}").expect("a well-formed template"));
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(TICK);
            bar
        });
        Line { progress: self, bar, name, said: None }
    }
}

impl Line<'_> {
    fn show(&mut self, standing: Standing) {
        if self.said.as_ref() == Some(&standing) {
            return;
        }
        match &self.bar {
            Some(bar) if standing.is_settled() => {
                let mark = if standing.state == State::Ready { "✓" } else { "✗" };
                bar.set_style(ProgressStyle::with_template("{prefix}  {msg}").expect("a well-formed template"));
                bar.set_prefix(format!("{mark} {}", self.name));
                bar.finish_with_message(standing.words.clone());
            }
            Some(bar) => bar.set_message(standing.words.clone()),
            None => self.progress.say(&format!("{}  {}", self.name, standing.words)),
        }
        self.said = Some(standing);
    }

    /// It stays in trouble for now: what was said last stands.
    fn give_up(&mut self) {
        if let (Some(said), Some(_)) = (self.said.take(), &self.bar) {
            self.show(Standing { state: State::Failed, ..said });
        }
    }
}

/// Shows each workload of what was applied until all are settled, or have been in trouble for a while.
///
/// # Errors
/// When the API no longer answers.
pub async fn follow(server: &Server, applied: &[Applied], progress: &Progress) -> Result {
    let workloads = applied.iter().filter(|it| is_workload(it));
    try_join_all(workloads.map(|it| follow_one(server, it, progress))).await?;
    Ok(())
}

fn is_workload(applied: &Applied) -> bool {
    matches!(applied.resource.kind.as_str(), "Deployment" | "ReplicaSet" | "ReplicationController" | "Pod")
}

async fn follow_one(server: &Server, applied: &Applied, progress: &Progress) -> Result {
    let name = applied.object["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = applied.object["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut line = progress.line(applied.resource.named(name));
    let own = format!("metadata.name={name}");
    let objects = query(&applied.resource.collection(Some(namespace)), &[("fieldSelector", Some(&own))]);
    let is_pod = applied.resource.kind == "Pod";
    let pods = match is_pod {
        true => objects.clone(),
        false => {
            let selector = selector_of(&applied.object).unwrap_or_default();
            query(&format!("/api/v1/namespaces/{namespace}/pods"), &[("labelSelector", Some(&selector))])
        }
    };
    let mut troubled = None;
    loop {
        let mut list = server.get(&objects).await?;
        // Somebody may have deleted it meanwhile.
        let Some(mut object) = list["items"].get_mut(0).map(Value::take) else { return Ok(()) };
        object["kind"] = applied.resource.kind.clone().into();
        let mut list = server.get(&pods).await?;
        let found = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let standing = if is_pod { of_pod(&object) } else { of_workload(&object, &found) };
        let settled = standing.is_settled();
        troubled = (standing.state == State::Troubled).then(|| troubled.unwrap_or_else(Instant::now));
        line.show(standing);
        if settled {
            return Ok(());
        }
        let versions = (version(&object), list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned());
        let changed = changed(server, (&objects, &versions.0), (&pods, &versions.1));
        match troubled {
            None => changed.await?,
            Some(since) => match timeout_at(since + PATIENCE, changed).await {
                Ok(changed) => changed?,
                Err(_) => {
                    line.give_up();
                    return Ok(());
                }
            },
        }
    }
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// Resolves once something has happened in either collection since its version.
async fn changed(server: &Server, objects: (&str, &str), pods: (&str, &str)) -> Result {
    let watch =
        |(path, version): (&str, &str)| query(path, &[("watch", Some("1")), ("resourceVersion", Some(version))]);
    let (objects, pods) = (watch(objects), watch(pods));
    let (objects, pods) = tokio::try_join!(server.watch(&objects, media::JSON), server.watch(&pods, media::JSON))?;
    pin!(objects, pods);
    // A watch that ends or breaks is a reason to look again, as an event is.
    tokio::select! {
        _ = objects.next() => {}
        _ = pods.next() => {}
    }
    Ok(())
}
