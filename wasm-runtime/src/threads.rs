//! The threads on which guests execute: a tokio runtime of their own for servers and one for commands, each started with
//! the first guest of its kind.
//!
//! The kernel shares the cores among threads, not among guests. With threads of their own, and ahead of the others, servers
//! answer nearly as fast beside commands that compute as they do alone.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::limits::{BLOCKING_THREADS_MAX, COMMANDS_NICE, SERVERS_NICE};

/// The guest threads. Dropping them ends every guest at its next await.
#[derive(Debug)]
pub(crate) struct GuestThreads {
    executing_max: usize,
    servers: Lane,
    commands: Lane,
}

/// The threads of one kind of guest.
#[derive(Debug)]
struct Lane {
    name: &'static str,
    nice: i32,
    runtime: OnceLock<Runtime>,
}

impl GuestThreads {
    pub(crate) fn new(executing_max: Option<NonZeroUsize>) -> Self {
        Self {
            executing_max: executing_max.map_or_else(cores, NonZeroUsize::get),
            servers: Lane { name: "coracle-server", nice: SERVERS_NICE, runtime: OnceLock::new() },
            commands: Lane { name: "coracle-command", nice: COMMANDS_NICE, runtime: OnceLock::new() },
        }
    }

    /// How many guests may compute at the same time.
    pub(crate) fn executing_max(&self) -> usize {
        self.executing_max
    }

    /// The threads of servers.
    pub(crate) fn servers(&self) -> &Handle {
        self.servers.handle(self.executing_max)
    }

    /// The threads of commands.
    pub(crate) fn commands(&self) -> &Handle {
        self.commands.handle(self.executing_max)
    }
}

impl Lane {
    fn handle(&self, executing_max: usize) -> &Handle {
        self.runtime.get_or_init(|| self.build(executing_max)).handle()
    }

    fn build(&self, executing_max: usize) -> Runtime {
        let nice = self.nice;
        Builder::new_multi_thread()
            // Twice as many threads as turns: those that wait on the outside world find one free.
            .worker_threads(2 * executing_max)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name(self.name)
            .on_thread_start(move || yield_to_others(nice))
            // A poll may take a whole slice, so sockets and timers are looked at between a few.
            .event_interval(4)
            .global_queue_interval(4)
            .enable_all()
            .build()
            .expect("a process that cannot start threads cannot run guests")
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The last owner may be a guest's own task, where waiting for the threads is not possible.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Number of cores that this process may use.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Puts the current thread behind those that are less nice.
pub(crate) fn yield_to_others(nice: i32) {
    // A thread may always lower itself; where the platform refuses, guests are merely not behind.
    if let Err(error) = setpriority_process(None, nice) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}
