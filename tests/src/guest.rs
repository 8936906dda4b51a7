//! Guests made for tests: each a few lines of WebAssembly text, built into a folder and named by its path.

use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

/// The folder of built guests.
#[derive(Debug)]
pub struct Guests {
    folder: TempDir,
}

/// Functions of WASI that guests use.
const IMPORTS: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    ;; Waits for an hour: one subscription to a clock, at 128.
    (func $wait
        (i64.store (i32.const 152) (i64.const 3600000000000))
        (i32.store (i32.const 144) (i32.const 1))
        (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 320))))
"#;

impl Guests {
    /// An empty folder.
    ///
    /// # Errors
    /// When none can be made.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    /// Waits until it is stopped.
    pub fn waits(&self) -> String {
        self.build("waits", r#"(func (export "_start") (call $wait))"#)
    }

    /// Ends at once with an exit code.
    pub fn exits(&self, code: i32) -> String {
        self.build(&format!("exits-{code}"), &format!(r#"(func (export "_start") (call $exit (i32.const {code})))"#))
    }

    /// Writes lines, `text 0` to `text N-1` for N up to ten, and waits.
    pub fn talks(&self, text: &str, lines: usize) -> String {
        self.build("talks", &format!("{} (call $wait))", Self::lines(text, lines)))
    }

    /// Writes lines as [`Guests::talks`] does, and fails.
    pub fn talks_and_fails(&self, text: &str, lines: usize) -> String {
        self.build("talks-and-fails", &format!("{} (call $exit (i32.const 3)))", Self::lines(text, lines)))
    }

    /// Writes `ready` and repeats what it reads, until it is stopped. Run again under a name that begins with an `x`, it
    /// writes its arguments and repeats what it reads, says `bye` on its standard error, and ends with the digit that its
    /// last argument begins with.
    pub fn converses(&self) -> String {
        let text = r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 1024) "ready\nbye\n\n")
            (func $write (param $to i32) (param $at i32) (param $length i32)
                (i32.store (i32.const 16) (local.get $at))
                (i32.store (i32.const 20) (local.get $length))
                (drop (call $fd_write (local.get $to) (i32.const 16) (i32.const 1) (i32.const 24))))
            (func $length (param $at i32) (result i32)
                (local $count i32)
                (loop $next
                    (if (i32.load8_u (i32.add (local.get $at) (local.get $count)))
                        (then (local.set $count (i32.add (local.get $count) (i32.const 1))) (br $next))))
                (local.get $count))
            (func $repeat
                (loop $next
                    (i32.store (i32.const 16) (i32.const 32768))
                    (i32.store (i32.const 20) (i32.const 1024))
                    (i32.store (i32.const 24) (i32.const 0))
                    (drop (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
                    (if (i32.load (i32.const 24))
                        (then (call $write (i32.const 1) (i32.const 32768) (i32.load (i32.const 24))) (br $next)))))
            (func (export "_start")
                (local $at i32)
                (local $word i32)
                (drop (call $args_sizes (i32.const 0) (i32.const 4)))
                (drop (call $args (i32.const 4096) (i32.const 8192)))
                (if (i32.eq (i32.load8_u (i32.load (i32.const 4096))) (i32.const 120))
                    (then
                        (local.set $word (i32.load (i32.const 4096)))
                        (local.set $at (i32.const 1))
                        (block $done
                            (loop $next
                                (br_if $done (i32.ge_u (local.get $at) (i32.load (i32.const 0))))
                                (local.set $word
                                    (i32.load (i32.add (i32.const 4096) (i32.mul (local.get $at) (i32.const 4)))))
                                (call $write (i32.const 1) (local.get $word) (call $length (local.get $word)))
                                (call $write (i32.const 1) (i32.const 1034) (i32.const 1))
                                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                                (br $next)))
                        (call $repeat)
                        (call $write (i32.const 2) (i32.const 1030) (i32.const 4))
                        (local.set $word (i32.sub (i32.load8_u (local.get $word)) (i32.const 48)))
                        (if (i32.lt_u (local.get $word) (i32.const 10)) (then (call $exit (local.get $word))))
                        (call $exit (i32.const 0))))
                (call $write (i32.const 1) (i32.const 1024) (i32.const 6))
                (call $repeat)
                (i64.store (i32.const 152) (i64.const 3600000000000))
                (i32.store (i32.const 144) (i32.const 1))
                (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 320)))))"#;
        self.write("converses.wasm", &wat::parse_str(text).expect("well-formed text"))
    }

    /// Adds a line to `/runs/log`, and then waits until it is stopped, or ends at once with this exit code.
    pub fn marks(&self, then: Option<i32>) -> String {
        let end = then.map_or("(call $wait)".to_owned(), |code| format!("(call $exit (i32.const {code}))"));
        let text = format!(
            r#"(module
            (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            {IMPORTS}
            (data (i32.const 1024) "logrun\n")
            (func (export "_start")
                (local $folder i32)
                (local.set $folder (i32.const 3))
                ;; The folder whose name begins with `/run`: names are written to 2048.
                (block $found
                    (loop $next
                        (i32.store (i32.const 2048) (i32.const 0))
                        (drop (call $name (local.get $folder) (i32.const 2048) (i32.const 5)))
                        (br_if $found (i32.eq (i32.load (i32.const 2048)) (i32.const 0x6e75722f)))
                        (local.set $folder (i32.add (local.get $folder) (i32.const 1)))
                        (br_if $next (i32.lt_u (local.get $folder) (i32.const 16))))
                    unreachable)
                ;; To be made if it is not there, and written at its end.
                (if (call $open (local.get $folder) (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 1)
                        (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 512))
                    (then unreachable))
                (i32.store (i32.const 0) (i32.const 1027))
                (i32.store (i32.const 4) (i32.const 4))
                (drop (call $write (i32.load (i32.const 512)) (i32.const 0) (i32.const 1) (i32.const 16)))
                {end}))"#
        );
        let name = then.map_or("marks.wasm".to_owned(), |code| format!("marks-{code}.wasm"));
        self.write(&name, &wat::parse_str(text).expect("well-formed text"))
    }

    /// Takes memory until it gets no more, and then fails for want of it.
    pub fn grows(&self) -> String {
        let body = r#"(func (export "_start")
            (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
            unreachable)"#;
        self.build("grows", body)
    }

    /// Spins for ever.
    pub fn spins(&self) -> String {
        self.build("spins", r#"(func (export "_start") (loop $again (br $again)))"#)
    }

    /// Imports what no host offers.
    pub fn asks_too_much(&self) -> String {
        let text = r#"(module (import "acme" "teleport" (func)) (func (export "_start")))"#;
        self.write("asks-too-much.wasm", &wat::parse_str(text).expect("well-formed text"))
    }

    /// A file that is not wasm.
    pub fn nonsense(&self) -> String {
        self.write("nonsense.wasm", b"#!/bin/sh\necho no\n")
    }

    /// An image that does not exist.
    pub fn missing(&self) -> String {
        format!("file://{}", self.folder.path().join("missing.wasm").display())
    }

    /// A sample of the repository, by the name of its folder.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn sample(name: &str) -> anyhow::Result<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples").join(name);
        root.canonicalize().with_context(|| format!("no sample {name}"))
    }

    /// A sample's module, as an image.
    ///
    /// # Errors
    /// As [`Guests::sample`].
    pub fn sample_image(name: &str) -> anyhow::Result<String> {
        Ok(format!("file://{}", Self::sample(name)?.join(format!("{name}.wasm")).display()))
    }

    /// The path of a built guest, of its image.
    pub fn path(image: &str) -> &Path {
        Path::new(image.strip_prefix("file://").unwrap_or(image))
    }

    /// The beginning of `_start`: one vector a line, the texts from 1024 on.
    fn lines(text: &str, lines: usize) -> String {
        let length = text.len() + 3;
        let all: String = (0..lines.min(10)).map(|number| format!("{text} {number}\\n")).collect();
        let write = |number: usize| {
            format!(
                "(i32.store (i32.const 0) (i32.const {at})) (i32.store (i32.const 4) (i32.const {length}))
                 (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))",
                at = 1024 + number * length
            )
        };
        let writes: String = (0..lines.min(10)).map(write).collect();
        format!(r#"(data (i32.const 1024) "{all}") (func (export "_start") {writes}"#)
    }

    fn build(&self, name: &str, body: &str) -> String {
        let module = wat::parse_str(format!("(module {IMPORTS} {body})")).expect("well-formed text");
        self.write(&format!("{name}.wasm"), &module)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("a new folder can be written");
        format!("file://{}", path.display())
    }
}
