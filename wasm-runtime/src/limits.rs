//! Every bound of the runtime, with its unit and what happens at it.

use std::time::Duration;

/// Largest `.wasm` that is read. A bigger one is refused before it is parsed.
pub const WASM_BYTES_MAX: u64 = 256 << 20;

/// Size from which a `.wasm` has its initial memory mapped instead of copied.
pub const MAPPED_BYTES_MIN: usize = 1 << 20;

/// Mappings that an instance of a small program takes of those that the kernel allows a process:
/// guard, memory and reservation; guard and stack.
pub const MAPPINGS_PER_INSTANCE: usize = 5;

/// Mappings that a process may have where the kernel does not say.
pub const MAPPINGS_DEFAULT: usize = 65_530;

/// Mappings left for the process itself: its libraries, threads, heap and compiled code.
pub const MAPPINGS_OWN: usize = 4096;

/// Programs smaller than [`MAPPED_BYTES_MIN`] that are compiled at the same time. More wait their turn.
pub const COMPILATIONS_SMALL_MAX: usize = 4;

/// Larger programs that are compiled at the same time. More wait their turn: each already uses every core.
pub const COMPILATIONS_LARGE_MAX: usize = 2;

/// Bytes of the programs that are compiled at the same time, since what the compiler holds grows with them: some 18 bytes
/// for each. A single larger one is compiled alone.
pub const COMPILING_BYTES_MAX: u64 = 64 << 20;

/// Stack of a guest. A deeper recursion traps.
pub const WASM_STACK_BYTES: usize = 512 << 10;

/// Stack on which a guest and the host calls that it makes run. Only touched pages are resident.
pub const FIBER_STACK_BYTES: usize = 1 << 20;

/// What one instance may hold open: files, sockets, streams, header maps. Past it, the guest that
/// opens more traps.
pub const RESOURCES_MAX: usize = 1024;

/// Share of the process' descriptors that its guests may hold together; the rest is for everything else. A guest that opens
/// more traps, and a connection to one is closed.
pub const DESCRIPTORS_GUESTS_PERCENT: usize = 75;

/// Descriptors of a process where the system does not say.
pub const DESCRIPTORS_DEFAULT: usize = 65_536;

/// Host calls between two looks at what a guest holds, and so the descriptors that are taken ahead of it.
pub const DESCRIPTORS_AHEAD: usize = 8;

/// Longest name that can be looked up. Longer ones are no names.
pub const NAME_BYTES_MAX: usize = 253;

/// Random bytes that a guest gets in one call. A guest that asks for more traps.
pub const RANDOM_BYTES_MAX: u64 = 4 << 20;

/// What one call of a component may make the host copy out of it: as much as the container may have memory, between these
/// bounds. A guest that passes more traps.
pub const HOSTCALL_BYTES_MIN: usize = 1 << 20;
/// The upper bound, for containers without a limit too.
pub const HOSTCALL_BYTES_MAX: usize = 128 << 20;

/// Period of the epoch, and so the time within which a spinning guest notices that it is killed.
pub const EPOCH_TICK: Duration = Duration::from_millis(1);

/// Ticks without an executing guest after which the ticker parks.
pub const TICKER_LINGER_TICKS: u32 = 20;

/// Time that a guest executes before it hands its thread to the next one that waits for a turn.
pub const SLICE: Duration = Duration::from_millis(4);

/// Time that a guest executes after a wait before it must take turns, however much its container has used: most requests are
/// answered within it.
pub const BEFORE_TURNS: Duration = Duration::from_millis(1);

/// Time used ahead of the others, while nobody else wanted it, that a container makes up for once they do. The rest is
/// forgiven: it would not execute again until each of them had used as much.
pub const ARREARS_MAX: Duration = Duration::from_millis(8);

/// Time in a [`CPU_PERIOD`] up to which a container counts as interactive: it then runs as soon
/// as it has something to do, ahead of those that take turns.
pub const INTERACTIVE: Duration = Duration::from_millis(20);

/// Period over which `cpu_millis_max` is a budget. What a guest overdraws is taken off the next.
pub const CPU_PERIOD: Duration = Duration::from_millis(100);

/// Weight of a container that names none, and the scale of the others (1024 is one core asked).
pub const CPU_WEIGHT_DEFAULT: u32 = 1024;

/// Niceness of the threads of servers: the control plane in the same process goes first.
pub const SERVERS_NICE: i32 = 5;

/// Niceness of the threads of commands and of the compiler: an answer that somebody waits for goes first.
pub const COMMANDS_NICE: i32 = 15;

/// Threads that block on files for guests. More requests than that wait.
pub const BLOCKING_THREADS_MAX: usize = 64;

/// What a guest may hand to an [`Output`](crate::Output) in one call.
pub const OUTPUT_CHUNK_BYTES: usize = 64 << 10;

/// Length to which the message of a trap is cut.
pub const TRAP_MESSAGE_BYTES_MAX: usize = 2 << 10;

/// Frames kept of a trap's backtrace.
pub const BACKTRACE_FRAMES_MAX: usize = 12;

/// Connections that one container holds open. Further ones wait in the kernel's backlog.
pub const HTTP_CONNECTIONS_MAX: usize = 4096;

/// Requests, and so instances, that one container handles at the same time; fewer if its memory
/// does not suffice for as many. Further ones wait.
pub const HTTP_REQUESTS_MAX: usize = 512;

/// Instances of servers that have their memory and stack from a pool. Further ones at the same time have them from the
/// kernel, which takes longer.
pub const POOLED_INSTANCES_MAX: u32 = 256;

/// Modules and tables in one component that may live in the pool. One with more never does.
pub const POOLED_MODULES_MAX: u32 = 8;
/// The bound of its tables.
pub const POOLED_TABLES_MAX: u32 = 4;

/// Elements of a table in the pool. A guest there cannot grow one further.
pub const POOLED_TABLE_ELEMENTS_MAX: usize = 128 << 10;

/// What a place in the pool keeps of each memory, table and stack for the next one, cleared. The rest goes back to the
/// kernel.
pub const POOLED_RESIDENT_BYTES: usize = 128 << 10;

/// Connections that the kernel accepts for a listener ahead of us.
pub const HTTP_BACKLOG: u32 = 1024;

/// Time in which a client has to send the head of a request.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest head of a request.
pub const HTTP_HEAD_BYTES_MAX: usize = 64 << 10;

/// How long an outgoing request waits for its connection, for its response, and for each part of that, unless the guest
/// says otherwise.
pub const HTTP_OUTGOING_TIMEOUT: Duration = Duration::from_secs(600);

/// Instances of a guest that can be used again (`wasi:http@0.3`) kept for the next request. Further ones are dropped.
pub const HTTP_IDLE_INSTANCES_MAX: usize = 4;

/// Requests that such an instance handles, one after the other, before a fresh one takes its place.
pub const HTTP_INSTANCE_REQUESTS_MAX: u32 = 128;

/// Connections without a socket that wait for one container; one more is told to use a socket.
pub const HTTP_DOOR_MAX: usize = 4;

/// Bytes of such a connection that wait in each direction; then the writer does.
pub const HTTP_DOOR_BYTES: usize = 16 << 10;

const _: () = {
    assert!(WASM_STACK_BYTES * 2 <= FIBER_STACK_BYTES, "host calls need room below the guest");
    assert!(SLICE.as_millis() >= EPOCH_TICK.as_millis(), "a slice is measured in ticks");
    assert!(BEFORE_TURNS.as_millis() >= EPOCH_TICK.as_millis(), "time is looked at once a tick");
    assert!(ARREARS_MAX.as_millis() > SLICE.as_millis(), "who has just had a slice goes behind those who have not");
    assert!(INTERACTIVE.as_millis() < CPU_PERIOD.as_millis(), "a spinning guest must take turns");
    assert!(HTTP_REQUESTS_MAX <= HTTP_CONNECTIONS_MAX, "an idle connection runs no request");
};
