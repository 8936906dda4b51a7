//! What only a store with a disk can get wrong: restarts, locks, damaged files, full and failing disks, growth.

#![allow(clippy::unwrap_used)]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_store::compactor::{self, Policy};
use coracle_store::disk::{Disk, DiskFault, SimulatedDisk};
use coracle_store::{Change, Error, Expect, Range, RedbConfig, RedbStore, Revision, Store, Write};
use futures::StreamExt;
use futures::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const MIB: u64 = 1 << 20;

fn open(path: &Path) -> Result<RedbStore, Error> {
    RedbStore::open(path, RedbConfig::default())
}

fn open_on(disk: &SimulatedDisk) -> Result<RedbStore, Error> {
    RedbStore::open_on(Arc::new(disk.clone()), "simulated", RedbConfig::default())
}

/// Puts without regard to what is there.
async fn put(store: &dyn Store, key: &str, value: impl Into<Bytes>) -> Result<Revision, Error> {
    let (current, _) = store.get(key.as_bytes()).await?;
    let expect = current.map_or(Expect::Absent, |record| Expect::At(record.modified));
    store.write(Write { key: key.to_owned().into(), expect, change: Change::Put(value.into()) }).await
}

/// Everything that can be read, now and back to the oldest revision.
async fn everything(store: &dyn Store) -> String {
    let usage = store.usage().await.unwrap();
    let now = store.range(Range::all(), None, None).await.unwrap();
    let mut all = format!("{:?}\n", now.records);
    for revision in usage.oldest.0..=usage.newest.0 {
        let page = store.range(Range::all(), Some(Revision(revision)), None).await.unwrap();
        all += &format!("{revision}: {:?}\n", page.records);
    }
    let mut watch = store.watch(Range::all(), usage.oldest).await.unwrap();
    let mut progress = usage.oldest;
    while progress < usage.newest {
        let batch = watch.next().await.unwrap().unwrap();
        all += &format!("{:?}\n", batch.events);
        progress = batch.revision;
    }
    all
}

async fn fill(store: &dyn Store) {
    for number in 0..60 {
        put(store, &format!("key-{}", number % 25), format!("{number}").repeat(number * 3)).await.unwrap();
    }
    let gone = store.get(b"key-3").await.unwrap().0.unwrap();
    store.write(Write::delete(gone.key, gone.modified)).await.unwrap();
    store.compact(Revision(20)).await.unwrap();
}

fn store_path() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    (folder, path)
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let (_folder, path) = store_path();
    let store = open(&path).unwrap();
    fill(&store).await;
    let before = everything(&store).await;
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(everything(&store).await, before);
    assert_eq!(store.usage().await.unwrap().oldest, Revision(20));
    assert_eq!(put(&store, "next", "").await.unwrap(), Revision(62));
}

#[tokio::test]
async fn a_store_is_open_once() {
    let (_folder, path) = store_path();
    let store = open(&path).unwrap();
    let Err(Error::Locked { path: named }) = open(&path) else { panic!() };
    assert_eq!(named, path);
    let _watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
    drop(store);
    open(&path).expect("a watch does not keep the file");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let (_folder, path) = store_path();
    fill(&open(&path).unwrap()).await;
    let whole = std::fs::read(&path).unwrap();
    let mut beheaded = whole.clone();
    beheaded[..64].fill(0);
    let mut scribbled = whole.clone();
    scribbled[4096..].fill(0x5a);
    let table: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("text", b"this is not a database, whatever its name says".repeat(100)),
        ("cut short", whole[..whole.len() / 2].to_vec()),
        ("cut to its header", whole[..512].to_vec()),
        ("without its beginning", beheaded),
        ("overwritten", scribbled),
    ];
    for (what, bytes) in table {
        std::fs::write(&path, &bytes).unwrap();
        match open(&path) {
            Err(Error::Corrupt { path: named, detail }) => assert!(named == path && !detail.is_empty(), "{what}"),
            other => panic!("{what}: {:?}", other.err()),
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{what}: the file was changed");
    }
    // Cut between two pages, it used to be taken for a disk that fails.
    for pages in 0..whole.len() / 4096 {
        std::fs::write(&path, &whole[..pages * 4096]).unwrap();
        let error = open(&path).err().unwrap();
        assert!(matches!(error, Error::Corrupt { .. }), "{pages} pages of it: {error:?}");
    }
    std::fs::write(&path, &whole).unwrap();
    open(&path).unwrap();
}

#[tokio::test]
async fn a_database_of_another_kind_is_refused() {
    let (_folder, path) = store_path();
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(open(&path), Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn a_store_of_a_later_format_is_refused() {
    let (_folder, path) = store_path();
    drop(open(&path).unwrap());
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 2u64.to_le_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let Err(Error::Corrupt { detail, .. }) = open(&path) else { panic!() };
    assert!(detail.contains("format 2"), "{detail}");
}

#[tokio::test]
async fn a_turned_bit_is_told_or_does_not_matter() {
    let disk = SimulatedDisk::new(3);
    let store = open_on(&disk).unwrap();
    fill(&store).await;
    let before = everything(&store).await;
    drop(store);
    let len = disk.len().unwrap();
    let mut told = 0;
    for turn in 0..90 {
        // The first pages hold more that matters than the rest.
        let offset = if turn < 45 { turn * 7 } else { turn * 7919 % len.min(200_000) };
        let damaged = SimulatedDisk::new(turn);
        let mut bytes = vec![0; len as usize];
        disk.read(0, &mut bytes).unwrap();
        damaged.write(0, &bytes).unwrap();
        damaged.sync().unwrap();
        damaged.damage(offset, turn as u8);
        match open_on(&damaged) {
            Ok(store) => assert!(everything(&store).await == before, "byte {offset}"),
            Err(Error::Corrupt { .. }) => told += 1,
            Err(other) => panic!("byte {offset}: {other}"),
        }
    }
    assert!(told > 10, "{told}");
}

#[tokio::test]
async fn a_full_disk_refuses_puts_and_goes_on_reading() {
    let disk = SimulatedDisk::new(1);
    let store = open_on(&disk).unwrap();
    disk.set_capacity(disk.used_bytes() + 8 * MIB);
    let mut written = Vec::new();
    let refused = loop {
        match put(&store, &format!("key-{:04}", written.len()), vec![7; 20_000]).await {
            Ok(revision) => written.push(revision),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Full), "{refused}");
    assert!(written.len() > 50, "{}", written.len());
    let page = store.range(Range::all(), None, None).await.unwrap();
    assert_eq!(page.records.len(), written.len());
    let last = page.records.last().unwrap();
    let deleted = store.write(Write::delete(last.key.clone(), last.modified)).await;
    assert_eq!(deleted.unwrap(), page.revision.next(), "what makes room is allowed for longer");
    assert!(matches!(put(&store, "more", "").await, Err(Error::Full)));
    disk.set_capacity(u64::MAX);
    put(&store, "more", "").await.unwrap();
}

/// What was deleted used to be kept as history, and its room in the file, so that a full store stayed full.
#[tokio::test]
async fn deletions_make_room_on_a_full_disk() {
    let disk = SimulatedDisk::new(1);
    let store: Arc<dyn Store> = Arc::new(open_on(&disk).unwrap());
    disk.set_capacity(disk.used_bytes() + 16 * MIB);
    let mut written = Vec::new();
    while let Ok(revision) = put(&*store, &format!("key-{:04}", written.len()), vec![7; 20_000]).await {
        written.push(revision);
    }
    for (index, revision) in written.iter().enumerate().skip(written.len() / 4) {
        store.write(Write::delete(format!("key-{index:04}"), *revision)).await.unwrap();
    }
    assert!(store.usage().await.unwrap().is_full);
    let shutdown = CancellationToken::new();
    let policy = Policy { check_interval: Duration::from_millis(5), ..Policy::default() };
    let compactor = tokio::spawn(compactor::run(store.clone(), policy, shutdown.clone()));
    let deadline = Instant::now() + Duration::from_secs(10);
    while put(&*store, "more", "").await.is_err() {
        assert!(Instant::now() < deadline, "{:?}", store.usage().await);
        tokio::task::yield_now().await;
    }
    assert_eq!(store.range(Range::all(), None, None).await.unwrap().records.len(), written.len() / 4 + 1);
    shutdown.cancel();
    compactor.await.unwrap();
}

/// A disk that cannot say how much room it has.
#[derive(Debug)]
struct Blind(SimulatedDisk);

impl Disk for Blind {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

#[tokio::test]
async fn running_out_of_room_within_a_commit_undoes_it() {
    let disk = SimulatedDisk::new(1);
    let store = RedbStore::open_on(Arc::new(Blind(disk.clone())), "simulated", RedbConfig::default()).unwrap();
    let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
    disk.set_capacity(disk.used_bytes() + MIB);
    let mut written = 0;
    while put(&store, &format!("key-{written:04}"), vec![7; 20_000]).await.is_ok() {
        written += 1;
    }
    for _ in 0..3 {
        assert!(matches!(put(&store, "more", vec![7; 20_000]).await, Err(Error::Full)));
        assert_eq!(store.range(Range::all(), None, None).await.unwrap().records.len(), written);
        assert_eq!(store.revision().await.unwrap(), Revision(written as u64));
    }
    disk.set_capacity(u64::MAX);
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = put(&store, "more", vec![7; 20_000]).await {
        assert!(matches!(error, Error::Full) && Instant::now() < deadline, "{error}");
    }
    let mut revisions = Vec::new();
    while revisions.len() <= written {
        revisions.extend(watch.next().await.unwrap().unwrap().events.iter().map(|event| event.revision().0));
    }
    assert_eq!(revisions, (1..=written as u64 + 1).collect::<Vec<_>>());
    let before = everything(&store).await;
    drop(store);
    disk.restart();
    assert_eq!(everything(&open_on(&disk).unwrap()).await, before);
}

#[tokio::test]
async fn a_store_opens_on_a_full_disk_to_be_read() {
    let disk = SimulatedDisk::new(1);
    let store = open_on(&disk).unwrap();
    fill(&store).await;
    let before = everything(&store).await;
    disk.cut_power();
    drop(store);
    disk.restart();
    disk.set_capacity(0);
    disk.fail_after(0, DiskFault::Errors(u32::MAX));
    let store = open_on(&disk).unwrap();
    assert_eq!(everything(&store).await, before);
    assert!(put(&store, "more", "").await.is_err());
    disk.heal();
    disk.set_capacity(u64::MAX);
    let deadline = Instant::now() + Duration::from_secs(10);
    while put(&store, "more", "").await.is_err() {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn failed_reads_are_tried_again_on_a_fresh_database() {
    let disk = SimulatedDisk::new(1);
    let store = open_on(&disk).unwrap();
    fill(&store).await;
    let before = everything(&store).await;
    drop(store);
    let config = RedbConfig { cache_bytes: 0, ..RedbConfig::default() };
    let store = RedbStore::open_on(Arc::new(disk.clone()), "simulated", config).unwrap();
    for _ in 0..3 {
        disk.fail_reads(1);
        assert!(store.get(b"key-1").await.unwrap().0.is_some());
        disk.fail_reads(1);
        assert_eq!(everything(&store).await, before);
    }
    put(&store, "next", "").await.unwrap();
}

#[tokio::test]
async fn writes_that_nobody_waits_for_are_whole_or_not_there() {
    let disk = SimulatedDisk::new(1);
    let store = Arc::new(open_on(&disk).unwrap());
    for round in 0..50 {
        let mut writes = JoinSet::new();
        for number in 0..4 {
            let store = Arc::clone(&store);
            writes.spawn(async move { put(&*store, &format!("{round}-{number}"), vec![7; 1000]).await });
        }
        tokio::task::yield_now().await;
        writes.abort_all();
    }
    put(&*store, "last", "").await.unwrap();
    let page = store.range(Range::all(), None, None).await.unwrap();
    let mut revisions: Vec<_> = page.records.iter().map(|record| record.modified.0).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=page.revision.0).collect::<Vec<_>>());
}

/// Writes `writes` values over a few keys from many tasks, and returns the largest that the file ever was.
async fn churn(store: &Arc<RedbStore>, tasks: usize, writes: usize, value_bytes: usize) -> u64 {
    let mut writers = JoinSet::new();
    for task in 0..tasks {
        let store = Arc::clone(store);
        writers.spawn(async move {
            let key = format!("key-{task}");
            let mut at = put(&*store, &key, "").await.unwrap();
            let mut largest = 0;
            for number in 0..writes / tasks {
                at = store.write(Write::update(key.clone(), at, vec![number as u8; value_bytes])).await.unwrap();
                if number % 32 == 0 {
                    largest = store.usage().await.unwrap().disk_bytes.max(largest);
                }
            }
            largest
        });
    }
    writers.join_all().await.into_iter().max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_file_stay_bounded() {
    let (_folder, path) = store_path();
    let store = Arc::new(open(&path).unwrap());
    let shutdown = CancellationToken::new();
    let policy = Policy { events_max: 2000, check_interval: Duration::from_millis(20), ..Policy::default() };
    let compacting = tokio::spawn(compactor::run(Arc::clone(&store) as _, policy, shutdown.clone()));
    let largest = churn(&store, 250, 100_000, 256).await;
    assert!(largest < 32 * MIB, "{largest}");
    shutdown.cancel();
    compacting.await.unwrap();
    store.compact(store.revision().await.unwrap()).await.unwrap();
    let usage = store.usage().await.unwrap();
    assert_eq!((usage.records, usage.history_events, usage.history_bytes), (250, 0, 0));
    assert_eq!(usage.newest, Revision(100_250));
    drop(store);
    let closed = std::fs::metadata(&path).unwrap().len();
    // The records are 64 kB; what is more is how redb happened to have divided the file.
    assert!(closed < 4 * MIB, "{closed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sparse_file_is_packed() {
    let (_folder, path) = store_path();
    let store = Arc::new(open(&path).unwrap());
    let largest = churn(&store, 8, 800, 50_000).await;
    assert!(largest > 32 * MIB, "{largest}");
    store.compact(store.revision().await.unwrap()).await.unwrap();
    let usage = store.usage().await.unwrap();
    assert!(usage.disk_bytes < 8 * MIB, "{usage:?}");
    assert_eq!(store.range(Range::all(), None, None).await.unwrap().records.len(), 8);
}

#[tokio::test]
async fn one_commit_takes_what_is_waiting() {
    let disk = SimulatedDisk::new(1);
    let store = open_on(&disk).unwrap();
    let writes = (0..300).map(|number| store.write(Write::create(format!("key-{number:03}"), "value")));
    let mut revisions: Vec<u64> = join_all(writes).await.into_iter().map(|written| written.unwrap().0).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=300).collect::<Vec<_>>());
    assert!(disk.syncs() < 100, "{} syncs", disk.syncs());
}
