//! The compiler's own threads.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Semaphore, oneshot};

use crate::limits::COMPILATIONS_MAX;
use crate::threads::{cores, yield_to_others};

/// Compiles a bounded number of modules at a time, each on every core, behind everything else.
#[derive(Debug)]
pub(crate) struct Compiler {
    pool: OnceLock<ThreadPool>,
    permits: Semaphore,
}

/// A job that panicked.
#[derive(Debug, thiserror::Error)]
#[error("the compiler panicked")]
pub(crate) struct Panicked;

impl Compiler {
    pub(crate) fn new() -> Self {
        Self { pool: OnceLock::new(), permits: Semaphore::new(COMPILATIONS_MAX) }
    }

    /// Runs `compile` on the pool, when it is its turn. What it does in parallel stays there.
    ///
    /// # Cancel safety
    ///
    /// A job that has begun goes on to its end; its result is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        compile: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let _permit = self.permits.acquire().await.map_err(|_| Panicked)?;
        let (done, result) = oneshot::channel();
        self.pool().spawn(move || {
            // Whoever asked may be gone, which is no reason to fail.
            let _ = done.send(compile());
        });
        result.await.map_err(|_| Panicked)
    }

    fn pool(&self) -> &ThreadPool {
        self.pool.get_or_init(|| {
            ThreadPoolBuilder::new()
                .num_threads(cores())
                .thread_name(|_| "coracle-compile".to_owned())
                .start_handler(|_| yield_to_others())
                // The job's sender is dropped by the panic, which tells the one who waits.
                .panic_handler(|_| tracing::error!("a compilation panicked"))
                .build()
                .expect("a process that cannot start threads cannot compile")
        })
    }
}
