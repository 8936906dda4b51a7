//! The thread that advances the engines' epoch while a guest executes, and parks otherwise.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};

use wasmtime::{Engine, EngineWeak};

use crate::limits::{EPOCH_TICK, TICKER_LINGER_TICKS};

/// Counts the guests that execute right now and keeps the epoch advancing for as long as there is
/// one. The thread starts with the first guest and ends with the ticker.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: OnceLock<Thread>,
}

#[derive(Default)]
struct Shared {
    engines: Mutex<Vec<EngineWeak>>,
    executing: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), thread: OnceLock::new() }
    }

    /// Advances the epoch of `engine` too, for as long as it exists.
    pub(crate) fn add(&self, engine: &Engine) {
        self.shared.engines().push(engine.weak());
    }

    /// A guest begins to execute.
    pub(crate) fn enter(&self) {
        self.shared.executing.fetch_add(1, SeqCst);
        let thread = self.thread.get_or_init(|| self.spawn());
        // The ticker announces that it parks before it looks at the count a last time, and a guest
        // counts itself before it looks at the announcement: one of them sees the other.
        if self.shared.parked.load(SeqCst) {
            thread.unpark();
        }
    }

    /// A guest no longer executes.
    pub(crate) fn leave(&self) {
        self.shared.executing.fetch_sub(1, SeqCst);
    }

    fn spawn(&self) -> Thread {
        let shared = self.shared.clone();
        thread::Builder::new()
            .name("coracle-epoch".to_owned())
            .stack_size(64 << 10)
            .spawn(move || shared.run())
            .expect("a process that cannot start a thread cannot run guests")
            .thread()
            .clone()
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").field("executing", &self.shared.executing).finish_non_exhaustive()
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut idle_ticks = 0;
        while !self.stopped.load(SeqCst) {
            thread::sleep(EPOCH_TICK);
            for engine in self.engines().iter().filter_map(EngineWeak::upgrade) {
                engine.increment_epoch();
            }
            idle_ticks = if self.executing.load(SeqCst) > 0 { 0 } else { idle_ticks + 1 };
            if idle_ticks >= TICKER_LINGER_TICKS {
                self.park();
                idle_ticks = 0;
            }
        }
    }

    fn engines(&self) -> MutexGuard<'_, Vec<EngineWeak>> {
        // A list is whole between its operations.
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn park(&self) {
        self.parked.store(true, SeqCst);
        while self.executing.load(SeqCst) == 0 && !self.stopped.load(SeqCst) {
            thread::park();
        }
        self.parked.store(false, SeqCst);
    }
}
