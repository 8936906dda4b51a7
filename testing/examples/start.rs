//! How long a cluster takes to start, and to be of use: `cargo run -p coracle-testing --example start`.
//!
//! Prints the median and the worst of a hundred starts, in the profile in which tests run. The first one also pays for
//! what is made once a process, and is told apart.

use std::time::{Duration, Instant};

use coracle_testing::k8s_openapi::api::core::v1::ConfigMap;
use coracle_testing::kube::api::{Api, ListParams};
use coracle_testing::{Builder, Cluster, Error};

const TIMES: usize = 100;

/// What is started, and how.
type Row = (&'static str, fn() -> Builder);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    report("the first, of the API alone", vec![start(Cluster::builder()).await?]);
    let table: [Row; 4] = [
        ("the API alone", Cluster::builder),
        ("with a socket", || Cluster::builder().socket()),
        ("with controllers, scheduler and one node", || Cluster::builder().controllers().scheduler().nodes(1)),
        ("with controllers, scheduler and ten nodes", || Cluster::builder().controllers().scheduler().nodes(10)),
    ];
    for (what, builder) in table {
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            took.push(start(builder()).await?);
        }
        report(what, took);
    }
    Ok(())
}

/// From nothing to the answer to a first request.
async fn start(builder: Builder) -> Result<Duration, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let cluster = builder.start().await?;
    Api::<ConfigMap>::all(cluster.client()).list(&ListParams::default()).await?;
    let took = began.elapsed();
    cluster.stop().await.map_err(|error: Error| error.into()).map(|()| took)
}

#[allow(clippy::print_stdout)]
fn report(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{what}: {:.1} ms, at most {:.1} ms", millis(median), millis(worst));
}
