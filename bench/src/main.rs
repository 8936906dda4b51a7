//! `coracle-bench`: measures any Kubernetes API, Coracle's or another's, from the outside.
//!
//! A measurement is a subcommand and a file; it prints one JSON line a result on stdout, with the memory and CPU time of
//! the processes named by `--pids` where that says something. Each client is a connection of its own, so that the
//! generator stays thin: on a small machine it shares the cores with what it measures.

mod burst;
mod condition;
mod connection;
mod density;
mod frames;
mod hostile;
mod http_load;
mod idle;
mod jobs;
mod latency;
mod namespace;
mod pod;
mod pods;
mod process;
mod reads;
mod report;
mod run;
mod server;
mod start;
mod startup;
mod stop;
mod watch;
mod workload;
mod writes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::Processes;
use crate::server::Server;

/// Measures any Kubernetes API; prints one JSON line a result.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which server to measure [default: as kubectl chooses]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Where the measured objects are made
    #[arg(long, global = true, default_value = "default")]
    namespace: String,

    /// Processes whose memory and CPU time the results carry
    #[arg(long, global = true, value_delimiter = ',', value_name = "PID,…")]
    pids: Vec<u32>,

    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// A Deployment scaled 0 → N → 0
    Burst(burst::Options),
    /// A Job of N one-shot pods, so many at a time
    Jobs(jobs::Options),
    /// One pod after another: created → Running
    Pod(pod::Options),
    /// One pod after another: bound → its guest's first words
    Start(start::Options),
    /// One pod after another whose guest does not listen: end of its grace → gone
    Stop(stop::Options),
    /// N pods in equal steps: is the last step as fast as the first?
    Density(density::Options),
    /// Durable creates and updates a second
    Writes(writes::Options),
    /// GETs and LISTs a second
    Reads(reads::Options),
    /// One write to many watchers
    Watch(watch::Options),
    /// Requests a second to a URL
    Http(http_load::Options),
    /// Requests to a URL, alone and beside pods that mean harm
    Hostile(hostile::Options),
    /// CPU and memory of `--pids` while nothing happens
    Idle(idle::Options),
    /// `coracle up` on an empty folder → /readyz → node Ready
    Startup(startup::Options),
    /// A whole process, again and again: `run -- coracle run hello.wasm`
    Run(run::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let processes = Processes::new(arguments.pids);
    let namespace = arguments.namespace;
    let server = Server::from_kubeconfig(arguments.kubeconfig);
    match arguments.measurement {
        Measurement::Burst(options) => burst::run(options, &server.await?, &namespace, &processes).await,
        Measurement::Jobs(options) => jobs::run(options, &server.await?, &namespace, &processes).await,
        Measurement::Pod(options) => pod::run(options, &server.await?, &namespace).await,
        Measurement::Start(options) => start::run(options, &server.await?, &namespace).await,
        Measurement::Stop(options) => stop::run(options, &server.await?, &namespace).await,
        Measurement::Density(options) => density::run(options, &server.await?, &namespace, &processes).await,
        Measurement::Writes(options) => writes::run(options, &server.await?, &namespace, &processes).await,
        Measurement::Reads(options) => reads::run(options, &server.await?, &namespace, &processes).await,
        Measurement::Watch(options) => watch::run(options, &server.await?, &namespace, &processes).await,
        Measurement::Http(options) => http_load::run(options).await,
        Measurement::Hostile(options) => hostile::run(options, &server.await?, &namespace).await,
        Measurement::Idle(options) => idle::run(options, &processes).await,
        Measurement::Startup(options) => startup::run(options).await,
        Measurement::Run(options) => run::run(options).await,
    }
}
