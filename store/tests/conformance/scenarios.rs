//! What every store does. Each scenario begins with an empty one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_store::{Batch, Change, Error, Event, Expect, Range, Record, Revision, Store, Usage, Watch, Write, limits};
use futures::{FutureExt, StreamExt};
use tokio::task::JoinSet;

/// Longer than anything here takes; a failed wait is a failed test.
const DEADLINE: Duration = Duration::from_secs(20);

type AnyStore = Arc<dyn Store>;

async fn put(store: &AnyStore, key: &str, value: &str) -> Revision {
    let key = Bytes::copy_from_slice(key.as_bytes());
    let (current, _) = store.get(&key).await.unwrap();
    let expect = current.map_or(Expect::Absent, |record| Expect::At(record.modified));
    let change = Change::Put(Bytes::copy_from_slice(value.as_bytes()));
    store.write(Write { key, expect, change }).await.unwrap()
}

async fn delete(store: &AnyStore, key: &str) -> Revision {
    let (current, _) = store.get(key.as_bytes()).await.unwrap();
    store.write(Write::delete(key.to_owned(), current.unwrap().modified)).await.unwrap()
}

/// "key=value@modified" of every record.
fn shown(records: &[Record]) -> Vec<String> {
    let show = |record: &Record| {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        format!("{}={}@{}", text(&record.key), text(&record.value), record.modified)
    };
    records.iter().map(show).collect()
}

async fn read(store: &AnyStore, at: Option<Revision>) -> Vec<String> {
    shown(&store.range(Range::all(), at, None).await.unwrap().records)
}

async fn next(watch: &mut Watch) -> Result<Batch, Error> {
    tokio::time::timeout(DEADLINE, watch.next()).await.expect("a batch in time").expect("a watch without end")
}

/// Events until the watch has come as far as `revision`. Fails if they are not in order, or the progress is not true.
async fn events_until(watch: &mut Watch, revision: Revision) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut progress = Revision::ZERO;
    while progress < revision {
        let batch = next(watch).await.unwrap();
        assert!(batch.revision >= progress, "progress goes forward");
        assert!(batch.events.iter().all(|event| event.revision() > progress), "nothing comes after its progress");
        assert!(batch.events.iter().all(|event| event.revision() <= batch.revision), "progress covers the events");
        progress = batch.revision;
        events.extend(batch.events);
    }
    assert!(events.is_sorted_by_key(Event::revision));
    events
}

fn revisions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.revision().0).collect()
}

pub async fn revisions_number_the_writes(store: AnyStore) {
    assert_eq!(store.revision().await.unwrap(), Revision::ZERO);
    for number in 1..=5 {
        assert_eq!(put(&store, "a", &number.to_string()).await, Revision(number));
    }
    let refused = store.write(Write::create("a", "again")).await;
    assert!(matches!(refused, Err(Error::Conflict { .. })));
    assert_eq!(store.revision().await.unwrap(), Revision(5), "a refused write takes no revision");
    assert_eq!(put(&store, "b", "1").await, Revision(6));
}

pub async fn a_write_goes_ahead_only_as_expected(store: AnyStore) {
    put(&store, "there", "1").await;
    let there = store.get(b"there").await.unwrap().0;
    let put = || Change::Put(Bytes::from_static(b"new"));
    let table = [
        ("there", Expect::Absent, put(), there.clone()),
        ("there", Expect::At(Revision(7)), put(), there.clone()),
        ("there", Expect::At(Revision::ZERO), put(), there.clone()),
        ("there", Expect::At(Revision(7)), Change::Delete, there.clone()),
        ("there", Expect::Absent, Change::Delete, there.clone()),
        ("gone", Expect::At(Revision(1)), put(), None),
        ("gone", Expect::At(Revision(1)), Change::Delete, None),
        ("gone", Expect::Absent, Change::Delete, None),
    ];
    for (key, expect, change, found) in table {
        let answer = store.write(Write { key: key.into(), expect, change: change.clone() }).await;
        let Err(Error::Conflict { key: named, current }) = answer else { panic!("{key} {expect:?} {change:?}") };
        assert_eq!((named, current), (Bytes::from(key), found), "{expect:?} {change:?}");
    }
    assert_eq!(read(&store, None).await, ["there=1@1"]);
    assert_eq!(store.write(Write::update("there", Revision(1), "2")).await.unwrap(), Revision(2));
    assert_eq!(store.write(Write::create("gone", "1")).await.unwrap(), Revision(3));
    assert_eq!(read(&store, None).await, ["gone=1@3", "there=2@2"]);
}

pub async fn a_deletion_takes_a_revision(store: AnyStore) {
    put(&store, "a", "1").await;
    assert_eq!(delete(&store, "a").await, Revision(2));
    assert_eq!(store.get(b"a").await.unwrap(), (None, Revision(2)));
    assert_eq!(read(&store, Some(Revision(1))).await, ["a=1@1"]);
    assert!(read(&store, Some(Revision(2))).await.is_empty());
}

pub async fn a_key_that_is_put_again_is_created_anew(store: AnyStore) {
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    let (record, _) = store.get(b"a").await.unwrap();
    assert_eq!(record.map(|record| (record.created, record.modified)), Some((Revision(1), Revision(2))));
    delete(&store, "a").await;
    put(&store, "a", "3").await;
    let (record, _) = store.get(b"a").await.unwrap();
    assert_eq!(record.map(|record| (record.created, record.modified)), Some((Revision(4), Revision(4))));
}

pub async fn values_and_keys_are_opaque(store: AnyStore) {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let big = vec![0xab; 300_000];
    let keys: [&[u8]; 6] = [b"", b"\0", b"a", b"a\0", b"a\xff", b"\xff\xff"];
    for (key, value) in keys.iter().zip([&every_byte, &Vec::new(), &big, &every_byte, &every_byte, &every_byte]) {
        store.write(Write::create(*key, value.clone())).await.unwrap();
        store.write(Write::delete(*key, store.revision().await.unwrap())).await.unwrap();
        store.write(Write::create(*key, value.clone())).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().0.unwrap().value, value);
    }
    let page = store.range(Range::all(), None, None).await.unwrap();
    assert_eq!(page.records.iter().map(|record| record.key.as_ref()).collect::<Vec<_>>(), keys);
    // Half-way, where the third key is deleted and the later ones are not there yet.
    let page = store.range(Range::all(), Some(Revision(8)), None).await.unwrap();
    assert_eq!(page.records.iter().map(|record| record.key.as_ref()).collect::<Vec<_>>(), keys[..2]);
    let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
    let events = events_until(&mut watch, page.revision).await;
    assert_eq!(events[6].current().unwrap().value, big);
    assert_eq!(events[7].previous().unwrap().value, big);
}

pub async fn what_is_too_long_is_refused(store: AnyStore) {
    let key = vec![b'k'; limits::KEY_BYTES_MAX];
    let value = vec![b'v'; limits::VALUE_BYTES_MAX];
    store.write(Write::create(key.clone(), value.clone())).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().0.unwrap().value, value);
    let longer = |mut bytes: Vec<u8>| {
        bytes.push(b'+');
        bytes
    };
    for write in [Write::create(longer(key), "v"), Write::create("k", longer(value))] {
        assert!(matches!(store.write(write).await, Err(Error::TooLarge { .. })));
    }
}

pub async fn ranges_are_sorted_and_bounded(store: AnyStore) {
    for key in ["b/2", "a", "b/1", "c", "b", "b0", "b/"] {
        put(&store, key, "").await;
    }
    let table = [
        (Range::all(), "a b b/ b/1 b/2 b0 c"),
        (Range::prefix("b/"), "b/ b/1 b/2"),
        (Range::prefix("b/").after(b"b/1"), "b/2"),
        (Range::prefix("b/").after(b"b/2"), ""),
        (Range::prefix("b/").after(b"c"), ""),
        (Range::key("b"), "b"),
        (Range::key("nothing"), ""),
        (Range::from_key("b/2"), "b/2 b0 c"),
        (Range { start: "b".into(), end: Some("b0".into()) }, "b b/ b/1 b/2"),
        (Range { start: "c".into(), end: Some("b".into()) }, ""),
    ];
    put(&store, "a", "moves on, so that the revision before is the past").await;
    for (range, expected) in table {
        for at in [None, Some(Revision(7))] {
            let page = store.range(range.clone(), at, None).await.unwrap();
            let keys: Vec<_> = page.records.iter().map(|record| std::str::from_utf8(&record.key).unwrap()).collect();
            assert_eq!(keys.join(" "), expected, "{range:?} at {at:?}");
            assert_eq!((page.more, page.remaining, page.revision), (false, Some(0), at.unwrap_or(Revision(8))));
        }
    }
}

pub async fn pages_fit_together_while_the_store_moves_on(store: AnyStore) {
    for number in 0..10 {
        put(&store, &format!("key-{number}"), "old").await;
    }
    let whole = read(&store, None).await;
    let mut range = Range::prefix("key-");
    let mut at = None;
    let mut records = Vec::new();
    let mut rounds = 0;
    loop {
        let page = store.range(range.clone(), at, Some(3)).await.unwrap();
        rounds += 1;
        records.extend(page.records.iter().cloned());
        assert_eq!(page.remaining, Some(10 - records.len() as u64));
        assert_eq!(page.more, records.len() < 10);
        assert_eq!(page.revision, Revision(10));
        if !page.more {
            break;
        }
        at = Some(page.revision);
        range = range.after(&page.records.last().unwrap().key);
        // All of this is after the first page, and in none of the others.
        put(&store, &format!("key-{rounds}-new"), "new").await;
        put(&store, "key-9", "changed").await;
        delete(&store, &format!("key-{}", 4 + rounds)).await;
    }
    assert_eq!(rounds, 4);
    assert_eq!(shown(&records), whole);
    let none = store.range(Range::all(), None, Some(0)).await.unwrap();
    assert_eq!((none.records.len(), none.more, none.remaining), (0, true, Some(10)));
}

pub async fn the_past_reads_as_it_was(store: AnyStore) {
    let mut states = vec![Vec::new()];
    for (key, value) in [
        ("b", Some("1")),
        ("a", Some("1")),
        ("b", Some("2")),
        ("b", None),
        ("c", Some("1")),
        ("b", Some("3")),
        ("a", None),
    ] {
        match value {
            Some(value) => put(&store, key, value).await,
            None => delete(&store, key).await,
        };
        states.push(read(&store, None).await);
    }
    for (revision, state) in states.iter().enumerate() {
        assert_eq!(read(&store, Some(Revision(revision as u64))).await, *state, "at {revision}");
    }
}

pub async fn revisions_out_of_reach_are_told(store: AnyStore) {
    for _ in 0..3 {
        put(&store, "a", "1").await;
    }
    store.compact(Revision(2)).await.unwrap();
    let future = |error: Error| matches!(error, Error::Future { requested: Revision(4), current: Revision(3) });
    let compacted = |error: Error| matches!(error, Error::Compacted { requested: Revision(1), oldest: Revision(2) });
    assert!(future(store.range(Range::all(), Some(Revision(4)), None).await.unwrap_err()));
    assert!(future(store.watch(Range::all(), Revision(4)).await.unwrap_err()));
    assert!(future(store.compact(Revision(4)).await.unwrap_err()));
    assert!(compacted(store.range(Range::all(), Some(Revision(1)), None).await.unwrap_err()));
    assert!(compacted(store.watch(Range::all(), Revision(1)).await.unwrap_err()));
    store.compact(Revision(1)).await.expect("what is compacted already is not an error");
}

pub async fn a_watch_tells_what_happened_and_what_happens(store: AnyStore) {
    put(&store, "a", "1").await;
    let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
    put(&store, "a", "2").await;
    delete(&store, "a").await;
    let events = events_until(&mut watch, Revision(3)).await;
    let record = |value: &'static str, modified| Record {
        key: "a".into(),
        value: value.into(),
        created: Revision(1),
        modified: Revision(modified),
    };
    let expected = [
        Event::Put { record: record("1", 1), previous: None },
        Event::Put { record: record("2", 2), previous: Some(record("1", 1)) },
        Event::Delete { previous: record("2", 2), revision: Revision(3) },
    ];
    assert_eq!(events, expected);
    assert!(watch.next().now_or_never().is_none(), "there is no more until something happens");
    put(&store, "a", "3").await;
    assert_eq!(revisions(&events_until(&mut watch, Revision(4)).await), [4]);
}

pub async fn a_watch_goes_on_from_any_revision(store: AnyStore) {
    for number in 1..=20 {
        put(&store, ["a", "b", "c"][number % 3], &number.to_string()).await;
    }
    for after in 0..=20 {
        let mut watch = store.watch(Range::all(), Revision(after)).await.unwrap();
        put(&store, "d", "the next").await;
        let last = store.revision().await.unwrap();
        let events = events_until(&mut watch, last).await;
        assert_eq!(revisions(&events), (after + 1..=last.0).collect::<Vec<_>>());
    }
}

pub async fn a_watch_sees_its_range_only_and_all_of_the_progress(store: AnyStore) {
    let mut watch = store.watch(Range::prefix("pods/"), Revision::ZERO).await.unwrap();
    for key in ["nodes/1", "pods/1", "pods0", "pod", "pods/2", "secrets/1"] {
        put(&store, key, "").await;
    }
    let events = events_until(&mut watch, Revision(6)).await;
    assert_eq!(revisions(&events), [2, 5]);
}

pub async fn a_quiet_watch_hears_of_progress(store: AnyStore) {
    let mut watch = store.watch(Range::prefix("quiet/"), Revision::ZERO).await.unwrap();
    assert!(watch.next().now_or_never().is_none());
    put(&store, "loud/1", "").await;
    assert_eq!(events_until(&mut watch, Revision(1)).await, []);
    assert!(watch.next().now_or_never().is_none());
    put(&store, "loud/2", "").await;
    let revision = store.revision().await.unwrap();
    assert_eq!(events_until(&mut watch, revision).await, []);
}

pub async fn a_slow_watcher_misses_nothing(store: AnyStore) {
    let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
    let value = "v".repeat(8192);
    for number in 0..600 {
        put(&store, &format!("key-{}", number % 7), &value).await;
    }
    let events = events_until(&mut watch, Revision(600)).await;
    assert_eq!(revisions(&events), (1..=600).collect::<Vec<_>>());
    let linked = events.iter().enumerate().all(|(at, event)| {
        let previous = event.previous().map_or(0, |record| record.modified.0);
        previous == (at as u64 + 1).saturating_sub(7)
    });
    assert!(linked, "each event knows the one before of its key");
}

pub async fn every_watcher_sees_every_write_once_under_load(store: AnyStore) {
    const WRITERS: u64 = 16;
    const WRITES: u64 = 40;
    const LAST: Revision = Revision(WRITERS * WRITES);
    let mut watchers = JoinSet::new();
    for _ in 0..4 {
        let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
        watchers.spawn(async move { events_until(&mut watch, LAST).await });
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..WRITES {
                acknowledged.push(put(&store, &format!("writer-{writer}"), &number.to_string()).await);
            }
            (format!("writer-{writer}"), acknowledged)
        });
    }
    let acknowledged = writers.join_all().await;
    assert!(acknowledged.iter().all(|(_, revisions)| revisions.is_sorted()));
    let mut every_revision: Vec<_> = acknowledged.iter().flat_map(|(_, revisions)| revisions.clone()).collect();
    every_revision.sort_unstable();
    assert_eq!(every_revision, (1..=LAST.0).map(Revision).collect::<Vec<_>>(), "one write, one revision");
    for events in watchers.join_all().await {
        assert_eq!(revisions(&events), (1..=LAST.0).collect::<Vec<_>>());
        for (key, acknowledged) in &acknowledged {
            let of_key = events.iter().filter(|event| event.key() == key.as_bytes());
            assert_eq!(of_key.map(Event::revision).collect::<Vec<_>>(), *acknowledged, "{key}");
        }
    }
}

pub async fn of_racing_writers_one_wins(store: AnyStore) {
    for round in 0..20 {
        let mut expect = Expect::Absent;
        if round > 0 {
            expect = Expect::At(store.get(b"key").await.unwrap().0.unwrap().modified);
        }
        let mut racers = JoinSet::new();
        for racer in 0..8 {
            let store = Arc::clone(&store);
            let change = Change::Put(format!("{round}-{racer}").into());
            racers.spawn(async move { (racer, store.write(Write { key: "key".into(), expect, change }).await) });
        }
        let results = racers.join_all().await;
        let won: Vec<_> = results.iter().filter(|(_, result)| result.is_ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        let (winner, revision) = (won[0].0, *won[0].1.as_ref().unwrap());
        let now = store.get(b"key").await.unwrap().0.unwrap();
        assert_eq!((now.value, now.modified), (Bytes::from(format!("{round}-{winner}")), revision));
        for (_, lost) in results.into_iter().filter(|(_, result)| result.is_err()) {
            let Err(Error::Conflict { current: Some(current), .. }) = lost else { panic!("{lost:?}") };
            assert_eq!(current.modified, revision, "who lost is told to whom");
        }
    }
}

pub async fn compaction_forgets_the_past_and_nothing_else(store: AnyStore) {
    for number in 1..=30 {
        put(&store, ["a", "b", "c"][number % 3], &number.to_string()).await;
    }
    delete(&store, "c").await;
    let states = {
        let mut states = Vec::new();
        for revision in 20..=31 {
            states.push((Revision(revision), read(&store, Some(Revision(revision))).await));
        }
        states
    };
    for before in [1, 7, 7, 20] {
        store.compact(Revision(before)).await.unwrap();
        assert!(read_fails(&store, before - 1).await);
        for (revision, state) in &states {
            assert_eq!(read(&store, Some(*revision)).await, *state, "at {revision} after compaction to {before}");
        }
        let mut watch = store.watch(Range::all(), Revision(before)).await.unwrap();
        let events = events_until(&mut watch, Revision(31)).await;
        assert_eq!(revisions(&events), (before + 1..=31).collect::<Vec<_>>());
        assert!(events.iter().skip(3).all(|event| event.previous().is_some()));
    }
    store.compact(Revision(31)).await.unwrap();
    assert_eq!(read(&store, None).await, states.last().unwrap().1);
    assert_eq!(put(&store, "d", "").await, Revision(32), "the clock goes on");
}

async fn read_fails(store: &AnyStore, at: u64) -> bool {
    matches!(store.range(Range::all(), Some(Revision(at)), None).await, Err(Error::Compacted { .. }))
}

pub async fn a_compacted_watch_says_so(store: AnyStore) {
    let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
    for number in 1..=3 {
        put(&store, "a", &number.to_string()).await;
    }
    store.compact(Revision(3)).await.unwrap();
    // A backend that still has the events in memory may tell them; none may leave any out.
    match next(&mut watch).await {
        Ok(batch) => assert_eq!(revisions(&batch.events), [1, 2, 3]),
        Err(Error::Compacted { requested: Revision::ZERO, oldest: Revision(3) }) => {
            assert!(watch.next().await.is_none(), "the error is the last item");
        }
        Err(other) => panic!("{other}"),
    }
}

pub async fn usage_counts_what_is_held(store: AnyStore) {
    assert_eq!(Usage { disk_bytes: 0, ..store.usage().await.unwrap() }, Usage::default());
    put(&store, "a", "12345").await;
    put(&store, "b", "1").await;
    put(&store, "a", "123").await;
    delete(&store, "b").await;
    let usage = store.usage().await.unwrap();
    assert_eq!((usage.records, usage.record_bytes), (1, 4));
    assert_eq!((usage.oldest, usage.newest, usage.history_events), (Revision::ZERO, Revision(4), 4));
    assert!(usage.history_bytes >= 8, "{usage:?}");
    store.compact(Revision(4)).await.unwrap();
    let usage = store.usage().await.unwrap();
    assert_eq!((usage.records, usage.record_bytes), (1, 4));
    assert_eq!((usage.oldest, usage.history_events, usage.history_bytes), (Revision(4), 0, 0));
}

pub async fn a_dropped_store_ends_its_watches(store: AnyStore) {
    let mut watch = store.watch(Range::all(), Revision::ZERO).await.unwrap();
    put(&store, "a", "1").await;
    drop(store);
    loop {
        match next(&mut watch).await {
            Ok(batch) => assert_eq!(revisions(&batch.events), [1]),
            Err(error) => break assert!(matches!(error, Error::Closed), "{error}"),
        }
    }
    assert!(watch.next().await.is_none());
}
