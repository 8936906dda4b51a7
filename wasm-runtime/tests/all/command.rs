//! Commands that behave: what they are granted, what they say, how they end.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use coracle_runtime::{Capture, ContainerSpec, ExecSpec, Exit, Mount, Output, Runtime, StartError, Stdin, Stop};
use tokio::sync::Notify;

use crate::guest::{self, captured, load, p1, run, runtime, spawn, start};

const HELLO: &str = r#"(data (i32.const 1024) "hello\n")
    (func (export "_start") (call $print (i32.const 1) (i32.const 1024) (i32.const 6)))"#;

#[tokio::test]
async fn prints_and_ends() {
    let (spec, stdout, stderr) = captured();
    assert_eq!(run(p1(HELLO), spec).await, Exit::Code(0));
    assert_eq!((stdout.text().as_str(), stderr.text().as_str()), ("hello\n", ""));
}

#[tokio::test]
async fn runs_on_the_callers_task_too() {
    let runtime = runtime();
    let (spec, stdout, _) = captured();
    let artifact = load(&runtime, p1(HELLO)).await;
    assert_eq!(runtime.run(&artifact, spec).await.unwrap(), Exit::Code(0));
    assert_eq!(stdout.text(), "hello\n");
}

#[tokio::test]
async fn exit_codes_are_the_guests() {
    for (code, exit) in [(0, Exit::Code(0)), (3, Exit::Code(3)), (125, Exit::Code(125))] {
        let wasm = start(&format!("(call $exit (i32.const {code}))"));
        assert_eq!(run(wasm, ContainerSpec::default()).await, exit);
    }
}

#[tokio::test]
async fn a_component_runs_and_its_error_is_code_one() {
    for (result, exit) in [(0, Exit::Code(0)), (1, Exit::Code(1))] {
        let wat = format!(
            r#"(component
                (core module $m (func (export "run") (result i32) (i32.const {result})))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (component $wrap (import "run" (func $run (result (result)))) (export "run" (func $run)))
                (instance $cli (instantiate $wrap (with "run" (func $run))))
                (export "wasi:cli/run@0.2.0" (instance $cli)))"#
        );
        assert_eq!(run(wat::parse_str(wat).unwrap(), ContainerSpec::default()).await, exit);
    }
}

#[tokio::test]
async fn a_reactor_is_initialised_and_says_that_nobody_calls_it() {
    let (spec, stdout, stderr) = captured();
    let reactor = HELLO.replace("_start", "_initialize");
    assert_eq!(run(p1(&reactor), spec).await, Exit::Code(0));
    assert_eq!(stdout.text(), "hello\n");
    assert!(stderr.text().starts_with("a reactor: "), "{}", stderr.text());
    let (spec, stdout, stderr) = captured();
    let both =
        format!(r#"{HELLO} (func (export "_initialize") (call $print (i32.const 1) (i32.const 1024) (i32.const 1)))"#);
    assert_eq!(run(p1(&both), spec).await, Exit::Code(0));
    assert_eq!((stdout.text().as_str(), stderr.text().as_str()), ("hhello\n", ""));
}

#[tokio::test]
async fn a_component_of_the_third_preview_runs() {
    for (result, exit) in [(0, Exit::Code(0)), (1, Exit::Code(1))] {
        let wat = format!(
            r#"(component
                (core module $m (func (export "run") (result i32) (i32.const {result})))
                (core instance $i (instantiate $m))
                (func $run async (result (result)) (canon lift (core func $i "run")))
                (component $wrap (import "run" (func $run async (result (result)))) (export "run" (func $run)))
                (instance $cli (instantiate $wrap (with "run" (func $run))))
                (export "wasi:cli/run@0.3.0" (instance $cli)))"#
        );
        assert_eq!(run(wat::parse_str(wat).unwrap(), ContainerSpec::default()).await, exit);
    }
}

#[tokio::test]
async fn a_guest_of_the_third_preview_speaks_and_looks_names_up() {
    let (spec, stdout, stderr) = captured();
    let args = ["hello", "localhost"].map(str::to_owned).into();
    let spec = ContainerSpec { args, address: Some([127, 64, 251, 9].into()), ..spec };
    let exit = run(guest::built("command-p3"), spec).await;
    assert_eq!(exit, Exit::Code(0), "{}", stderr.text());
    let said = stdout.text();
    assert!(said.starts_with("hello, localhost: Ok") && said.contains("127, 64, 251, 9"), "{said}");
}

#[tokio::test]
async fn the_environment_is_the_configuration_too() {
    let asks = |interface: &str| {
        wat::parse_str(format!(
            r#"(component
                (import "{interface}" (instance $config
                    (type $reasons (variant (case "upstream" string) (case "io" string)))
                    (export "error" (type $error (eq $reasons)))
                    (export "get" (func (param "key" string) (result (result (option string) (error $error)))))))
                (alias export $config "get" (func $get))
                (core module $libc
                    (memory (export "memory") 1)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
                (core instance $libc (instantiate $libc))
                (alias core export $libc "memory" (core memory $memory))
                (alias core export $libc "realloc" (core func $realloc))
                (core func $lowered (canon lower (func $get) (memory $memory) (realloc $realloc)))
                (core instance $host (export "get" (func $lowered)))
                (core module $m
                    (import "libc" "memory" (memory 1))
                    (import "host" "get" (func $get (param i32 i32 i32)))
                    (data (i32.const 16) "MODE")
                    ;; Content if MODE is there and is `on`.
                    (func (export "run") (result i32)
                        (call $get (i32.const 16) (i32.const 4) (i32.const 64))
                        (i32.eqz (i32.and
                            (i32.and (i32.eqz (i32.load8_u (i32.const 64))) (i32.load8_u (i32.const 68)))
                            (i32.eq (i32.load16_u (i32.load (i32.const 72))) (i32.const 0x6e6f))))))
                (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "host" (instance $host))))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (component $wrap (import "run" (func $run (result (result)))) (export "run" (func $run)))
                (instance $cli (instantiate $wrap (with "run" (func $run))))
                (export "wasi:cli/run@0.2.0" (instance $cli)))"#
        ))
        .unwrap()
    };
    for interface in ["wasi:config/store@0.2.0-rc.1", "wasi:config/runtime@0.2.0-draft"] {
        for (mode, exit) in [("on", 0), ("off", 1)] {
            let spec = ContainerSpec { env: vec![("MODE".into(), mode.into())], ..Default::default() };
            assert_eq!(run(asks(interface), spec).await, Exit::Code(exit), "{interface} {mode}");
        }
    }
}

#[tokio::test]
async fn arguments_and_environment_are_those_of_the_spec_alone() {
    let (mut spec, stdout, _) = captured();
    spec.args = vec!["app".into(), "-v".into()];
    spec.env = vec![("A".into(), "1".into())];
    spec.hostname = Some("pod-1".into());
    let wasm = start(
        "(drop (call $args_get (i32.const 1024) (i32.const 2048)))
         (call $print (i32.const 1) (i32.const 2048) (i32.const 7))
         (drop (call $environ_get (i32.const 1024) (i32.const 2048)))
         (call $print (i32.const 1) (i32.const 2048) (i32.const 20))",
    );
    assert_eq!(run(wasm, spec).await, Exit::Code(0));
    assert_eq!(stdout.text(), "app\0-v\0A=1\0HOSTNAME=pod-1\0\0");
}

#[tokio::test]
async fn standard_input_ends_at_once_unless_given() {
    let wasm = start(
        "(i32.store (i32.const 0) (i32.const 2048))
         (i32.store (i32.const 4) (i32.const 64))
         (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
         (call $print (i32.const 1) (i32.const 2048) (i32.load (i32.const 8)))",
    );
    for (stdin, expected) in [
        (Stdin::Empty, ""),
        (Stdin::Bytes(Bytes::from_static(b"some words")), "some words"),
        (Stdin::Reader(Box::new(&b"read words"[..])), "read words"),
    ] {
        let (mut spec, stdout, _) = captured();
        spec.stdin = stdin;
        assert_eq!(run(wasm.clone(), spec).await, Exit::Code(0));
        assert_eq!(stdout.text(), expected);
    }
}

/// Opens `file` in the first mount (descriptor 3) for writing, made if missing; exits with the errno.
fn create(file: &str) -> Vec<u8> {
    p1(&format!(
        r#"(data (i32.const 1024) "{file}")
        (func (export "_start")
            (call $exit (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const {})
                (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 512))))"#,
        file.len()
    ))
}

#[tokio::test]
async fn a_mount_is_all_of_the_files_that_a_guest_sees() {
    const BADF: i32 = 8;
    const PERM: i32 = 63;
    const ROFS: i32 = 69;
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("inside");
    fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), inside.join("link")).unwrap();
    let mounts = |read_only| vec![Mount { host: inside.clone(), guest: "/data".into(), read_only }];
    let try_create = async |file: &str, mounts| run(create(file), ContainerSpec { mounts, ..Default::default() }).await;
    assert_eq!(try_create("a", Vec::new()).await, Exit::Code(BADF));
    assert_eq!(try_create("a", mounts(false)).await, Exit::Code(0));
    assert!(inside.join("a").exists());
    let refused = try_create("b", mounts(true)).await;
    assert!(matches!(refused, Exit::Code(PERM | ROFS)), "{refused:?}");
    for escape in ["../outside", "link", "/etc/coracle-escaped"] {
        let refused = try_create(escape, mounts(false)).await;
        assert!(matches!(refused, Exit::Code(1..)), "{escape}: {refused:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_mount_that_is_not_there_is_named() {
    let runtime = runtime();
    let artifact = load(&runtime, p1(HELLO)).await;
    let mount = Mount { host: "/nowhere/at/all".into(), guest: "/data".into(), read_only: true };
    let spec = ContainerSpec { mounts: vec![mount], ..Default::default() };
    match runtime.start(&artifact, spec) {
        Err(StartError::Mount { host, .. }) => assert_eq!(host.to_str(), Some("/nowhere/at/all")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_guest_that_waits_costs_no_time_and_is_killed_at_once() {
    let runtime = runtime();
    let wasm = start("(loop (call $sleep (i64.const 3600000000000)) (br 0))");
    let container = spawn(&runtime, wasm, ContainerSpec::default()).await;
    container.ready().await;
    assert_eq!(container.exit(), None);
    assert_eq!(container.stop(), Stop::Deaf);
    let killed = Instant::now();
    container.kill();
    assert_eq!(container.wait().await, Exit::Killed);
    assert!(killed.elapsed() < Duration::from_millis(500), "{:?}", killed.elapsed());
    let usage = container.usage();
    assert_eq!((usage.memory_bytes, usage.memory_bytes_peak), (0, 2 << 16));
}

#[tokio::test]
async fn dropping_the_handle_kills() {
    let runtime = runtime();
    let before = runtime.memory_bytes();
    drop(spawn(&runtime, start("(loop (br 0))"), ContainerSpec::default()).await);
    until(&runtime, before).await;
}

async fn until(runtime: &Runtime, memory_bytes: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while runtime.memory_bytes() != memory_bytes {
        assert!(Instant::now() < deadline, "the guest still holds its memory");
        tokio::task::yield_now().await;
    }
}

/// A sink that takes one write until it is opened.
#[derive(Debug)]
struct Slow {
    open: AtomicBool,
    opened: Notify,
    taken: Capture,
}

#[async_trait]
impl Output for Slow {
    fn write(&self, bytes: &[u8]) {
        self.taken.write(bytes);
    }

    fn is_ready(&self) -> bool {
        self.open.load(Ordering::SeqCst) || self.taken.text().is_empty()
    }

    async fn ready(&self) {
        let opened = self.opened.notified();
        if !self.is_ready() {
            opened.await;
        }
    }
}

#[tokio::test]
async fn a_slow_sink_holds_its_guest_back_and_nobody_else() {
    let runtime = runtime();
    let slow = Arc::new(Slow { open: AtomicBool::new(false), opened: Notify::new(), taken: Capture::new(64) });
    let wasm = p1(r#"(data (i32.const 1024) "one\ntwo\n")
        (func (export "_start")
            (call $print (i32.const 1) (i32.const 1024) (i32.const 4))
            (call $print (i32.const 1) (i32.const 1028) (i32.const 4)))"#);
    let spec = ContainerSpec { stdout: slow.clone(), ..Default::default() };
    let container = spawn(&runtime, wasm, spec).await;
    container.ready().await;
    for _ in 0..20 {
        let (spec, stdout, _) = captured();
        assert_eq!(spawn(&runtime, p1(HELLO), spec).await.wait().await, Exit::Code(0));
        assert_eq!(stdout.text(), "hello\n");
    }
    assert_eq!((container.exit(), slow.taken.text().as_str()), (None, "one\n"));
    slow.open.store(true, Ordering::SeqCst);
    slow.opened.notify_waiters();
    assert_eq!(container.wait().await, Exit::Code(0));
    assert_eq!(slow.taken.text(), "one\ntwo\n");
}

/// What a further run of a guest prints, and how it ends, in a container of 16 pages. With one argument the guest spins;
/// with two it wants `grow` more pages, prints its environment, repeats what it reads and ends with code 7.
async fn exec(grow: u32, kill: bool) -> (String, Exit) {
    let runtime = runtime();
    let wasm = wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
            (memory (export "memory") 2)
            (func (export "_start")
                (drop (call $sizes (i32.const 0) (i32.const 4)))
                (if (i32.eq (i32.load (i32.const 0)) (i32.const 1)) (then (loop $spin (br $spin))))
                (if (i32.eq (memory.grow (i32.const {grow})) (i32.const -1)) (then unreachable))
                (drop (call $environ_get (i32.const 1024) (i32.const 2048)))
                (i32.store (i32.const 0) (i32.const 2048))
                (i32.store (i32.const 4) (i32.const 4))
                (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (i32.store (i32.const 4) (i32.const 64))
                (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
                (call $exit (i32.const 7))))"#
    ))
    .unwrap();
    let (mut spec, main, _) = captured();
    spec.args = vec!["app".into()];
    spec.env = vec![("A".into(), "1".into())];
    spec.memory_bytes_max = Some(16 << 16);
    let container = spawn(&runtime, wasm, spec).await;
    container.ready().await;
    let output = Arc::new(Capture::new(100));
    let (reader, mut writer) = tokio::io::duplex(64);
    let stdin = Stdin::Reader(Box::new(reader));
    let args = vec!["app".into(), "again".into()];
    let spec = ExecSpec { args, stdin, stdout: output.clone(), stderr: output.clone(), is_terminal: false };
    let again = runtime.exec(&container, spec).unwrap();
    if kill {
        container.kill();
        assert_eq!(container.wait().await, Exit::Killed);
    } else {
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"typed").await.unwrap();
    }
    let exit = again.wait().await;
    if !kill {
        assert_eq!(container.exit(), None, "the container goes on");
        assert!(container.usage().memory_bytes >= 2 << 16);
        container.kill();
        container.wait().await;
    }
    let spec = ExecSpec {
        args: Vec::new(),
        stdin: Stdin::Empty,
        stdout: output.clone(),
        stderr: output.clone(),
        is_terminal: false,
    };
    assert!(matches!(runtime.exec(&container, spec), Err(StartError::Ended)));
    assert_eq!(main.text(), "", "what a further run prints is not the container's");
    (output.text(), exit)
}

#[tokio::test]
async fn a_further_run_has_the_containers_surroundings_and_streams_of_its_own() {
    assert_eq!(exec(1, false).await, ("A=1\0typed".to_owned(), Exit::Code(7)));
}

#[tokio::test]
async fn a_further_run_counts_in_the_containers_memory_and_dies_with_it() {
    assert_eq!(exec(13, false).await, (String::new(), Exit::OutOfMemory), "2 and 2 and 13 are more than 16");
    assert_eq!(exec(1, true).await.1, Exit::Killed, "it waited for what is typed");
}
