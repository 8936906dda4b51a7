//! A service beside pods that mean harm: how much slower does it become?
//!
//! The service is there already; it is asked once alone and once beside the pods, which are shared out among the given
//! arguments of one image. `wasm-runtime/tests/guests/probe-p1.wasm` knows all of the default ones.

use std::time::Duration;

use http::Uri;
use serde_json::{Value, json};

use crate::http_load::load;
use crate::namespace::{self, LABEL};
use crate::report;
use crate::server::Server;

const NAME: &str = "hostile";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to ask: http://127.0.0.1:30080/
    #[arg(long)]
    url: Uri,
    /// The image of the hostile pods
    #[arg(long)]
    image: String,
    /// What they are told to do, one of these each
    #[arg(long, value_delimiter = ',', default_value = "spin,grow,flood,recurse,panic")]
    modes: Vec<String>,
    #[arg(long, default_value_t = 200)]
    pods: usize,
    /// limits.memory of each
    #[arg(long, default_value = "64Mi")]
    memory: String,
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// How long each of the two measurements takes
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How long the pods have to do their worst before the second
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    settle: u64,
}

/// Measures; one line.
///
/// # Errors
/// When the address does not answer, or the server refuses a pod.
pub async fn run(options: Options, server: &Server, namespace: &str) -> anyhow::Result<()> {
    let lasting = Duration::from_secs(options.seconds);
    let collection = namespace::collection(namespace, "pods");
    let mut connection = server.connect().await?;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let alone = load(&options.url, options.connections, lasting).await?;
    for number in 0..options.pods {
        connection.post(&collection, pod(&options, number).to_string()).await?.success()?;
    }
    tokio::time::sleep(Duration::from_secs(options.settle)).await;
    let beside = load(&options.url, options.connections, lasting).await;
    namespace::clear(&mut connection, &collection, NAME).await?;
    let beside = beside?;
    let p99 = |load: &crate::http_load::Load| load.requests.as_ref().map(|requests| requests.p99_ms);
    let ratio = p99(&alone).zip(p99(&beside)).map(|(alone, beside)| (beside / alone * 100.0).round() / 100.0);
    report::print(json!({
        "bench": "hostile", "pods": options.pods, "modes": options.modes, "alone": alone, "beside": beside,
        "p99_ratio": ratio,
    }))
}

fn pod(options: &Options, number: usize) -> Value {
    let mode = &options.modes[number % options.modes.len()];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{NAME}-{number}-{mode}"), "labels": {LABEL: NAME}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": options.image, "imagePullPolicy": "IfNotPresent", "args": [mode],
                "resources": {"limits": {"memory": options.memory}},
            }],
        },
    })
}
