//! What a runtime is told when it is made.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Settings of a [`Runtime`](crate::Runtime).
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Folder for compiled artifacts, made with mode 0700 if it is missing. `None`: every load
    /// compiles.
    pub cache_dir: Option<PathBuf>,
    /// Guests that may execute at the same time. `None`: as many as there are cores.
    pub guest_threads: Option<NonZeroUsize>,
    /// Memory of all guests together. Growth past it is refused to whoever asks. `None`: no bound
    /// beyond those of the containers.
    pub memory_bytes_max: Option<u64>,
}
