//! The store against a model, on a disk that fails, loses and tears writes, and whose power is cut.
//!
//! The model is a list of what was acknowledged. Whatever happens: every acknowledged write is there under its
//! revision, a write that was answered with an I/O error is there wholly or not at all, nothing else is, revisions go
//! on from where they were, and what a watch replays adds up to what is read.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_store::disk::{DiskFault, SimulatedDisk};
use coracle_store::{Batch, Change, Error, Event, Expect, Range, RedbConfig, RedbStore, Revision, Store, Watch, Write};
use futures::StreamExt;
use futures::future::join_all;
use proptest::prelude::*;

/// Longer than anything here takes; a failed wait is a failed test.
const DEADLINE: Duration = Duration::from_secs(20);

/// What is done to the store.
#[derive(Clone, Debug)]
enum Step {
    /// Writes that are asked for at once, so that some of them share a commit.
    Writes(Vec<Wish>),
    /// Compaction up to this part of the history, of 255.
    Compact(u8),
    /// An orderly end and a new start.
    Restart,
    /// From this operation of the disk on, the power is gone.
    CutPower(u8),
    /// From this operation on, a few fail.
    Fail(u8, u8),
}

#[derive(Clone, Debug)]
struct Wish {
    key: u8,
    value_bytes: u16,
    delete: bool,
    /// Whether the writer knows what is there.
    informed: bool,
}

/// One change of a key, with the value that it was given.
type Changed = (Bytes, Option<Bytes>);

struct World {
    disk: SimulatedDisk,
    store: Option<RedbStore>,
    /// Watches everything from the start of the store on, or from its last restart.
    watch: Option<Watch>,
    watched: Vec<Event>,
    watched_until: Revision,
    /// Every change that is known to have happened.
    log: BTreeMap<Revision, Changed>,
    /// Changes that were answered with an error which leaves them open.
    open: Vec<Changed>,
    compacted: Revision,
    values: u32,
}

impl World {
    async fn new(seed: u64) -> Self {
        let disk = SimulatedDisk::new(seed);
        let mut world = Self {
            disk,
            store: None,
            watch: None,
            watched: Vec::new(),
            watched_until: Revision::ZERO,
            log: BTreeMap::new(),
            open: Vec::new(),
            compacted: Revision::ZERO,
            values: 0,
        };
        world.start().await;
        world
    }

    fn store(&self) -> &RedbStore {
        self.store.as_ref().unwrap()
    }

    fn newest(&self) -> Revision {
        self.log.last_key_value().map_or(Revision::ZERO, |(revision, _)| *revision)
    }

    fn state(&self) -> BTreeMap<Bytes, (Bytes, Revision)> {
        let mut state = BTreeMap::new();
        for (revision, (key, value)) in &self.log {
            match value {
                Some(value) => state.insert(key.clone(), (value.clone(), *revision)),
                None => state.remove(key),
            };
        }
        state
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Writes(wishes) => self.write(wishes).await,
            Step::Compact(part) => self.compact(part).await,
            Step::Restart => self.restart().await,
            Step::CutPower(after) => self.disk.fail_after(after.into(), DiskFault::PowerCut),
            Step::Fail(after, times) => self.disk.fail_after(after.into(), DiskFault::Errors(times.into())),
        }
    }

    async fn write(&mut self, wishes: Vec<Wish>) {
        let state = self.state();
        let writes: Vec<Write> = wishes.into_iter().map(|wish| self.drawn_up(wish, &state)).collect();
        let answers = join_all(writes.iter().map(|write| self.store().write(write.clone()))).await;
        for (write, answer) in writes.into_iter().zip(answers) {
            let value = match write.change {
                Change::Put(value) => Some(value),
                Change::Delete => None,
            };
            match answer {
                Ok(revision) => {
                    let clash = self.log.insert(revision, (write.key, value));
                    assert!(clash.is_none(), "revision {revision} was given twice: {clash:?}");
                }
                Err(Error::Io(_)) => self.open.push((write.key, value)),
                Err(Error::Conflict { .. } | Error::Full) => {}
                Err(other) => panic!("{other}"),
            }
        }
        self.check_or_recover().await;
    }

    fn drawn_up(&mut self, wish: Wish, state: &BTreeMap<Bytes, (Bytes, Revision)>) -> Write {
        self.values += 1;
        let key = Bytes::from(format!("key-{}", wish.key));
        let expect = match state.get(&key) {
            Some((_, modified)) if wish.informed => Expect::At(*modified),
            None if !wish.informed => Expect::At(self.newest()),
            _ => Expect::Absent,
        };
        let value = format!("{:08}", self.values).repeat(1 + usize::from(wish.value_bytes) / 8);
        let change = if wish.delete { Change::Delete } else { Change::Put(value.into()) };
        Write { key, expect, change }
    }

    async fn compact(&mut self, part: u8) {
        let span = self.newest().0.saturating_sub(self.compacted.0);
        let before = Revision(self.compacted.0 + span * u64::from(part) / 255);
        match self.store().compact(before).await {
            Ok(()) => self.compacted = self.compacted.max(before),
            Err(Error::Io(_) | Error::Full) => {}
            Err(other) => panic!("{other}"),
        }
        self.check_or_recover().await;
    }

    async fn restart(&mut self) {
        self.watch = None;
        self.store = None;
        self.recover().await;
    }

    /// The machine goes down and comes back.
    async fn recover(&mut self) {
        self.watch = None;
        self.store = None;
        self.disk.restart();
        self.start().await;
    }

    async fn start(&mut self) {
        let config = RedbConfig { cache_bytes: 64 * 1024, feed_bytes: 8 * 1024 };
        let store = RedbStore::open_on(Arc::new(self.disk.clone()), "simulated", config).expect("a store that opens");
        self.compacted = store.usage().await.unwrap().oldest;
        self.store = Some(store);
        self.begin_to_watch().await.unwrap();
        self.check(true).await.expect("a store that can be read");
        self.open.clear();
    }

    async fn check_or_recover(&mut self) {
        if self.check(false).await.is_err() {
            self.recover().await;
        }
    }

    /// Holds the store against the model. An error if it cannot be read, because its power is cut.
    async fn check(&mut self, restarted: bool) -> Result<(), Error> {
        let page = self.store().range(Range::all(), None, None).await?;
        let oldest = self.store().usage().await?.oldest;
        assert!(oldest >= self.compacted, "what is compacted does not come back");
        self.compacted = oldest;
        let past = self.store().range(Range::all(), Some(oldest), None).await?;
        let events = replay(self.store(), oldest, page.revision).await?;
        self.settle(&events, restarted);
        assert!(page.revision >= self.newest(), "an acknowledged write is lost");
        assert_eq!(page.revision, self.newest(), "a revision came from nowhere");

        let model: Vec<_> = self.state().into_iter().map(|(key, (value, revision))| (key, value, revision)).collect();
        let records = page.records.into_iter().map(|record| (record.key, record.value, record.modified));
        assert_eq!(records.collect::<Vec<_>>(), model);

        let mut replayed: BTreeMap<_, _> = past.records.into_iter().map(|it| (it.key.clone(), it)).collect();
        for event in &events {
            let before = match event.current() {
                Some(record) => replayed.insert(record.key.clone(), record.clone()),
                None => replayed.remove(event.key()),
            };
            assert_eq!(before.as_ref(), event.previous(), "an event knows what was before it");
        }
        let replayed = replayed.into_values().map(|record| (record.key, record.value, record.modified));
        assert_eq!(replayed.collect::<Vec<_>>(), model, "the replay adds up to the state");
        self.check_watch(page.revision).await
    }

    /// Finds each replayed event in the model: acknowledged, or open until now.
    fn settle(&mut self, events: &[Event], restarted: bool) {
        for event in events {
            let change = (event.key().clone(), event.current().map(|record| record.value.clone()));
            if let Some(known) = self.log.get(&event.revision()) {
                assert_eq!(*known, change, "at {}", event.revision());
                continue;
            }
            let found = self.open.iter().position(|open| *open == change);
            let found = found.unwrap_or_else(|| panic!("nobody wrote {event:?} (restarted: {restarted})"));
            self.open.remove(found);
            self.log.insert(event.revision(), change);
        }
    }

    /// The watcher that has been there all the time has seen each change once.
    async fn check_watch(&mut self, revision: Revision) -> Result<(), Error> {
        while self.watched_until < revision {
            let watch = self.watch.as_mut().unwrap();
            match next(watch).await {
                Ok(batch) => {
                    self.watched_until = batch.revision;
                    self.watched.extend(batch.events);
                }
                // It was behind the feed when the log was compacted: it begins again.
                Err(Error::Compacted { .. }) => self.begin_to_watch().await?,
                Err(error) => return Err(error),
            }
        }
        for pair in self.watched.windows(2) {
            assert_eq!(pair[0].revision().next(), pair[1].revision(), "each change once and in order");
        }
        for event in &self.watched {
            assert_eq!(self.log[&event.revision()].1.as_ref(), event.current().map(|record| &record.value));
        }
        Ok(())
    }

    async fn begin_to_watch(&mut self) -> Result<(), Error> {
        self.watch = Some(self.store().watch(Range::all(), self.compacted).await?);
        self.watched_until = self.compacted;
        self.watched.clear();
        Ok(())
    }
}

async fn next(watch: &mut Watch) -> Result<Batch, Error> {
    let batch = tokio::time::timeout(DEADLINE, watch.next()).await;
    batch.expect("a watch that has something to say").expect("a watch without end")
}

async fn replay(store: &RedbStore, after: Revision, until: Revision) -> Result<Vec<Event>, Error> {
    let mut watch = store.watch(Range::all(), after).await?;
    let mut events = Vec::new();
    let mut progress = after;
    while progress < until {
        let batch = next(&mut watch).await?;
        progress = batch.revision;
        events.extend(batch.events);
    }
    Ok(events)
}

fn run(seed: u64, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed).await;
        for step in steps {
            world.take(step).await;
        }
        world.recover().await;
        let next = world.store().write(Write::create("the last", "")).await.unwrap();
        assert_eq!(next, world.newest().next(), "it goes on");
    });
}

fn wish() -> impl Strategy<Value = Wish> {
    (0..6u8, 0..3000u16, prop::bool::weighted(0.25), prop::bool::weighted(0.9))
        .prop_map(|(key, value_bytes, delete, informed)| Wish { key, value_bytes, delete, informed })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(wish(), 1..12).prop_map(Step::Writes),
        2 => any::<u8>().prop_map(Step::Compact),
        1 => Just(Step::Restart),
        3 => (0..30u8).prop_map(Step::CutPower),
        3 => (0..30u8, 1..4u8).prop_map(|(after, times)| Step::Fail(after, times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_and_no_fault_loses_or_tears_a_write(seed: u64, steps in prop::collection::vec(step(), 1..24)) {
        run(seed, steps);
    }
}

/// The same, with a fault at each single operation of a run that has everything in it.
fn with_a_fault_at_each_operation(fault: impl Fn(u8) -> Step) {
    let wishes = |from: u8| {
        (from..from + 4).map(|key| Wish { key: key % 6, value_bytes: 1500, delete: key % 5 == 4, informed: true })
    };
    for at in 0..60 {
        let mut steps = vec![Step::Writes(wishes(0).collect()), fault(at)];
        for from in 1..5 {
            steps.push(Step::Writes(wishes(from).collect()));
        }
        steps.extend([Step::Compact(200), Step::Writes(wishes(3).collect()), Step::Restart]);
        run(at.into(), steps);
    }
}

#[test]
fn the_power_may_go_at_any_operation() {
    with_a_fault_at_each_operation(Step::CutPower);
}

#[test]
fn any_operation_may_fail() {
    with_a_fault_at_each_operation(|at| Step::Fail(at, 1));
}

#[test]
fn any_few_operations_may_fail() {
    with_a_fault_at_each_operation(|at| Step::Fail(at, 3));
}
