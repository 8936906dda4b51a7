//! The thread that advances the engine's epoch while a guest executes, and parks otherwise.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

use wasmtime::{Engine, EngineWeak};

use crate::limits::{EPOCH_TICK, TICKER_LINGER_TICKS};

/// Counts the guests that execute right now and keeps the epoch advancing for as long as there is
/// one. The thread starts with the first guest and ends with the ticker.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    engine: EngineWeak,
    thread: OnceLock<Thread>,
}

#[derive(Debug, Default)]
struct Shared {
    executing: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
}

impl Ticker {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self { shared: Arc::default(), engine: engine.weak(), thread: OnceLock::new() }
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
        let engine = self.engine.clone();
        thread::Builder::new()
            .name("coracle-epoch".to_owned())
            .stack_size(64 << 10)
            .spawn(move || shared.run(&engine))
            .expect("a process that cannot start a thread cannot run guests")
            .thread()
            .clone()
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").field("shared", &self.shared).finish_non_exhaustive()
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
    fn run(&self, engine: &EngineWeak) {
        let mut idle_ticks = 0;
        while !self.stopped.load(SeqCst) {
            thread::sleep(EPOCH_TICK);
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            drop(engine);
            idle_ticks = if self.executing.load(SeqCst) > 0 { 0 } else { idle_ticks + 1 };
            if idle_ticks >= TICKER_LINGER_TICKS {
                self.park();
                idle_ticks = 0;
            }
        }
    }

    fn park(&self) {
        self.parked.store(true, SeqCst);
        while self.executing.load(SeqCst) == 0 && !self.stopped.load(SeqCst) {
            thread::park();
        }
        self.parked.store(false, SeqCst);
    }
}
