//! From the binding of a pod to the first words of its guest, by the time that the node's log gives them.
//!
//! Clock: that of the machine, for both; the node has to be on it. The words come a system call after the guest's first
//! instruction.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use crate::connection::Connection;
use crate::latency::Latencies;
use crate::namespace;
use crate::pods::within;
use crate::report;
use crate::server::Server;
use crate::workload::Workload;

const NAME: &str = "start";

/// How long to wait before the log is asked for again.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// The node that the pods are bound to
    #[arg(long, default_value = "coracle")]
    node: String,
    /// How long one pod may take
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    workload: Workload,
}

/// Measures; one line.
///
/// # Errors
/// When the server refuses, or a pod says nothing.
pub async fn run(options: Options, server: &Server, namespace: &str) -> anyhow::Result<()> {
    let collection = namespace::collection(namespace, "pods");
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let limit = Duration::from_secs(options.timeout);
    let (mut sent, mut answered) = (Latencies::default(), Latencies::default());
    for number in 0..options.times {
        let name = format!("{NAME}-{number}");
        let path = format!("{collection}/{name}");
        let mut pod = options.workload.pod(&name, NAME);
        // Nobody binds it but this program.
        pod["spec"]["schedulerName"] = json!(NAME);
        connection.post(&collection, pod.to_string()).await?.success()?;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": options.node},
        });
        let asked = jiff::Timestamp::now();
        connection.post(&format!("{path}/binding"), binding.to_string()).await?.success()?;
        let bound = jiff::Timestamp::now();
        let spoke = within(limit, first_words(&mut connection, &path)).await?;
        for (latencies, since) in [(&mut sent, asked), (&mut answered, bound)] {
            // The node may be faster than the answer.
            latencies.record(Duration::try_from(spoke.duration_since(since)).unwrap_or_default());
        }
        connection.delete(&path).await?.success()?;
    }
    report::print(json!({
        "bench": "start", "binding_sent_to_words": sent.summary(), "binding_answered_to_words": answered.summary(),
    }))
}

/// When the pod's container wrote its first line.
async fn first_words(connection: &mut Connection, pod: &str) -> anyhow::Result<jiff::Timestamp> {
    loop {
        let answer = connection.get(&format!("{pod}/log?timestamps=true&limitBytes=64")).await?;
        // Until the container runs, there is no log.
        if answer.status.is_success() {
            let log = String::from_utf8(answer.success()?.into()).context("a log that is not text")?;
            if let Some((time, _)) = log.split_once(' ') {
                return time.parse().with_context(|| format!("no time before the line {log:?}"));
            }
        } else if answer.status != http::StatusCode::BAD_REQUEST {
            bail!("the log of {pod}: {}", answer.status);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
