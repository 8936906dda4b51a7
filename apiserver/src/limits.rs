//! Every bound of the API server, in one place. What lies behind a bound is said with it, and so is what happens when
//! it is reached.

use std::time::Duration;

/// Bytes of a request body; a longer one is answered 413. Source: upstream's `MaxRequestBodyBytes`.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Bytes of a body from which on its request has a thread of its own: what is done with so much takes milliseconds.
pub const LARGE_BODY_BYTES: u64 = 64 * 1024;

/// Bytes of a body that nobody wants, because it is too long or its request is refused, which are read all the same, and
/// dropped, so that its sender sees the answer; and how long that may take. Who sends more, or slower, is cut off.
pub const DRAINED_BYTES_MAX: usize = 64 * 1024 * 1024;
pub const DRAINED_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of the bodies that have come in part, of all connections together; the request that goes beyond is answered
/// 429. What comes slowly holds nothing but what has come.
pub const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of a request's headers; more ends the connection (HTTP/1: 431).
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a path with its query; a longer one is answered 414.
pub const URI_BYTES_MAX: usize = 16 * 1024;

/// How long a TLS handshake may take before the connection is dropped.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take to send the headers of a request, counted from the end of the one before: also how
/// long an HTTP/1 connection may be idle.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a request may take, from its headers to the start of its answer, unless it is a watch or a log: 504 after.
/// Source: upstream's `--request-timeout`.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may leave what was sent to it unread before the connection is dropped.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How often an HTTP/2 connection is asked whether it is still there, and how long it has to answer.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
pub const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests in progress on one HTTP/2 connection; a client waits with more. An informer holds one for each kind.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1_000;

/// Connections in all; a further one waits to be accepted.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Requests in progress that read, and that write; a further one waits for its user's turn. Watches and logs are not
/// among them, nor is what comes over the in-process transport. A request is in progress once its body is there: slow
/// clients take no places. Source: upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`.
pub const READS_IN_FLIGHT_MAX: usize = 400;
pub const WRITES_IN_FLIGHT_MAX: usize = 200;

/// Requests of one user that may wait for their turn; a further one is answered 429 with `Retry-After: 1`.
pub const WAITING_PER_USER_MAX: usize = 1_000;

/// How long a request waits for its turn: 429 after. Source: a quarter of the request timeout, as upstream.
pub const WAITING_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a kubelet may take to say what its pods use, how much it may say, and how many are asked at once for one answer;
/// one that goes beyond is left out.
pub const SUMMARY_TIMEOUT: Duration = Duration::from_secs(5);
pub const SUMMARY_BYTES_MAX: usize = 32 * 1024 * 1024;
pub const SUMMARIES_AT_ONCE: usize = 32;

/// Watches and logs in progress; a further one is answered 429.
pub const STREAMS_MAX: usize = 50_000;

/// Events of one kind that can still be replayed to a watch that starts in the past. A watch from before the oldest is
/// answered 410, and its client lists anew. One costs the bytes of the object as it was then.
pub const RECENT_EVENTS_PER_KIND: usize = 4_096;

/// Bytes of such events, beyond which the oldest go although there are fewer: what an idle cluster keeps after a burst.
pub const RECENT_EVENT_BYTES_PER_KIND: usize = 4 * 1024 * 1024;

/// Changes of all kinds that a server reads again when it starts, so that watches from before it can be resumed.
pub const REPLAYED_EVENTS: u64 = 1_000;

/// Events that may wait for one watcher; a slower one is cut off, and its client resumes or lists anew.
pub const EVENTS_PER_WATCHER_MAX: usize = 4_096;

/// Bytes of a watch's answer that are put together at once.
pub const WATCH_CHUNK_BYTES: usize = 32 * 1024;

/// How often a watch that wants them is told how far it has seen. Source: upstream's `bookmarkFrequency`.
pub const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// How long before its end such a watch gets the last bookmark.
pub const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// How long a watch lives that says nothing of it: between this and its double, so that they do not all end at once.
/// Source: upstream's `--min-request-timeout`.
pub const WATCH_DURATION_MIN: Duration = Duration::from_secs(1_800);

/// How long a read waits until the cache has seen the revision that it asks for: 504 after.
/// Source: upstream's `blockTimeout` of the watch cache.
pub const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(3);

/// How often an unconditional write is tried again when another one comes between: 409 after. Each try that fails
/// means that another writer succeeded, so the bound is on fairness, not on progress.
pub const WRITE_TRIES_MAX: usize = 64;

/// How often a name is made up anew for `generateName` when it is taken: 409 after.
pub const NAME_TRIES_MAX: usize = 8;

/// How long core events are kept. Source: upstream's `--event-ttl`.
pub const EVENT_TTL: Duration = Duration::from_secs(3_600);

/// How often events that are too old are looked for.
pub const EVENT_SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long the connections have to finish when the server stops.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that could not be accepted, for want of descriptors, is waited for.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

const _: () = assert!(BODY_BYTES_MAX < BODIES_BYTES_MAX);
const _: () = assert!(BOOKMARK_BEFORE_END.as_secs() < BOOKMARK_INTERVAL.as_secs());
const _: () = assert!(FRESHNESS_TIMEOUT.as_secs() < REQUEST_TIMEOUT.as_secs());

/// The longest name of a manager of fields, in bytes. Source: upstream's `FieldManagerMaxLength`.
pub const MANAGER_BYTES_MAX: usize = 128;

/// How long the name of a subresource is that a manager wrote. Source: upstream's `MaxSubresourceNameLength`.
pub const MANAGED_SUBRESOURCE_BYTES_MAX: usize = 256;
