//! What the tests share: a runtime, guests from text, a way to run one and see what it said.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use coracle_runtime::{Artifact, Capture, Config, Container, ContainerSpec, Exit, Runtime};

/// Imports, memory and helpers for a WASI p1 guest; `body` adds to the module.
pub fn p1(body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open" (func $path_open
                (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 2)
            ;; Writes memory[at..at+length] to a descriptor.
            (func $print (param $fd i32) (param $at i32) (param $length i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $length))
                (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
            ;; Sleeps for nanoseconds, on the monotonic clock.
            (func $sleep (param $ns i64)
                (memory.fill (i32.const 32) (i32.const 0) (i32.const 48))
                (i32.store (i32.const 48) (i32.const 1))
                (i64.store (i32.const 56) (local.get $ns))
                (drop (call $poll (i32.const 32) (i32.const 96) (i32.const 1) (i32.const 128))))
            {body})"#
    ))
    .unwrap()
}

/// A guest built by `tests/guests/build.sh`.
pub fn built(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/guests/{name}.wasm"))).unwrap()
}

/// A guest whose `_start` is `code`.
pub fn start(code: &str) -> Vec<u8> {
    p1(&format!(r#"(func (export "_start") {code})"#))
}

/// A runtime without a cache.
pub fn runtime() -> Runtime {
    Runtime::new(Config::default()).unwrap()
}

/// Loads `wasm`.
pub async fn load(runtime: &Runtime, wasm: Vec<u8>) -> Arc<Artifact> {
    runtime.load(wasm).await.unwrap()
}

/// Loads and starts `wasm`.
pub async fn spawn(runtime: &Runtime, wasm: Vec<u8>, spec: ContainerSpec) -> Container {
    runtime.start(&load(runtime, wasm).await, spec).unwrap()
}

/// Runs `wasm` to its end.
pub async fn run(wasm: Vec<u8>, spec: ContainerSpec) -> Exit {
    spawn(&runtime(), wasm, spec).await.wait().await
}

/// A spec whose outputs are kept: the spec, standard output, standard error.
pub fn captured() -> (ContainerSpec, Arc<Capture>, Arc<Capture>) {
    let (stdout, stderr) = (Arc::new(Capture::new(1 << 20)), Arc::new(Capture::new(1 << 20)));
    let spec = ContainerSpec { stdout: stdout.clone(), stderr: stderr.clone(), ..Default::default() };
    (spec, stdout, stderr)
}
