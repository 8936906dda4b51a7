//! Makes few events of many occurrences. Pure.
//!
//! Three rules, each by its own memory: an object that has too much happening to it is not told about any more (one
//! event each [`SPAM_REFILL`] after the first [`SPAM_BURST`]); occurrences that differ in their message only are put
//! together once there were [`SIMILAR_MAX`] in [`SIMILAR_WINDOW`]; and the same again is a count in the event that is
//! there. Source: client-go's `EventCorrelator`.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Occurrence;

const SPAM_BURST: f64 = 25.0;
const SPAM_REFILL: Duration = Duration::from_secs(300);
const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);

/// How many of each kind of memory are kept. Past it the oldest are forgotten, and their next occurrence is a new event.
const MEMORIES_MAX: usize = 4096;

/// What is to be done about an occurrence.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Create(Event),
    /// It has happened before: apply `patch` to the event, or create `event` if it is there no more.
    Count {
        event: Event,
        patch: Value,
    },
    Drop,
}

pub(super) struct Correlator {
    source: EventSource,
    spam: Memory<Subject, Bucket>,
    similar: Memory<Group, Similar>,
    seen: Memory<(Group, String), Seen>,
    /// The time in the name of an object's last event, which must not occur twice.
    named: Memory<Option<String>, i128>,
}

/// The object that an event is about.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Subject {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    field_path: Option<String>,
}

/// What makes two occurrences similar.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Group {
    subject: Subject,
    r#type: &'static str,
    reason: String,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

struct Similar {
    messages: HashSet<String>,
    last: Instant,
}

struct Seen {
    name: String,
    first: Timestamp,
    count: i32,
}

impl Correlator {
    pub(super) fn new(component: &str, host: Option<&str>) -> Self {
        let source = EventSource { component: Some(component.into()), host: host.map(str::to_owned) };
        Self { source, spam: Memory::new(), similar: Memory::new(), seen: Memory::new(), named: Memory::new() }
    }

    pub(super) fn observe(&mut self, mut occurrence: Occurrence, now: Instant) -> Verdict {
        let group = Group::of(&occurrence);
        let mut identity = occurrence.message.clone();
        if self.is_one_of_many(&group, &occurrence.message, now) {
            occurrence.message = format!("(combined from similar events): {}", occurrence.message);
            identity = String::new();
        }
        if self.is_spam(&group.subject, now) {
            return Verdict::Drop;
        }
        self.count((group, identity), &occurrence)
    }

    fn is_spam(&mut self, subject: &Subject, now: Instant) -> bool {
        let bucket = self.spam.entry(subject, || Bucket { tokens: SPAM_BURST, filled: now });
        let refilled = (now - bucket.filled).as_secs_f64() / SPAM_REFILL.as_secs_f64();
        bucket.tokens = (bucket.tokens + refilled).min(SPAM_BURST);
        bucket.filled = now;
        let spam = bucket.tokens < 1.0;
        if !spam {
            bucket.tokens -= 1.0;
        }
        spam
    }

    fn is_one_of_many(&mut self, group: &Group, message: &str, now: Instant) -> bool {
        let similar = self.similar.entry(group, || Similar { messages: HashSet::new(), last: now });
        if now - similar.last > SIMILAR_WINDOW {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(message.to_owned());
        }
        similar.messages.len() >= SIMILAR_MAX
    }

    fn count(&mut self, identity: (Group, String), occurrence: &Occurrence) -> Verdict {
        let name = self.name(occurrence);
        let seen = self.seen.entry(&identity, || Seen { name, first: occurrence.at, count: 0 });
        seen.count += 1;
        let event = event(&self.source, seen, occurrence);
        if seen.count == 1 {
            return Verdict::Create(event);
        }
        let patch = json!({
            "count": seen.count,
            "lastTimestamp": event.last_timestamp,
            "message": occurrence.message,
        });
        Verdict::Count { event, patch }
    }

    fn name(&mut self, occurrence: &Occurrence) -> String {
        let name = &occurrence.regarding.name;
        let last = self.named.entry(name, || 0);
        *last = occurrence.at.as_nanosecond().max(*last + 1);
        format!("{}.{last:x}", name.as_deref().unwrap_or_default())
    }
}

fn event(source: &EventSource, seen: &Seen, occurrence: &Occurrence) -> Event {
    let seconds = |at: Timestamp| Time(Timestamp::from_second(at.as_second()).unwrap_or(at));
    let regarding = &occurrence.regarding;
    Event {
        metadata: ObjectMeta {
            name: Some(seen.name.clone()),
            // Events of cluster-scoped objects live in `default`.
            namespace: Some(regarding.namespace.clone().filter(|ns| !ns.is_empty()).unwrap_or("default".into())),
            ..ObjectMeta::default()
        },
        involved_object: regarding.clone(),
        reason: Some(occurrence.reason.clone()),
        message: Some(occurrence.message.clone()),
        source: Some(source.clone()),
        first_timestamp: Some(seconds(seen.first)),
        last_timestamp: Some(seconds(occurrence.at)),
        count: Some(seen.count),
        type_: Some(occurrence.r#type.as_str().into()),
        reporting_component: source.component.clone(),
        reporting_instance: Some(source.host.clone().unwrap_or_default()),
        ..Event::default()
    }
}

impl Subject {
    fn of(reference: &ObjectReference) -> Self {
        Self {
            kind: reference.kind.clone(),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
            uid: reference.uid.clone(),
            field_path: reference.field_path.clone(),
        }
    }
}

impl Group {
    fn of(occurrence: &Occurrence) -> Self {
        Self {
            subject: Subject::of(&occurrence.regarding),
            r#type: occurrence.r#type.as_str(),
            reason: occurrence.reason.clone(),
        }
    }
}

/// A map that forgets: two generations, of which the elder is dropped when the younger is full.
struct Memory<I, V> {
    young: HashMap<I, V>,
    old: HashMap<I, V>,
}

impl<I: Clone + Eq + Hash, V> Memory<I, V> {
    fn new() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }

    fn entry(&mut self, id: &I, new: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(id) && self.young.len() >= MEMORIES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        self.young.entry(id.clone()).or_insert_with(|| old.remove(id).unwrap_or_else(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventType;

    fn occurrence(name: &str, message: &str) -> Occurrence {
        Occurrence {
            regarding: ObjectReference {
                kind: Some("Pod".into()),
                namespace: Some("default".into()),
                name: Some(name.into()),
                ..ObjectReference::default()
            },
            r#type: EventType::Normal,
            reason: "Pulled".into(),
            message: message.into(),
            at: "2026-01-01T00:00:00.5Z".parse().expect("a timestamp"),
            told: Instant::now(),
        }
    }

    fn told(verdict: Verdict) -> String {
        match verdict {
            Verdict::Create(event) => format!("+{}", event.message.unwrap_or_default()),
            Verdict::Count { patch, .. } => format!("{}x{}", patch["count"], patch["message"]),
            Verdict::Drop => "dropped".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_again_is_counted() {
        let (mut correlator, now) = (Correlator::new("kubelet", Some("node-1")), Instant::now());
        let Verdict::Create(event) = correlator.observe(occurrence("web", "image is there"), now) else {
            panic!("the first is created")
        };
        assert!(event.metadata.name.as_deref().is_some_and(|name| name.starts_with("web.18")), "{event:?}");
        assert_eq!(event.first_timestamp.map(|t| t.0.to_string()).as_deref(), Some("2026-01-01T00:00:00Z"));
        assert_eq!(told(correlator.observe(occurrence("web", "image is there"), now)), "2x\"image is there\"");
        assert_eq!(told(correlator.observe(occurrence("web", "another"), now)), "+another");
        assert_eq!(told(correlator.observe(occurrence("db", "another"), now)), "+another");
    }

    #[tokio::test(start_paused = true)]
    async fn similar_ones_are_combined_and_then_too_many_are_dropped() {
        let (mut correlator, mut now) = (Correlator::new("kubelet", None), Instant::now());
        let seen: Vec<_> =
            (1..=26).map(|n| told(correlator.observe(occurrence("web", &format!("try {n}")), now))).collect();
        assert_eq!(seen[8], "+try 9");
        assert_eq!(seen[9], "+(combined from similar events): try 10");
        assert_eq!(seen[10], "2x\"(combined from similar events): try 11\"");
        assert_eq!(seen[24], "16x\"(combined from similar events): try 25\"");
        assert_eq!(seen[25], "dropped");
        now += 2 * SPAM_REFILL;
        assert_eq!(
            told(correlator.observe(occurrence("web", "late"), now)),
            "17x\"(combined from similar events): late\""
        );
    }

    #[test]
    fn names_differ_even_at_one_instant() {
        let mut correlator = Correlator::new("kubelet", None);
        let names: HashSet<_> = (0..100).map(|_| correlator.name(&occurrence("web", ""))).collect();
        assert_eq!(names.len(), 100);
    }

    #[test]
    fn memory_is_bounded_and_keeps_what_is_used() {
        let mut memory = Memory::new();
        for n in 0..10 * MEMORIES_MAX {
            *memory.entry(&0, || 0) += 1;
            memory.entry(&n, || 0);
        }
        assert!(memory.young.len() + memory.old.len() <= MEMORIES_MAX);
        assert_eq!(*memory.entry(&0, || 0), 10 * MEMORIES_MAX);
    }
}
