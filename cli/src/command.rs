//! The command line as a whole: its verbs, and what they run on.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

use crate::descriptors;
use crate::failure::Result;
use crate::server::Access;
use crate::verb;

/// Threads of the control plane. Guests run on threads of their own.
const WORKER_THREADS: usize = 2;

/// Threads for what blocks: short work on files, such as a pod's volumes. More work than that waits its turn; with a
/// thread for each, five hundred pods that start at once would leave the memory of four hundred threads behind.
const BLOCKING_THREADS_MAX: usize = 16;

/// Kubernetes for WebAssembly, in one program
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    access: Access,

    /// Say more of what happens inside; twice or thrice for more still
    #[arg(long, short, global = true, action = ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a cluster, apply manifests, and stay
    Up(verb::up::Options),
    /// Run a module once, to its end
    Run(verb::run::Options),
    /// Say what a .wasm file is
    Inspect(verb::inspect::Options),
    /// The modules that a node has
    Image(verb::image::Options),
    /// Put a module into a registry
    Push(verb::push::Options),

    /// Make objects be as manifests say
    Apply(verb::apply::Options),
    /// List and watch objects
    Get(verb::get::Options),
    /// All about an object, for people
    Describe(verb::describe::Options),
    /// What a pod has written
    Logs(verb::logs::Options),
    /// Run a container's module again, within it
    Exec(verb::exec::Options),
    /// See what a container writes, and answer it
    Attach(verb::attach::Options),
    /// Copy files into and out of containers
    Cp(verb::cp::Options),
    /// Ports of this machine that lead to those of a pod
    PortForward(verb::port_forward::Options),
    /// Delete objects
    Delete(verb::delete::Options),
    /// Set how many pods a workload has
    Scale(verb::scale::Options),
    /// Follow and undo updates
    #[command(subcommand)]
    Rollout(verb::rollout::Command),
    /// What happened
    Events(verb::events::Options),
    /// Where the cluster's kubeconfig is
    Kubeconfig(verb::kubeconfig::Options),

    /// The API server alone
    Apiserver(verb::apiserver::Options),
    /// The scheduler alone
    Scheduler(verb::scheduler::Options),
    /// The controllers alone
    ControllerManager(verb::controller_manager::Options),
    /// A node alone
    Kubelet(verb::kubelet::Options),
}

/// The program: parses its arguments, sets up tracing, and runs the verb.
pub fn main() -> ExitCode {
    without_backtraces_of_errors();
    let arguments = Arguments::parse();
    arguments.trace();
    match arguments.run() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Has `RUST_BACKTRACE` mean panics alone, unless `RUST_LIB_BACKTRACE` says otherwise: wasmtime makes an error for each
/// instance of a component, though nothing has failed, and finding out where it was made is a tenth of a request's CPU.
fn without_backtraces_of_errors() {
    const VARIABLE: &str = "RUST_LIB_BACKTRACE";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: the process has one thread yet, so nobody reads the environment meanwhile.
        unsafe { std::env::set_var(VARIABLE, "0") };
    }
}

impl Arguments {
    /// Sends what happens inside to stderr: warnings, or as `-v` and `$CORACLE_LOG` say.
    pub fn trace(&self) {
        let level = match self.verbose {
            0 => "warn",
            1 => "info",
            2 => "coracle=debug,info",
            _ => "trace",
        };
        let filter = EnvFilter::try_from_env("CORACLE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(self.verbose > 0)
            .init();
    }

    /// Runs the verb to its end.
    ///
    /// # Errors
    /// What the verb fails with.
    pub fn run(self) -> Result<ExitCode> {
        let access = self.access;
        let mut stdout = BufWriter::new(io::stdout());
        let out = &mut stdout;
        match self.verb {
            Verb::Run(options) => return verb::run::run(options, &access),
            Verb::Inspect(options) => verb::inspect::run(&options, out)?,
            Verb::Image(options) => verb::image::run(options, out)?,
            Verb::Kubeconfig(options) => verb::kubeconfig::run(options, &access, out)?,

            Verb::Up(options) => cluster_runtime()?.block_on(verb::up::run(options))?,
            Verb::Apiserver(options) => cluster_runtime()?.block_on(verb::apiserver::run(options))?,
            Verb::Scheduler(options) => cluster_runtime()?.block_on(verb::scheduler::run(options, &access))?,
            Verb::ControllerManager(options) => {
                cluster_runtime()?.block_on(verb::controller_manager::run(options, &access))?;
            }
            Verb::Kubelet(options) => cluster_runtime()?.block_on(verb::kubelet::run(options, &access))?,

            Verb::Push(options) => client_runtime()?.block_on(verb::push::run(options, out))?,
            Verb::Apply(options) => client_runtime()?.block_on(verb::apply::run(options, &access, out))?,
            Verb::Get(options) => client_runtime()?.block_on(verb::get::run(options, &access, out))?,
            Verb::Describe(options) => client_runtime()?.block_on(verb::describe::run(options, &access, out))?,
            Verb::Logs(options) => client_runtime()?.block_on(verb::logs::run(options, &access, out))?,
            Verb::Exec(options) => left_behind(verb::exec::run(options, &access))?,
            Verb::Attach(options) => left_behind(verb::attach::run(options, &access))?,
            Verb::Cp(options) => left_behind(verb::cp::run(options, &access))?,
            Verb::PortForward(options) => client_runtime()?.block_on(verb::port_forward::run(options, &access, out))?,
            Verb::Delete(options) => client_runtime()?.block_on(verb::delete::run(options, &access, out))?,
            Verb::Scale(options) => client_runtime()?.block_on(verb::scale::run(options, &access, out))?,
            Verb::Rollout(command) => client_runtime()?.block_on(verb::rollout::run(command, &access, out))?,
            Verb::Events(options) => client_runtime()?.block_on(verb::events::run(options, &access, out))?,
        }
        stdout.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What a cluster or a part of one runs on.
///
/// # Errors
/// When no threads can be made.
pub fn cluster_runtime() -> io::Result<Runtime> {
    descriptors::raise();
    Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("coracle")
        .enable_all()
        .build()
}

/// Runs a verb, and leaves behind what still waits for somebody to type.
fn left_behind(verb: impl Future<Output = Result>) -> Result {
    let runtime = client_runtime()?;
    let result = runtime.block_on(verb);
    runtime.shutdown_background();
    result
}

/// What a verb that only asks runs on.
fn client_runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_others_script_stays() {
        for line in [
            "coracle up --data-dir d --listen 127.0.0.1:0 --node-name n samples/hello more.yaml",
            "coracle up --test --nodes 3 --kubeconfig-out f crds.yaml",
            "coracle up --test --wasm --pod-cidr 127.65.0.0/16 --service-cidr 127.97.0.0/16",
            "coracle up --test --api-only",
            "coracle run app.wasm -- a -b --c",
            "coracle run --env A=1 --dir /tmp:/data:ro --memory 64Mi --cpu 500m --timeout 10s app.wasm",
            "coracle run --keep --replicas 3 app.wasm",
            "coracle -n x get pods,svc -o wide -l app=web -A",
            "coracle get pod/a -o yaml -n x --kubeconfig f",
            "coracle logs deploy/web -f --tail 10 --previous -c main",
            "coracle logs pod --tail=-1",
            "coracle exec -it pod -c main -- sh -c x",
            "coracle exec deploy/web -q --pod-running-timeout=5s -- x",
            "coracle attach pod -it -c main",
            "coracle cp a/b ns/pod:/c/d -c main --no-preserve",
            "coracle cp pod:/c/d . --retries=3",
            "coracle port-forward svc/web 8080:80 :http --address 0.0.0.0,::1",
            "coracle delete -f a.yaml --grace-period=0 --force",
            "coracle delete pods --all --wait=false",
            "coracle scale deploy/web --replicas=3",
            "coracle rollout undo deploy/web --to-revision=2",
            "coracle apiserver --data-dir d --listen 127.0.0.1:0",
            "coracle scheduler --kubeconfig f",
            "coracle controller-manager --kubeconfig f",
            "coracle kubelet --kubeconfig f --node-name n --root-dir d --pod-cidr 127.65.0.0/16 --listen 127.0.0.1:0",
            "coracle image load a.wasm -t app:v1 --data-dir d",
            "coracle inspect app.wasm -o json",
            "coracle push app.wasm localhost:5000/team/app:v1 -u me --password-stdin",
            "coracle kubeconfig --show",
        ] {
            Arguments::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
