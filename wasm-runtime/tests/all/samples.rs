//! The samples' guests, as they are in the repository.

use std::fs;
use std::path::Path;

use coracle_runtime::{ContainerSpec, Exit, Form, Wasi, World, inspect};

use crate::guest::{captured, run, runtime, spawn};

/// The guest of a sample.
pub fn read(name: &str) -> Vec<u8> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    fs::read(samples.join(name).join(name).with_extension("wasm")).unwrap()
}

fn spec_of(env: &[(&str, &str)], args: &[&str], spec: ContainerSpec) -> ContainerSpec {
    ContainerSpec {
        args: args.iter().map(ToString::to_string).collect(),
        env: env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        ..spec
    }
}

#[test]
fn all_can_run_here() {
    for (name, form, wasi, world) in [
        ("hello", Form::Module, Wasi::P1, World::Command),
        ("once", Form::Module, Wasi::P1, World::Command),
        ("chatty", Form::Module, Wasi::P1, World::Command),
        ("web", Form::Component, Wasi::P2, World::HttpProxy),
    ] {
        let inspection = inspect(&read(name)).unwrap();
        assert!(inspection.is_runnable(), "{name}");
        assert_eq!((inspection.form, inspection.wasi, inspection.world), (form, Some(wasi), world));
    }
}

#[tokio::test]
async fn once_counts_and_ends() {
    for (argument, exit, out, err) in [
        ("1000000", 0, "78498 primes below 1000000\n", ""),
        ("many", 2, "", "once: 'many' is not a number from 2 to 100000000\n"),
    ] {
        let (spec, stdout, stderr) = captured();
        let spec = spec_of(&[], &["once", argument], spec);
        assert_eq!(run(read("once"), spec).await, Exit::Code(exit));
        assert_eq!((stdout.text().as_str(), stderr.text().as_str()), (out, err));
    }
}

#[tokio::test]
async fn once_says_that_its_memory_does_not_suffice() {
    let (spec, _, stderr) = captured();
    let spec = ContainerSpec { memory_bytes_max: Some(4 << 20), ..spec_of(&[], &["once", "50000000"], spec) };
    assert_eq!(run(read("once"), spec).await, Exit::OutOfMemory);
    assert_eq!(stderr.text(), "once: no memory for a sieve of 50000000 bytes\n");
}

#[tokio::test]
async fn hello_greets_and_waits() {
    let (spec, stdout, _) = captured();
    let spec = spec_of(&[("POD_NAME", "hello-1")], &["hello", "you"], spec);
    let runtime = runtime();
    let container = spawn(&runtime, read("hello"), spec).await;
    while !stdout.text().ends_with('\n') {
        tokio::task::yield_now().await;
    }
    assert_eq!(stdout.text(), "hello, you, from hello-1 (1)\n");
    assert_eq!(container.exit(), None);
    container.kill();
    assert_eq!(container.wait().await, Exit::Killed);
}

#[tokio::test]
async fn chatty_writes_each_line_whole_and_to_its_stream() {
    let (spec, stdout, stderr) = captured();
    let env = [("CHATTY_LINES", "200"), ("CHATTY_PER_SECOND", "0"), ("CHATTY_BYTES", "100")];
    assert_eq!(run(read("chatty"), spec_of(&env, &["chatty"], spec)).await, Exit::Code(0));
    let (stdout, stderr) = (stdout.text(), stderr.text());
    assert_eq!((stdout.lines().count(), stderr.lines().count()), (180, 20));
    assert!(stdout.lines().chain(stderr.lines()).all(|line| line.len() == 99));
    assert!(stderr.lines().next().unwrap().starts_with("line 10 at "));
}
