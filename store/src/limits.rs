//! The store's limits in one place: what each is for, and what happens when it is reached.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Longest key. Kubernetes' longest is near 600 bytes: resource, namespace and name with their limits. Longer: refused
/// with [`Error::TooLarge`](crate::Error::TooLarge).
pub const KEY_BYTES_MAX: usize = 4 * KIB;

/// Longest value; above it a write is refused with [`Error::TooLarge`](crate::Error::TooLarge). The API server takes no
/// body over 3 MiB, as upstream.
pub const VALUE_BYTES_MAX: usize = 4 * MIB;

/// How far a page counts what it leaves out. Beyond, `remaining` is `None`, so that a page costs about what it returns.
pub const REMAINING_COUNTED_MAX: u64 = 10_000;

/// Writes that wait for the writer. When full, callers wait in [`Store::write`](crate::Store::write): back-pressure.
pub(crate) const QUEUE_WRITES_MAX: usize = 1024;

/// Most writes to a commit: bounds how long one fsync is waited for, and how much is answered at once.
pub(crate) const BATCH_WRITES_MAX: usize = 512;

/// Most bytes to a commit, unless one write alone has more.
pub(crate) const BATCH_BYTES_MAX: usize = 4 * MIB;

/// Newest events that the embedded store keeps in memory for its watchers. A watcher further behind reads on from the
/// log on disk: slower, and nothing is lost.
pub(crate) const FEED_BYTES_MAX: usize = 2 * MIB;

/// History that the memory store keeps. Older history is forgotten, as if compacted.
pub(crate) const MEMORY_HISTORY_BYTES_MAX: usize = 64 * MIB;

/// Most events to a batch of a watch, so that a watcher from long ago is fed in pieces.
pub(crate) const WATCH_EVENTS_MAX: usize = 1024;

/// Most bytes to a batch that is read from the log, unless one event alone has more.
pub(crate) const WATCH_BYTES_MAX: usize = MIB;

/// Most events that are looked at for one batch: bounds how long a watcher of a quiet range holds the feed's lock.
pub(crate) const WATCH_SCAN_MAX: usize = 16 * 1024;

/// How late a watcher may learn that revisions passed which were not in its range.
/// [`Store::revision`](crate::Store::revision) tells all watchers at once.
pub(crate) const PROGRESS_DELAY: Duration = Duration::from_millis(10);

/// Events that one transaction of a compaction removes; writes get their turn between two of them.
pub(crate) const SWEEP_EVENTS_MAX: usize = 1024;

/// A file below this size is left as it is, however little of it is used.
pub(crate) const RECLAIM_BYTES_MIN: u64 = 16 * MIB as u64;

/// A file is packed when it is more than this many times what is stored in it.
pub(crate) const RECLAIM_RATIO: u64 = 3;

/// Free space on the disk below which a put is refused with [`Error::Full`](crate::Error::Full).
pub(crate) const SPACE_FOR_PUTS_BYTES: u64 = 4 * MIB as u64;

/// Free space below which a deletion or a compaction is refused too. They are what makes room again, so they may use
/// what puts may not.
pub(crate) const SPACE_FOR_DELETES_BYTES: u64 = MIB as u64;

/// How often a store that its disk refuses is tried again, when the disk cannot say that it has more room.
pub(crate) const RESTORE_INTERVAL: Duration = Duration::from_millis(500);

/// redb's page cache, read and write side together, unless configured otherwise.
pub(crate) const CACHE_BYTES_DEFAULT: usize = 4 * MIB;

// A batch must fit beside what is already on the way, and the two reserves must leave room for one another.
const _: () = {
    assert!(BATCH_BYTES_MAX >= VALUE_BYTES_MAX);
    assert!(BATCH_WRITES_MAX <= QUEUE_WRITES_MAX);
    assert!(SPACE_FOR_DELETES_BYTES < SPACE_FOR_PUTS_BYTES);
    assert!(WATCH_EVENTS_MAX <= WATCH_SCAN_MAX);
};
