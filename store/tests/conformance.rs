//! The contract of `Store`, as scenarios that every backend goes through.
//!
//! A backend is a [`Backend`]: what makes an empty store. To hold another one to the contract, add a line of `suite!`.

#![allow(clippy::unwrap_used)]

#[path = "conformance/scenarios.rs"]
mod scenarios;

use std::sync::Arc;

use coracle_store::{FaultStore, MemoryStore, RedbConfig, RedbStore, Store};
use tempfile::TempDir;

/// A way to make an empty store.
trait Backend {
    /// The store, and what must outlive it.
    fn start() -> (Arc<dyn Store>, Option<TempDir>);
}

struct Memory;

impl Backend for Memory {
    fn start() -> (Arc<dyn Store>, Option<TempDir>) {
        (Arc::new(MemoryStore::new()), None)
    }
}

struct Redb;

impl Backend for Redb {
    fn start() -> (Arc<dyn Store>, Option<TempDir>) {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path().join("store"), RedbConfig::default()).unwrap();
        (Arc::new(store), Some(folder))
    }
}

/// Keeps next to nothing in memory, so that every watch reads the log.
struct RedbWithoutFeed;

impl Backend for RedbWithoutFeed {
    fn start() -> (Arc<dyn Store>, Option<TempDir>) {
        let folder = tempfile::tempdir().unwrap();
        let config = RedbConfig { cache_bytes: 1 << 20, feed_bytes: 0 };
        (Arc::new(RedbStore::open(folder.path().join("store"), config).unwrap()), Some(folder))
    }
}

/// Without a fault, it must be as good as the store inside.
struct Faultless;

impl Backend for Faultless {
    fn start() -> (Arc<dyn Store>, Option<TempDir>) {
        (Arc::new(FaultStore::new(MemoryStore::new())), None)
    }
}

macro_rules! suite {
    ($name:ident, $backend:ty) => {
        suite!($name, $backend:
            revisions_number_the_writes,
            a_write_goes_ahead_only_as_expected,
            a_deletion_takes_a_revision,
            a_key_that_is_put_again_is_created_anew,
            values_and_keys_are_opaque,
            what_is_too_long_is_refused,
            ranges_are_sorted_and_bounded,
            pages_fit_together_while_the_store_moves_on,
            the_past_reads_as_it_was,
            revisions_out_of_reach_are_told,
            a_watch_tells_what_happened_and_what_happens,
            a_watch_goes_on_from_any_revision,
            a_watch_sees_its_range_only_and_all_of_the_progress,
            a_quiet_watch_hears_of_progress,
            a_slow_watcher_misses_nothing,
            every_watcher_sees_every_write_once_under_load,
            of_racing_writers_one_wins,
            compaction_forgets_the_past_and_nothing_else,
            a_compacted_watch_says_so,
            usage_counts_what_is_held,
            a_dropped_store_ends_its_watches,
        );
    };
    ($name:ident, $backend:ty: $($scenario:ident,)*) => {
        mod $name {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    let (store, _folder) = <$backend>::start();
                    scenarios::$scenario(store).await;
                }
            )*
        }
    };
}

suite!(memory, Memory);
suite!(redb, Redb);
suite!(redb_without_feed, RedbWithoutFeed);
suite!(faultless, Faultless);
