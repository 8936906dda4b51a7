//! Every bound of the kubelet, in one place, with its unit and what happens at it.

use std::time::Duration;

use jiff::SignedDuration;

/// Events that may wait for a pod's worker; whoever sends one more waits until the worker has read some.
pub const WORKER_EVENTS_MAX: usize = 32;

/// Status patches under way at once; a worker beyond that waits, and then sends its newest status only.
pub const STATUS_WRITES_MAX: usize = 64;

/// How long a pod that is on its way (its container about to start, or to end) may leave its status unreported: what
/// settles within this time costs one write and not three.
pub const STATUS_SETTLE: Duration = Duration::from_millis(300);

/// How long a pod with which nothing is done stays open to be read. It is packed then, and opened when something happens.
pub const POD_CLOSE: Duration = Duration::from_millis(200);

/// First pause after a status write that failed; doubles up to [`STATUS_RETRY_MAX`].
pub const STATUS_RETRY: Duration = Duration::from_millis(200);
/// Longest pause between two attempts at writing a status.
pub const STATUS_RETRY_MAX: Duration = Duration::from_secs(10);

/// Least pause between two writes of a status that somebody else writes over. Source: kubelet, `syncPeriod` of the
/// status manager.
pub const STATUS_REPEAT: Duration = Duration::from_secs(10);

/// Pause before the second restart of a container; the first is immediate, and each further one doubles it.
/// Source: kubelet, `MaxContainerBackOff` and the initial back-off period.
pub const RESTART_BACKOFF: Duration = Duration::from_secs(10);
/// Longest pause between two restarts, and between two attempts at an image.
pub const RESTART_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long has its back-off forgotten. Source: kubelet, twice the longest back-off.
pub const RESTART_BACKOFF_RESET: Duration = Duration::from_secs(600);
const _: () = assert!(RESTART_BACKOFF_RESET.as_secs() == 2 * RESTART_BACKOFF_MAX.as_secs());

/// Pause between two looks for what former pods left on the disk. Source: kubelet, `ContainerGCPeriod`.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// What a container weighs that asks for no CPU, or for less than this; one that asks for a core weighs 1024.
/// Source: kubelet, `MinShares`.
pub const CPU_WEIGHT_MIN: u32 = 2;

/// How long the mirror of a static pod stays away when it was deleted.
pub const MIRROR_ABSENCE: Duration = Duration::from_secs(1);

/// Largest file that is read as a static pod. Source: kubelet, `maxConfigLength`.
pub const STATIC_POD_BYTES_MAX: u64 = 10 << 20;
/// Pause between two looks at the folder of static pods when nothing is heard of it. Source: kubelet, `fileCheckFrequency`.
pub const STATIC_POD_CHECK: Duration = Duration::from_secs(20);
/// A file that is no pod counts as one that is being written for so long after its last change.
pub const STATIC_POD_SETTLE: Duration = Duration::from_secs(1);
/// How long it may take to tell the API what became of static pods, when the kubelet stops.
pub const STATIC_POD_LAST_WORDS: Duration = Duration::from_secs(2);

/// How long the containers of a pod have that is evicted at once. Source: kubelet, `immediateEvictionGracePeriodSeconds`.
pub const EVICTION_GRACE: Duration = Duration::from_secs(1);

/// How long a guest that was asked to stop may live on after its grace period, at most one kill away.
pub const KILL_WAIT: Duration = Duration::from_secs(2);

/// Largest `.wasm` file taken into the image store; a larger one is refused with this limit in the message.
pub const IMAGE_BYTES_MAX: u64 = 512 << 20;
/// Redirects followed for one `https://` image.
pub const IMAGE_REDIRECTS_MAX: usize = 5;
/// Longest silence of the other side while an image is fetched.
pub const IMAGE_SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often a transfer that broke off is gone on with before the pull has failed; what came is kept for the next pull.
pub const IMAGE_RESUMES_MAX: u32 = 5;
/// Pause before the first of these; each further one is twice as long.
pub const IMAGE_RESUME_PAUSE: Duration = Duration::from_millis(100);
/// Largest manifest or image configuration that is read. Source: the distribution specification asks for 4 MiB.
pub const IMAGE_MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Largest token, error or signature that a registry's answer is read for.
pub const IMAGE_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Most layers of a container image; all together they are bound by [`IMAGE_BYTES_MAX`].
pub const IMAGE_LAYERS_MAX: usize = 128;
/// Most bytes that the layers of a container image may unpack to, and most files in them.
pub const IMAGE_UNPACKED_BYTES_MAX: u64 = 2 * IMAGE_BYTES_MAX;

/// How far back a layer that is compressed with zstd may refer: that much memory goes into reading it. `zstd` itself asks
/// for no more below `--ultra`; a layer that does is refused.
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;
/// See [`IMAGE_UNPACKED_BYTES_MAX`].
pub const IMAGE_FILES_MAX: usize = 20_000;
/// Most credentials that are tried for one image.
pub const IMAGE_CREDENTIALS_MAX: usize = 16;
/// Images fetched at once; further ones wait.
pub const IMAGE_FETCHES_MAX: usize = 4;

/// Share of the disk in use from which unused images are removed, and down to which. Source: kubelet,
/// `imageGCHighThresholdPercent` and `imageGCLowThresholdPercent`.
pub const IMAGE_DISK_HIGH_PERCENT: u64 = 85;
/// See [`IMAGE_DISK_HIGH_PERCENT`].
pub const IMAGE_DISK_LOW_PERCENT: u64 = 80;
const _: () = assert!(IMAGE_DISK_LOW_PERCENT < IMAGE_DISK_HIGH_PERCENT);
/// An image that came so lately is not removed: its pod may be about to start. Source: kubelet, `imageMinimumGCAge`.
pub const IMAGE_AGE_MIN: Duration = Duration::from_secs(120);
/// Pause between two looks at the disk for images.
pub const IMAGE_COLLECT_PERIOD: Duration = Duration::from_secs(60);
/// Pause between two events that say that too little could be removed. Source: kubelet, `ImageGCPeriod`.
pub const IMAGE_COLLECT_EVENTS: Duration = Duration::from_secs(300);
/// How long what came of a broken download is kept.
pub const IMAGE_PART_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Images that a node's status names, the largest first, and names of each. Source: kubelet, `nodeStatusMaxImages` and
/// `MaxNamesPerImageInNodeStatus`.
pub const NODE_STATUS_IMAGES_MAX: usize = 50;
/// See [`NODE_STATUS_IMAGES_MAX`].
pub const NODE_STATUS_IMAGE_NAMES_MAX: usize = 5;

/// Bytes after which a container's log file is rotated. Source: kubelet, `containerLogMaxSize`.
pub const LOG_FILE_BYTES_MAX: u64 = 10 << 20;
/// Files kept of one container instance, the current one among them. Source: kubelet, `containerLogMaxFiles`.
pub const LOG_FILES_MAX: usize = 5;
/// Longest line written as one record; a longer one is split into partial records (`P`). Source: CRI log format.
pub const LOG_LINE_BYTES_MAX: usize = 16 << 10;
/// Log files open at once on this node; one more closes the one that was idle longest.
pub const LOG_FILES_OPEN_MAX: usize = 256;
/// Instances of one container whose logs are kept, the running one among them.
pub const LOG_INSTANCES_MAX: u32 = 2;

/// Writes of a container that may wait for one who is attached to it; who is further behind is let go.
pub const ATTACHED_PIECES_MAX: usize = 256;
/// Pieces of standard input that may wait for a container; then who sends them waits.
pub const STDIN_PIECES_MAX: usize = 4;

/// How often what containers use is looked at: the time over which their use of the CPU is told.
pub const USAGE_INTERVAL: Duration = Duration::from_secs(10);

/// Connections of `exec`, `attach` and `port-forward` at once on this node; one more is answered 429.
pub const STREAMS_MAX: usize = 1024;
/// Bytes of one connection that may wait to be sent; a guest that writes more, or a forwarded port, waits.
pub const STREAM_BYTES_AHEAD_MAX: usize = 256 << 10;
/// Pieces that came for one channel and are not taken yet; then the connection is not read.
pub const STREAM_PIECES_MAX: usize = 16;
/// Bytes that are read at once to be sent on.
pub const STREAM_CHUNK_BYTES: usize = 32 << 10;
/// How long a client may take to open the streams that it asked for. Source: `DefaultStreamCreationTimeout`.
pub const STREAM_CREATION_MAX: Duration = Duration::from_secs(30);
/// How long what is left of a finished command's output may take to be sent.
pub const STREAM_DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long a client that was told of the end may take to close the connection.
pub const STREAM_CLOSE_MAX: Duration = Duration::from_secs(1);
/// How often a client is asked whether it is still there, and how long it may be silent before it counts as gone.
pub const STREAM_PING_INTERVAL: Duration = Duration::from_secs(20);
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(90);
const _: () = assert!(STREAM_SILENCE_MAX.as_secs() > 3 * STREAM_PING_INTERVAL.as_secs());

/// Longest message of a WebSocket; a longer one ends the connection.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest content of a SPDY frame, of data and of everything else; a longer one ends the connection.
pub const SPDY_DATA_BYTES_MAX: usize = 1 << 20;
pub const SPDY_CONTROL_BYTES_MAX: usize = 32 << 10;
/// Headers of one SPDY stream, and their bytes; more end the connection.
pub const SPDY_HEADERS_MAX: usize = 64;
pub const SPDY_HEADERS_BYTES_MAX: usize = 32 << 10;
/// Streams open at once on one SPDY connection; one more is refused.
pub const SPDY_STREAMS_MAX: usize = 512;

/// Ports of one WebSocket that forwards; two channels each, of which there are 255.
pub const FORWARD_PORTS_MAX: usize = 100;
/// Forwarded connections of which one stream of two is there; a further one is not begun.
pub const FORWARD_PAIRS_WAITING_MAX: usize = 64;
/// How long a pod's port may take to accept.
pub const FORWARD_CONNECT_MAX: Duration = Duration::from_secs(10);

/// Copies into and out of containers at once on this node, each with a thread; one more is told so.
pub const TARS_MAX: usize = 16;
/// Longest name or other extension of a member of an archive; a longer one ends the copy.
pub const TAR_EXTENSION_BYTES_MAX: usize = 64 << 10;
/// Folders within each other that are packed; what is deeper is complained of.
pub const TAR_DEPTH_MAX: usize = 64;

/// Lines about instances that are gone or superseded, beside four a pod, before the file of instances is written anew.
pub const INSTANCE_LINES_SPARE_MAX: usize = 4096;

/// Longest `terminated.message`. Source: kubelet, `MaxContainerTerminationMessageLength`.
pub const TERMINATION_MESSAGE_BYTES_MAX: usize = 4096;
/// The end of a log that stands for `terminated.message`. Source: kubelet, `MaxContainerTerminationMessageLogLength`.
pub const TERMINATION_LOG_BYTES_MAX: usize = 2048;
/// The same in lines. Source: kubelet, `MaxContainerTerminationMessageLogLines`.
pub const TERMINATION_LOG_LINES_MAX: u64 = 80;

/// Bytes of one config map or secret volume, all files together.
pub const VOLUME_BYTES_MAX: usize = 4 << 20;

/// A change of a config map, a secret or a pod reaches the files of running pods so long after the watch has told of it,
/// however often it changes meanwhile.
pub const VOLUME_SETTLE: Duration = Duration::from_millis(100);
/// First pause before files that could not be renewed are tried again; doubles up to [`VOLUME_RETRY_MAX`].
pub const VOLUME_RETRY: Duration = Duration::from_millis(500);
/// Longest pause between two attempts at renewing files. Source: kubelet, `exponentialbackoff` of volume operations.
pub const VOLUME_RETRY_MAX: Duration = Duration::from_secs(122);
/// Folders that are counted at once; whoever wants one more counted waits.
pub const VOLUME_WALKS_MAX: usize = 2;

/// Share of its life after which a token is renewed. Source: kubelet, the token manager.
pub const TOKEN_LIFE_PERCENT: i64 = 80;
/// Longest time that a token is used. Source: kubelet, `maxTTL` of the token manager.
pub const TOKEN_USE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// A pod renews up to so much earlier, so that not all do at once. Source: kubelet, `maxJitter` of the token manager.
pub const TOKEN_JITTER: SignedDuration = SignedDuration::from_secs(10);
/// Pause before a token that could not be renewed, and is good still, is asked for again.
pub const TOKEN_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// Bytes of a file that variables are read from; a larger one is not read.
pub const ENV_FILE_BYTES_MAX: u64 = 1 << 20;

/// How long the node's lease lasts, unless it is told otherwise. Source: kubelet, `nodeLeaseDurationSeconds`.
pub const LEASE: Duration = Duration::from_secs(40);
/// A lease is renewed so often before it ends. Source: kubelet, `nodeLeaseRenewIntervalFraction`.
pub const LEASE_RENEWALS: u32 = 4;
/// Least pause between two renewals, however short the lease is.
pub const LEASE_RENEW_MIN: Duration = Duration::from_millis(100);
/// Pause between two looks at the machine's memory and disk.
pub const NODE_STATUS_CHECK: Duration = Duration::from_secs(10);
/// Longest time that an unchanged node status is not written. Source: kubelet, `nodeStatusReportFrequency`.
pub const NODE_STATUS_REPORT: Duration = Duration::from_secs(300);

/// Memory available below which pods are evicted, by default. Source: kubelet, `memory.available<100Mi`.
pub const MEMORY_AVAILABLE_MIN: u64 = 100 << 20;
/// Share of the disk free below which pods are evicted, by default, in hundredths. Source: kubelet,
/// `nodefs.available<10%`.
pub const DISK_AVAILABLE_MIN_PERCENT: f64 = 10.0;
/// Free bytes that are never short by default, whatever share of a large disk they are.
pub const DISK_AVAILABLE_PLENTY: u64 = 4 << 30;
/// Share of the disk's inodes below which pods are evicted, by default, in hundredths. Source: kubelet,
/// `nodefs.inodesFree<5%`.
pub const INODES_FREE_MIN_PERCENT: f64 = 5.0;
/// Free inodes that are never short by default, whatever share of a large disk's they are.
pub const INODES_FREE_PLENTY: u64 = 100_000;
/// How long a pressure condition holds at least. Source: kubelet, `evictionPressureTransitionPeriod`.
pub const PRESSURE_TRANSITION: Duration = Duration::from_secs(300);
/// Pause between two looks at the machine, and at what pods with limits have on the disk. Source: kubelet, the eviction
/// manager's `monitoringInterval`.
pub const EVICTION_PERIOD: Duration = Duration::from_secs(10);
/// How long is waited for an evicted pod to be gone before the machine is looked at again. Source: kubelet,
/// `podCleanupTimeout`.
pub const EVICTION_CLEANUP_MAX: Duration = Duration::from_secs(30);
/// How much later than that it is looked at: the machine's numbers come behind. Source: kubelet, which waits for newer
/// numbers of cadvisor.
pub const EVICTION_SETTLE: Duration = Duration::from_secs(1);

/// Connections that the proxy carries at once for one node; one more is closed at once.
pub const PROXY_CONNECTIONS_MAX: usize = 16_384;
/// Longest wait for one endpoint to accept; then the next one is tried.
pub const PROXY_CONNECT_MAX: Duration = Duration::from_secs(2);
/// Endpoints tried for one connection.
pub const PROXY_ATTEMPTS_MAX: usize = 3;
/// Clients remembered by a service with `sessionAffinity: ClientIP`; the oldest is forgotten beyond that.
pub const PROXY_AFFINITIES_MAX: usize = 10_000;
/// How long connections may go on after the proxy was told to stop.
pub const PROXY_DRAIN: Duration = Duration::from_millis(500);
/// Pause before a port that another process holds is tried again; doubles up to [`PROXY_REBIND_MAX`].
pub const PROXY_REBIND: Duration = Duration::from_secs(1);
/// Longest pause between two attempts at binding a port.
pub const PROXY_REBIND_MAX: Duration = Duration::from_secs(60);
/// Sessions of one UDP port; the idlest is dropped beyond that.
pub const PROXY_UDP_SESSIONS_MAX: usize = 1024;
/// Silence after which a UDP session is forgotten. Source: kube-proxy, `udpIdleTimeout`.
pub const PROXY_UDP_IDLE: Duration = Duration::from_secs(30);

/// Size of a `.wasm` from which its compilation is told in events: smaller ones take no time that anybody would notice.
pub const COMPILE_TOLD_BYTES_MIN: u64 = 1 << 20;

/// How long a pod's first question for a service waits until the services are known.
pub const NAME_WAIT_MAX: Duration = Duration::from_secs(5);
/// Aliases followed for one name, `ExternalName` services above all; there is no address beyond that.
pub const NAME_ALIASES_MAX: usize = 8;
/// How long one name server may take. Source: resolv.conf(5), `timeout`.
pub const NAME_QUERY_WAIT: Duration = Duration::from_secs(5);
/// How often each name server is asked. Source: resolv.conf(5), `attempts`.
pub const NAME_QUERIES_MAX: usize = 2;

/// Most bytes of an answer that an HTTP probe reads. Source: kubelet, `maxRespBodyLength`.
pub const PROBE_BODY_BYTES_MAX: usize = 10 << 10;
/// Requests that one HTTP probe makes at most, when it is sent on. Source: `net/http`, and kubelet's `RedirectChecker`.
pub const PROBE_REDIRECTS_MAX: usize = 10;
