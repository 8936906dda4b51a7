//! A Job of one-shot pods: created → all succeeded → Complete.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::condition::{Condition, is_true};
use crate::connection::Connection;
use crate::frames::Frames;
use crate::namespace::{self, LABEL};
use crate::pods::{Pods, within};
use crate::process::Processes;
use crate::report;
use crate::server::Server;
use crate::workload::Workload;

const NAME: &str = "jobs";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many pods are to succeed
    #[arg(long, default_value_t = 1000)]
    completions: usize,
    /// How many of them run at a time
    #[arg(long, default_value_t = 100)]
    parallelism: usize,
    /// How often it is done
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// How long a job may take
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u64,
    #[command(flatten)]
    workload: Workload,
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

/// Measures; one line a round.
///
/// # Errors
/// When the server refuses, a job fails, or takes too long.
pub async fn run(options: Options, server: &Server, namespace: &str, processes: &Processes) -> anyhow::Result<()> {
    let paths = Paths::new(namespace);
    let mut connection = server.connect().await?;
    delete(&mut connection, &paths).await?;
    for _ in 0..options.rounds {
        within(Duration::from_secs(options.timeout), round(&options, server, &paths, processes)).await?;
        delete(&mut connection, &paths).await?;
    }
    Ok(())
}

struct Paths {
    jobs: String,
    pods: String,
}

impl Paths {
    fn new(namespace: &str) -> Self {
        let jobs = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
        Self { jobs, pods: namespace::collection(namespace, "pods") }
    }
}

async fn round(options: &Options, server: &Server, paths: &Paths, processes: &Processes) -> anyhow::Result<()> {
    let mut connection = server.connect().await?;
    let mut pods = Pods::new(watch(server, &mut connection, &paths.pods).await?);
    let mut job = watch(server, &mut connection, &paths.jobs).await?;
    let cpu = processes.begin()?;
    let began = Instant::now();
    connection.post(&paths.jobs, manifest(options).to_string()).await?.success().context("create the Job")?;
    let (succeeded, complete) = tokio::try_join!(
        async {
            pods.until_succeeded(options.completions).await?;
            Ok(began.elapsed())
        },
        async {
            until_complete(&mut job).await?;
            anyhow::Ok(began.elapsed())
        }
    )?;
    let cpu = cpu.end()?;
    report::print(json!({
        "bench": NAME, "completions": options.completions, "parallelism": options.parallelism,
        "succeeded_s": report::seconds(succeeded), "complete_s": report::seconds(complete),
        "completions_per_s": report::per_second(options.completions, complete.as_secs_f64()),
        "added_to_succeeded": pods.added_to_succeeded().summary(),
        "memory": processes.memory()?, "cpu_s": cpu.map(|(spent, _)| spent),
    }))
}

async fn watch(server: &Server, connection: &mut Connection, collection: &str) -> anyhow::Result<Frames> {
    let (count, watch) = namespace::watch(server, connection, collection, NAME).await?;
    anyhow::ensure!(count == 0, "{count} objects of an earlier run are still there");
    Ok(watch)
}

async fn until_complete(job: &mut Frames) -> anyhow::Result<()> {
    loop {
        let conditions = job.next::<Job>().await?.object.status.conditions;
        if is_true(&conditions, "Complete") {
            return Ok(());
        }
        if is_true(&conditions, "Failed") {
            bail!("the Job failed");
        }
    }
}

fn manifest(options: &Options) -> Value {
    let spec = options.workload.one_shot_spec();
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": NAME, "labels": {LABEL: NAME}},
        "spec": {
            "completions": options.completions, "parallelism": options.parallelism,
            "template": {"metadata": {"labels": {LABEL: NAME}}, "spec": spec},
        },
    })
}

/// Deletes the job and waits until its pods are gone.
async fn delete(connection: &mut Connection, paths: &Paths) -> anyhow::Result<()> {
    // A job leaves its pods behind, unless it is told otherwise.
    namespace::remove(connection, &format!("{}/{NAME}?propagationPolicy=Background", paths.jobs)).await?;
    for collection in [&paths.jobs, &paths.pods] {
        while namespace::count(connection, collection, NAME).await?.0 > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
