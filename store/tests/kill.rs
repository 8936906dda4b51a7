//! A process that writes, killed with SIGKILL some hundred times at any point, on a real file.
//!
//! The test runs itself again as the writer. The writer reports each write through a pipe once it is acknowledged; after
//! the kill, the store must hold all that was reported, whole, and under the revisions that were reported.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use coracle_store::disk::{Disk, SimulatedDisk};
use coracle_store::{Change, Event, Expect, Range, Record, RedbConfig, RedbStore, Revision, Store, Write};
use futures::StreamExt;
use futures::future::join_all;

const THIS_TEST: &str = "a_killed_writer_loses_nothing_that_it_acknowledged";
/// Set for the writer: where the store is.
const STORE: &str = "CORACLE_STORE_KILL_TEST";
const KILLS: u64 = 200;
const WRITERS: u64 = 6;

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    if let Some(path) = std::env::var_os(STORE) {
        return runtime().block_on(write_forever(Path::new(&path)));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut reported = Reported::default();
    for round in 0..KILLS {
        run_and_kill(&path, round, &mut reported);
        if let Some(left) = copy_of(&path) {
            let store = RedbStore::open_on(Arc::new(left), &path, RedbConfig::default());
            runtime().block_on(check(&store.expect("a store that opens after a kill"), &reported));
        }
    }
    let store = RedbStore::open(&path, RedbConfig::default()).unwrap();
    runtime().block_on(check(&store, &reported));
    assert!(reported.newest > Revision(KILLS), "only {} writes in all", reported.newest);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// What the writers have said.
#[derive(Default)]
struct Reported {
    /// The last number that each wrote, and the revision that it took.
    by_key: BTreeMap<String, (u64, Revision)>,
    newest: Revision,
}

impl Reported {
    /// Takes in a line; `None` if it is none of a writer's, or cut off.
    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.strip_prefix("acknowledged ")?.strip_suffix(" .\n")?.split(' ');
        let key = words.next()?.to_owned();
        let number = words.next()?.parse().unwrap();
        let revision = Revision(words.next()?.parse().unwrap());
        self.by_key.insert(key, (number, revision));
        self.newest = self.newest.max(revision);
        Some(())
    }
}

/// Starts a writer and kills it: some after so many writes, some after so much time, while they may still be opening.
fn run_and_kill(path: &Path, round: u64, reported: &mut Reported) {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS_TEST, "--nocapture"])
        .env(STORE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap());
    let mut line = String::new();
    if round.is_multiple_of(4) {
        std::thread::sleep(Duration::from_micros(round * 7919 % 20_000));
    } else {
        let mut wanted = round * 31 % 16;
        while wanted > 0 && lines.read_line(&mut line).unwrap() > 0 {
            wanted -= u64::from(reported.take(&line).is_some());
            line.clear();
        }
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    loop {
        line.clear();
        if lines.read_line(&mut line).unwrap() == 0 {
            return;
        }
        reported.take(&line);
    }
}

/// What a kill left of the file, if it was there yet, as a disk of its own: so that every writer begins with an unclean
/// file. It is also quicker to open than a file.
fn copy_of(path: &Path) -> Option<SimulatedDisk> {
    let bytes = std::fs::read(path).ok()?;
    let disk = SimulatedDisk::new(0);
    disk.write(0, &bytes).unwrap();
    disk.sync().unwrap();
    Some(disk)
}

async fn check(store: &RedbStore, reported: &Reported) {
    let page = store.range(Range::all(), None, None).await.unwrap();
    assert!(page.revision >= reported.newest, "{} < {}", page.revision, reported.newest);
    let numbers: BTreeMap<String, (u64, Revision)> = page.records.iter().map(read_back).collect();
    for (key, (number, revision)) in &reported.by_key {
        let (found, modified) = numbers.get(key).unwrap_or_else(|| panic!("{key} is gone"));
        assert!(found >= number && modified >= revision, "{key} went back from {number} to {found}");
        assert_eq!(found == number, modified == revision, "{key} has moved");
    }
    check_replay(store, &page.records).await;
}

/// What the log tells adds up to what is there.
async fn check_replay(store: &RedbStore, records: &[Record]) {
    let usage = store.usage().await.unwrap();
    let past = store.range(Range::all(), Some(usage.oldest), None).await.unwrap();
    let mut replayed: BTreeMap<_, _> = past.records.into_iter().map(|record| (record.key.clone(), record)).collect();
    let mut watch = store.watch(Range::all(), usage.oldest).await.unwrap();
    let mut progress = usage.oldest;
    while progress < usage.newest {
        let batch = watch.next().await.unwrap().unwrap();
        for record in batch.events.iter().filter_map(Event::current) {
            assert_eq!(record.modified, progress.next(), "each revision once");
            progress = record.modified;
            replayed.insert(record.key.clone(), record.clone());
        }
    }
    assert_eq!(replayed.into_values().collect::<Vec<_>>(), records);
}

/// The number in a value. Panics if any byte of the value is not of that number.
fn read_back(record: &Record) -> (String, (u64, Revision)) {
    let number = u64::from_le_bytes(record.value[..8].try_into().unwrap());
    assert_eq!(record.value, value(number), "{} is torn", record.key.escape_ascii());
    (String::from_utf8(record.key.to_vec()).unwrap(), (number, record.modified))
}

/// A value of a length and with bytes that follow from its number.
fn value(number: u64) -> Vec<u8> {
    let filler = (0..number * 97 % 5000).map(|at| (number + at) as u8);
    number.to_le_bytes().into_iter().chain(filler).collect()
}

async fn write_forever(path: &Path) {
    let store = RedbStore::open(path, RedbConfig::default()).unwrap();
    join_all((0..WRITERS).map(|writer| write_one_key(&store, writer))).await;
}

async fn write_one_key(store: &RedbStore, writer: u64) {
    let key = format!("writer-{writer}");
    let (mut number, mut expect) = match store.get(key.as_bytes()).await.unwrap().0 {
        Some(record) => (read_back(&record).1.0, Expect::At(record.modified)),
        None => (0, Expect::Absent),
    };
    loop {
        number += 1;
        let write = Write { key: key.clone().into(), expect, change: Change::Put(value(number).into()) };
        let revision = store.write(write).await.unwrap();
        expect = Expect::At(revision);
        // Not `println!`, which the test harness may capture.
        writeln!(std::io::stdout().lock(), "acknowledged {key} {number} {revision} .").unwrap();
        if writer == 0 && number.is_multiple_of(8) {
            store.compact(Revision(revision.0.saturating_sub(100))).await.unwrap();
        }
    }
}
