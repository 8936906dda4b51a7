//! The compiler's own threads.
//!
//! There are two lanes, so that a service of a few kilobytes does not wait for minutes behind an interpreter of forty
//! megabytes: each has threads of its own, and a bound on what it compiles at a time.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Semaphore, oneshot};

use crate::limits::{
    COMMANDS_NICE, COMPILATIONS_LARGE_MAX, COMPILATIONS_SMALL_MAX, COMPILING_BYTES_MAX, MAPPED_BYTES_MIN,
};
use crate::threads::{cores, yield_to_others};

/// Compiles a bounded number of modules at a time, each on every core, behind everything else.
#[derive(Debug)]
pub(crate) struct Compiler {
    small: Lane,
    large: Lane,
}

/// Compilations that wait for each other.
#[derive(Debug)]
struct Lane {
    name: &'static str,
    pool: OnceLock<ThreadPool>,
    /// How many may be under way.
    places: Semaphore,
    /// Kilobytes of them together.
    room: Semaphore,
}

/// A job that panicked.
#[derive(Debug, thiserror::Error)]
#[error("the compiler panicked")]
pub(crate) struct Panicked;

impl Compiler {
    pub(crate) fn new() -> Self {
        Self {
            small: Lane::new("coracle-compile", COMPILATIONS_SMALL_MAX),
            large: Lane::new("coracle-compile-large", COMPILATIONS_LARGE_MAX),
        }
    }

    /// Runs `compile`, for a program of `bytes`, when it is its turn. What it does in parallel stays on its lane's threads.
    ///
    /// # Cancel safety
    ///
    /// A job that has begun goes on to its end; its result is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bytes: u64,
        compile: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let lane = if bytes < MAPPED_BYTES_MIN as u64 { &self.small } else { &self.large };
        let _place = lane.places.acquire().await.map_err(|_| Panicked)?;
        let _room = lane.room.acquire_many(kilobytes(bytes)).await.map_err(|_| Panicked)?;
        let (done, result) = oneshot::channel();
        lane.pool().spawn(move || {
            // Whoever asked may be gone, which is no reason to fail.
            let _ = done.send(compile());
        });
        result.await.map_err(|_| Panicked)
    }
}

/// What a program of `bytes` takes of a lane's room: all of it if it is larger than that.
fn kilobytes(bytes: u64) -> u32 {
    u32::try_from(bytes.min(COMPILING_BYTES_MAX).div_ceil(1024)).unwrap_or(u32::MAX)
}

impl Lane {
    fn new(name: &'static str, places: usize) -> Self {
        Self {
            name,
            pool: OnceLock::new(),
            places: Semaphore::new(places),
            room: Semaphore::new(kilobytes(COMPILING_BYTES_MAX) as usize),
        }
    }

    fn pool(&self) -> &ThreadPool {
        let name = self.name;
        self.pool.get_or_init(|| {
            ThreadPoolBuilder::new()
                .num_threads(cores())
                .thread_name(move |_| name.to_owned())
                .start_handler(|_| yield_to_others(COMMANDS_NICE))
                // The job's sender is dropped by the panic, which tells the one who waits.
                .panic_handler(|_| tracing::error!("a compilation panicked"))
                .build()
                .expect("a process that cannot start threads cannot compile")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_small_program_does_not_wait_for_large_ones() {
        let compiler = Compiler::new();
        let large = COMPILING_BYTES_MAX;
        let (release, released) = mpsc::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let first = compiler.run(large, move || {
            let _ = begun.send(());
            released.recv().is_err()
        });
        let second = compiler.run(large, || "second");
        let small = async {
            has_begun.await.expect("it begins");
            let small = compiler.run(1, || "small").await.expect("it runs");
            drop(release);
            small
        };
        let (first, second, small) = tokio::join!(first, second, small);
        assert_eq!((first.expect("it runs"), second.expect("it runs"), small), (true, "second", "small"));
    }

    #[test]
    fn what_is_larger_than_the_room_takes_all_of_it() {
        for (bytes, room) in [(0, 0), (1, 1), (1025, 2), (u64::MAX, kilobytes(COMPILING_BYTES_MAX))] {
            assert_eq!(kilobytes(bytes), room);
        }
    }
}
