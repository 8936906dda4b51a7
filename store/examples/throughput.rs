//! How many durable writes a second the embedded store takes, and how long each waits.
//!
//!     cargo run --release -p coracle-store --example throughput -- [WRITERS] [VALUE_BYTES] [SECONDS]

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_store::compactor::{self, Policy};
use coracle_store::{Error, RedbConfig, RedbStore, Store, Write};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().ok());
    let mut argument = |default: u64| arguments.next().flatten().unwrap_or(default);
    let (writers, value_bytes, seconds) = (argument(32), argument(1500) as usize, argument(5));

    let folder = tempfile::tempdir()?;
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(folder.path().join("store.redb"), RedbConfig::default())?);
    let shutdown = CancellationToken::new();
    let compacting = tokio::spawn(compactor::run(Arc::clone(&store), Policy::default(), shutdown.clone()));

    let until = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        tasks.spawn(write_until(Arc::clone(&store), format!("writer-{writer}"), vec![7; value_bytes], until));
    }
    let mut waits = tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    waits.sort_unstable();
    let part = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{writers} writers, {value_bytes} bytes: {} writes/s, p50 {:?}, p99 {:?}",
        waits.len() as u64 / seconds,
        part(50),
        part(99)
    );
    println!("{:#?}", store.usage().await?);

    shutdown.cancel();
    let _ = compacting.await;
    Ok(())
}

/// Writes one key again and again, and returns how long each write took.
async fn write_until(
    store: Arc<dyn Store>,
    key: String,
    value: Vec<u8>,
    until: Instant,
) -> Result<Vec<Duration>, Error> {
    let mut waits = Vec::new();
    let mut at = store.write(Write::create(key.clone(), value.clone())).await?;
    while Instant::now() < until {
        let began = Instant::now();
        at = store.write(Write::update(key.clone(), at, value.clone())).await?;
        waits.push(began.elapsed());
    }
    Ok(waits)
}
