//! Guests that mean harm, or do it: each ends alone, and says why.

use std::time::{Duration, Instant};

use coracle_runtime::{Config, ContainerSpec, Exit, Mount, Runtime, limits};

use crate::guest::{built, captured, p1, run, runtime, spawn, start};

fn within(memory_bytes_max: u64) -> ContainerSpec {
    ContainerSpec { memory_bytes_max: Some(memory_bytes_max), ..Default::default() }
}

fn message(exit: Exit) -> String {
    match exit {
        Exit::Trap { message } => message,
        other => panic!("{other:?} is not a trap"),
    }
}

#[tokio::test]
async fn a_trap_says_what_and_where() {
    let wasm = p1(r#"(func $deep unreachable) (func $middle call $deep)
        (func $main (export "_start") call $middle)"#);
    let message = message(run(wasm, ContainerSpec::default()).await);
    for part in ["unreachable", "deep", "middle"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[tokio::test]
async fn a_panic_is_a_trap_that_says_why_on_standard_error() {
    for probe in ["probe-p1", "probe-p2"] {
        let (spec, _, stderr) = captured();
        let spec = ContainerSpec { args: vec!["probe".into(), "panic".into()], ..spec };
        assert!(message(run(built(probe), spec).await).contains("unreachable"));
        assert!(stderr.text().contains("as it was told"), "{}", stderr.text());
    }
}

#[tokio::test]
async fn broken_bytes_end_nothing_but_themselves() {
    let runtime = runtime();
    let module = p1(r#"(table 2 funcref) (global $g (mut i32) (i32.const 1)) (elem (i32.const 0) $print)
        (data (i32.const 64) "text") (func (export "_start") (call $exit (global.get $g)))"#);
    let component = wat::parse_str(
        r#"(component
            (core module $m (memory (export "m") 1) (func (export "run") (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (component $wrap (import "run" (func $run (result (result)))) (export "run" (func $run)))
            (instance $cli (instantiate $wrap (with "run" (func $run))))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#,
    )
    .unwrap();
    let mut refused = 0;
    for whole in [&module, &component] {
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= [0x80, 0x7f, 0x01, 0x10][at % 4];
            let mut longer = whole.clone();
            longer.splice(at..at, [0xff; 5]);
            for broken in [whole[..at].to_vec(), flipped, longer] {
                match runtime.load(broken).await {
                    Ok(artifact) => {
                        let spec = ContainerSpec { memory_bytes_max: Some(1 << 20), ..Default::default() };
                        let container = runtime.start(&artifact, spec).unwrap();
                        container.kill();
                        container.wait().await;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 2 * (module.len() + component.len()), "{refused}");
    assert_eq!(run(module, ContainerSpec::default()).await, Exit::Code(1));
}

#[tokio::test]
async fn an_endless_loop_is_killed_within_milliseconds() {
    let container = spawn(&runtime(), start("(loop (br 0))"), ContainerSpec::default()).await;
    container.ready().await;
    let killed = Instant::now();
    container.kill();
    assert_eq!(container.wait().await, Exit::Killed);
    assert!(killed.elapsed() < Duration::from_millis(500), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn an_endless_loop_at_instantiation_is_killed_too() {
    let wasm = p1(r#"(func $spin (loop (br 0))) (start $spin) (func (export "_start"))"#);
    let container = spawn(&runtime(), wasm, ContainerSpec::default()).await;
    tokio::task::yield_now().await;
    container.kill();
    assert_eq!(container.wait().await, Exit::Killed);
}

#[tokio::test]
async fn deep_recursion_is_a_trap() {
    let wasm = p1(r#"(func $f (export "_start") call $f)"#);
    assert!(message(run(wasm, ContainerSpec::default()).await).contains("call stack exhausted"));
}

#[tokio::test]
async fn a_memory_bomb_runs_out_of_memory() {
    let bomb = start("(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable");
    assert_eq!(run(bomb, within(8 << 20)).await, Exit::OutOfMemory);
    let aborts =
        start("(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (call $exit (i32.const 134))");
    assert_eq!(run(aborts, within(8 << 20)).await, Exit::OutOfMemory);
}

#[tokio::test]
async fn a_guest_that_copes_with_the_refusal_ends_as_it_likes() {
    let copes = start("(drop (memory.grow (i32.const 1000)))");
    assert_eq!(run(copes, within(1 << 20)).await, Exit::Code(0));
    let recovers =
        start("(drop (memory.grow (i32.const 1000))) (drop (memory.grow (i32.const 1))) (call $exit (i32.const 5))");
    assert_eq!(run(recovers, within(1 << 20)).await, Exit::Code(5));
}

#[tokio::test]
async fn initial_memory_over_the_limit_is_out_of_memory() {
    assert_eq!(run(start(""), within(64 << 10)).await, Exit::OutOfMemory);
}

#[tokio::test]
async fn tables_count_as_memory() {
    let wasm = p1(r#"(table $t 1 funcref)
        (func (export "_start")
            (loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1))))
            unreachable)"#);
    assert_eq!(run(wasm, within(4 << 20)).await, Exit::OutOfMemory);
}

#[tokio::test]
async fn all_guests_together_stay_below_the_runtimes_bound() {
    let config = Config { memory_bytes_max: Some(10 << 20), ..Default::default() };
    let runtime = Runtime::new(config).unwrap();
    let holds = start("(drop (memory.grow (i32.const 100))) (loop (call $sleep (i64.const 3600000000000)) (br 0))");
    let holder = spawn(&runtime, holds, ContainerSpec::default()).await;
    holder.ready().await;
    let bomb = start("(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable");
    let container = spawn(&runtime, bomb, ContainerSpec::default()).await;
    assert_eq!(container.wait().await, Exit::OutOfMemory);
    assert_eq!(holder.exit(), None);
}

#[tokio::test]
async fn descriptors_run_out_in_the_guest_not_in_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = vec![Mount { host: dir.path().into(), guest: "/".into(), read_only: false }];
    // Opens files until it is refused, and exits with 0 if it got at least a hundred.
    let wasm = p1(r#"(data (i32.const 1024) "a")
        (func (export "_start") (local $opened i32)
            (loop
                (local.set $opened (i32.add (local.get $opened) (i32.const 1)))
                (br_if 0 (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024)
                    (i32.const 1) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 512)))))
            (call $exit (i32.lt_u (local.get $opened) (i32.const 100))))"#);
    let exit = run(wasm, ContainerSpec { mounts, ..Default::default() }).await;
    assert!(matches!(exit, Exit::Code(0) | Exit::Trap { .. }), "{exit:?}");
}

#[tokio::test]
async fn a_flood_of_output_is_taken_chunk_by_chunk() {
    let (spec, stdout, _) = captured();
    let wasm = start("(loop (call $print (i32.const 1) (i32.const 1024) (i32.const 65536)) (br 0))");
    let container = spawn(&runtime(), wasm, spec).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while stdout.text().len() < 1 << 20 {
        assert!(Instant::now() < deadline, "the guest does not get on");
        tokio::task::yield_now().await;
    }
    container.kill();
    assert_eq!(container.wait().await, Exit::Killed);
}

#[tokio::test]
async fn a_guest_without_address_has_no_network() {
    // `sock_accept` on a descriptor that nobody opened: there is nothing else in p1.
    let wasm = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start")
                (call $exit (i32.eqz (call $accept (i32.const 3) (i32.const 0) (i32.const 0))))))"#,
    )
    .unwrap();
    assert_eq!(run(wasm, ContainerSpec::default()).await, Exit::Code(0));
}

#[tokio::test]
async fn a_long_message_is_cut() {
    let name = "x".repeat(10 * limits::TRAP_MESSAGE_BYTES_MAX);
    let wasm = p1(&format!(r#"(func ${name} (export "_start") unreachable)"#));
    let message = message(run(wasm, ContainerSpec::default()).await);
    assert!(message.len() <= limits::TRAP_MESSAGE_BYTES_MAX + 4);
}
