//! Durable writes: each client creates objects and updates each of them once, as fast as it is answered.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde_json::json;

use crate::connection::Connection;
use crate::latency::Latencies;
use crate::namespace::{self, LABEL};
use crate::process::Processes;
use crate::report;
use crate::server::Server;

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
    let collection = namespace::collection(namespace, "configmaps");
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let connections = try_join_all((0..options.clients).map(|_| server.connect())).await?;
    let cpu = processes.begin()?;
    let began = Instant::now();
    let until = began + Duration::from_secs(options.seconds);
    let clients = connections.into_iter().enumerate().map(|(number, connection)| {
        let client = write(connection, collection.clone(), number, options.bytes, until);
        async { tokio::spawn(client).await? }
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
        "bench": "writes", "clients": options.clients, "bytes": options.bytes,
        "writes_per_s": report::per_second(count, took),
        "creates": all.creates.summary(), "updates": all.updates.summary(),
        "memory": memory, "cpu_s": cpu.map(|(spent, _)| spent),
    }))
}

async fn write(
    mut connection: Connection,
    collection: String,
    client: usize,
    bytes: usize,
    until: Instant,
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    for number in 0.. {
        if Instant::now() >= until {
            break;
        }
        let name = format!("{NAME}-{client}-{number}");
        let began = Instant::now();
        connection.post(&collection, config_map(&name, "a", bytes)).await?.success()?;
        done.creates.record(began.elapsed());
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
