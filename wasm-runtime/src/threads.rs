//! The threads on which guests execute: a tokio runtime of their own, started with the first guest.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::limits::{BLOCKING_THREADS_MAX, GUEST_NICE};

/// The guest threads. Dropping them ends every guest at its next await.
#[derive(Debug)]
pub(crate) struct GuestThreads {
    executing_max: usize,
    runtime: OnceLock<Runtime>,
}

impl GuestThreads {
    pub(crate) fn new(executing_max: Option<NonZeroUsize>) -> Self {
        let executing_max = executing_max.map_or_else(cores, NonZeroUsize::get);
        Self { executing_max, runtime: OnceLock::new() }
    }

    /// How many guests may compute at the same time.
    pub(crate) fn executing_max(&self) -> usize {
        self.executing_max
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.get_or_init(|| self.build()).handle()
    }

    fn build(&self) -> Runtime {
        Builder::new_multi_thread()
            // Twice as many threads as turns: those that wait on the outside world find one free.
            .worker_threads(2 * self.executing_max)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_name("coracle-guest")
            .on_thread_start(yield_to_others)
            // A poll may take a whole slice, so sockets and timers are looked at between a few.
            .event_interval(4)
            .global_queue_interval(4)
            .enable_all()
            .build()
            .expect("a process that cannot start threads cannot run guests")
    }
}

impl Drop for GuestThreads {
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

/// Puts the current thread behind those of the control plane.
pub(crate) fn yield_to_others() {
    // A thread may always lower itself; where the platform refuses, guests are merely not behind.
    if let Err(error) = setpriority_process(None, GUEST_NICE) {
        tracing::debug!(%error, "cannot lower the priority of a guest thread");
    }
}
