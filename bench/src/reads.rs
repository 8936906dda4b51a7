//! Reads: GETs of one object and LISTs of many.

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

const NAME: &str = "reads";
/// A node that does not exist: pods bound to it stay as they are.
const NOWHERE: &str = "coracle-bench-nowhere";

#[derive(Debug, clap::Args)]
pub struct Options {
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Seconds for each of the two
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pods in the list
    #[arg(long, default_value_t = 1000)]
    objects: usize,
    /// Clients that list
    #[arg(long, default_value_t = 4)]
    listers: usize,
    #[command(flatten)]
    workload: Workload,
}

/// Measures; a line for GET and one for LIST.
///
/// # Errors
/// When the server refuses.
pub async fn run(options: Options, server: &Server, namespace: &str, processes: &Processes) -> anyhow::Result<()> {
    let collection = namespace::collection(namespace, "pods");
    let mut connection = server.connect().await?;
    fill(&options, server, &collection).await?;
    let one = format!("{collection}/{NAME}-0-0");
    let seconds = Duration::from_secs(options.seconds);
    let cpu = processes.begin()?;
    let (gets, _) = read(server, options.clients, one, seconds).await?;
    report::print(json!({
        "bench": "get", "clients": options.clients,
        "gets_per_s": report::per_second(gets.len(), seconds.as_secs_f64()), "gets": gets.summary(),
        "cpu_s": cpu.end()?.map(|(spent, _)| spent),
    }))?;
    let cpu = processes.begin()?;
    let all = format!("{collection}?labelSelector={LABEL}%3D{NAME}");
    let (lists, bytes) = read(server, options.listers, all, seconds).await?;
    report::print(json!({
        "bench": "list", "clients": options.listers, "objects": options.objects, "bytes": bytes,
        "lists_per_s": report::per_second(lists.len(), seconds.as_secs_f64()), "lists": lists.summary(),
        "cpu_s": cpu.end()?.map(|(spent, _)| spent), "memory": processes.memory()?,
    }))?;
    namespace::clear(&mut connection, &collection, NAME).await
}

/// Creates the pods, by as many clients as will read them.
async fn fill(options: &Options, server: &Server, collection: &str) -> anyhow::Result<()> {
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, collection, NAME).await?;
    let clients = options.clients.max(1);
    let share = options.objects.div_ceil(clients);
    try_join_all((0..clients).map(|client| async move {
        let mut connection = server.connect().await?;
        for number in (0..share).take_while(|number| client * share + number < options.objects) {
            let mut pod = options.workload.pod(&format!("{NAME}-{client}-{number}"), NAME);
            pod["spec"]["nodeName"] = NOWHERE.into();
            connection.post(collection, pod.to_string()).await?.success()?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

/// Reads one path by several clients at once; the latencies, and the bytes of an answer.
async fn read(server: &Server, clients: usize, path: String, time: Duration) -> anyhow::Result<(Latencies, usize)> {
    let connections = try_join_all((0..clients).map(|_| server.connect())).await?;
    let until = Instant::now() + time;
    let readers = connections.into_iter().map(|connection| {
        let reader = read_again(connection, path.clone(), until);
        async { tokio::spawn(reader).await? }
    });
    let mut all = (Latencies::default(), 0);
    for (latencies, bytes) in try_join_all(readers).await? {
        all.0.merge(latencies);
        all.1 = bytes;
    }
    Ok(all)
}

async fn read_again(mut connection: Connection, path: String, until: Instant) -> anyhow::Result<(Latencies, usize)> {
    let (mut latencies, mut bytes) = (Latencies::default(), 0);
    while Instant::now() < until {
        let began = Instant::now();
        bytes = connection.get(&path).await?.success()?.len();
        latencies.record(began.elapsed());
    }
    Ok((latencies, bytes))
}
