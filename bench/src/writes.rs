//! Durable writes: each client creates objects and updates each of them once, as fast as it is answered; or it creates
//! pods, which take the most to complete and to judge.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::json;

use crate::connection::Connection;
use crate::latency::Latencies;
use crate::namespace::{self, LABEL};
use crate::process::Processes;
use crate::report;
use crate::server::Server;
use crate::workload::Workload;

const NAME: &str = "writes";

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 32)]
    clients: usize,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Bytes of data in each object
    #[arg(long, default_value_t = 512)]
    bytes: usize,
    /// Create pods, and update nothing
    #[arg(long)]
    pods: bool,
    #[command(flatten)]
    workload: Workload,
}

#[derive(Default)]
struct Done {
    creates: Latencies,
    updates: Latencies,
}

/// Measures; one line.
///
/// # Errors
/// When a write is refused.
pub async fn run(options: Options, server: &Server, namespace: &str, processes: &Processes) -> anyhow::Result<()> {
    let collection = namespace::collection(namespace, if options.pods { "pods" } else { "configmaps" });
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let connections = try_join_all((0..options.clients).map(|_| server.connect())).await?;
    let cpu = processes.begin()?;
    let began = Instant::now();
    let until = began + Duration::from_secs(options.seconds);
    let clients = connections.into_iter().enumerate().map(|(number, connection)| {
        let (collection, bytes) = (collection.clone(), options.bytes);
        let pods = options.pods.then(|| options.workload.clone());
        async move { tokio::spawn(write(connection, collection, number, bytes, pods, until)).await? }
    });
    let mut all = Done::default();
    for done in try_join_all(clients).await? {
        all.creates.merge(done.creates);
        all.updates.merge(done.updates);
    }
    let took = began.elapsed().as_secs_f64();
    let cpu = cpu.end()?;
    let count = all.creates.len() + all.updates.len();
    let memory = processes.memory()?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    report::print(json!({
        "bench": "writes", "pods": options.pods, "clients": options.clients, "bytes": options.bytes,
        "writes_per_s": report::per_second(count, took),
        "creates": all.creates.summary(), "updates": all.updates.summary(),
        "memory": memory, "cpu_us_per_write": cpu.map(|(spent, _)| spent * 1e6 / count as f64),
    }))
}

async fn write(
    mut connection: Connection,
    collection: String,
    client: usize,
    bytes: usize,
    pods: Option<Workload>,
    until: Instant,
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    for number in 0.. {
        if Instant::now() >= until {
            break;
        }
        let name = format!("{NAME}-{client}-{number}");
        let object = match &pods {
            Some(workload) => workload.pod(&name, NAME).to_string(),
            None => config_map(&name, "a", bytes),
        };
        let began = Instant::now();
        connection.post(&collection, object).await?.success()?;
        done.creates.record(began.elapsed());
        if pods.is_some() {
            continue;
        }
        let began = Instant::now();
        connection.put(&format!("{collection}/{name}"), config_map(&name, "b", bytes)).await?.success()?;
        done.updates.record(began.elapsed());
    }
    Ok(done)
}

fn config_map(name: &str, fill: &str, bytes: usize) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {LABEL: NAME}}, "data": {"fill": fill.repeat(bytes)},
    })
    .to_string()
}
