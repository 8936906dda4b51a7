//! `coracle up` on an empty folder: from the start of the process to `/readyz`, to a Ready node, to its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::condition::{Condition, is_ready};
use crate::connection::Connection;
use crate::latency::{Latencies, millis};
use crate::pods::within;
use crate::process::Processes;
use crate::report;
use crate::server::Server;

/// Between two looks at what is not there yet; the resolution of the result.
const LOOK_EVERY: Duration = Duration::from_millis(1);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The program that has `up`
    #[arg(long, default_value = "coracle", value_name = "PROGRAM")]
    program: PathBuf,
    #[arg(long, default_value_t = 10)]
    times: usize,
    /// How long one start may take
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Deserialize)]
struct Nodes {
    items: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

struct Started {
    ready: Duration,
    node_ready: Duration,
    stopped: Duration,
    rss_bytes: u64,
}

/// Measures; one line.
///
/// # Errors
/// When the program does not start, or not in time.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let limit = Duration::from_secs(options.timeout);
    let mut starts = Vec::new();
    for _ in 0..options.times {
        starts.push(within(limit, once(&options.program)).await?);
    }
    let summary = |span: fn(&Started) -> Duration| starts.iter().map(span).collect::<Latencies>().summary();
    report::print(json!({
        "bench": "startup", "readyz": summary(|start| start.ready), "node_ready": summary(|start| start.node_ready),
        "stopped": summary(|start| start.stopped), "rss_bytes": starts.iter().map(|start| start.rss_bytes).max(),
        "first_readyz_ms": starts.first().map(|start| millis(start.ready)),
    }))
}

async fn once(program: &Path) -> anyhow::Result<Started> {
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .arg("up")
        .args(["--listen", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let kubeconfig = folder.path().join("kubeconfig");
    appeared(&kubeconfig, &mut child).await?;
    let mut connection = Server::from_kubeconfig(Some(kubeconfig)).await?.connect().await?;
    while connection.get("/readyz").await?.status != StatusCode::OK {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let ready = began.elapsed();
    while !node_ready(&mut connection).await? {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let node_ready = began.elapsed();
    let pid = child.id().context("it ended by itself")?;
    let rss_bytes = Processes::new(vec![pid]).memory()?.map_or(0, |memory| memory.rss_bytes);
    let stopping = Instant::now();
    Command::new("kill").args(["-INT", &pid.to_string()]).status().await?;
    child.wait().await?;
    Ok(Started { ready, node_ready, stopped: stopping.elapsed(), rss_bytes })
}

/// The kubeconfig is written once the API answers.
async fn appeared(path: &Path, child: &mut Child) -> anyhow::Result<()> {
    while !path.exists() {
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("it ended before it was ready: {status}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn node_ready(connection: &mut Connection) -> anyhow::Result<bool> {
    let nodes: Nodes = serde_json::from_slice(&connection.get("/api/v1/nodes").await?.success()?)?;
    let ready = |node: &Node| is_ready(&node.status.conditions);
    Ok(nodes.items.iter().any(ready))
}
