//! Loading: what is refused and how, what is shared, what is kept.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, mpsc};

use coracle_runtime::{Config, ContainerSpec, Digest, Exit, Form, LoadError, Progress, Runtime, Source, Wasi, World};

use crate::guest::{captured, p1, runtime, start};

async fn refusal(wasm: impl Into<Vec<u8>>) -> LoadError {
    runtime().load(wasm.into()).await.expect_err("it is not to be run")
}

#[tokio::test]
async fn what_cannot_run_is_told_precisely() {
    assert!(matches!(refusal("plain text").await, LoadError::NotWasm { .. }));
    assert!(matches!(refusal("(module)").await, LoadError::Text));
    let whole = start("");
    let half = &whole[..whole.len() / 2];
    match refusal(half).await {
        LoadError::Truncated { offset } => assert!(offset > 8 && offset <= half.len(), "{offset}"),
        other => panic!("{other}"),
    }
    let no_start = wat::parse_str(r#"(module (func (export "add")))"#).unwrap();
    assert!(matches!(refusal(no_start).await, LoadError::NoStart));
    let invalid = wat::parse_str(r#"(module (func (export "_start") (i32.add)))"#).unwrap();
    assert!(matches!(refusal(invalid).await, LoadError::Compile { .. }));
    for name in ["_start", "_initialize"] {
        let mistyped = wat::parse_str(format!(r#"(module (func (export "{name}") (param i32)))"#)).unwrap();
        assert!(matches!(refusal(mistyped).await, LoadError::Link { .. }));
    }
}

#[tokio::test]
async fn every_missing_import_is_named() {
    let wat = r#"(component
        (import "wasi:keyvalue/store@0.2.0" (instance))
        (import "wasi:cli/environment@0.2.0" (instance))
        (import "wasi:messaging/consumer@0.2.0" (instance)))"#;
    let error = refusal(wat::parse_str(wat).unwrap()).await;
    assert_eq!(
        error.to_string(),
        "it imports what is not offered here: wasi:keyvalue/store@0.2.0, wasi:messaging/consumer@0.2.0"
    );
}

#[tokio::test]
async fn a_world_that_nothing_here_runs_is_named() {
    for (wat, said) in [
        ("(component)", "but nothing"),
        (
            r#"(component (instance $i) (export "wasi:messaging/incoming-handler@0.2.0" (instance $i)))"#,
            "but wasi:messaging/incoming-handler@0.2.0",
        ),
        (
            r#"(component (instance $i) (export "wasi:cli/run@0.3.0-rc-2025-09-16" (instance $i)))"#,
            "but wasi:cli/run@0.3.0-rc-2025-09-16",
        ),
    ] {
        let error = refusal(wat::parse_str(wat).unwrap()).await.to_string();
        assert!(error.starts_with("it exports none of wasi:cli/run") && error.ends_with(said), "{error}");
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let error = runtime().load(std::path::Path::new("/no/such.wasm")).await.unwrap_err();
    assert!(error.to_string().contains("/no/such.wasm"), "{error}");
}

#[tokio::test]
async fn concurrent_loads_of_the_same_bytes_share_the_artifact() {
    let runtime = runtime();
    let wasm = start("");
    let loads = (0..16).map(|_| runtime.load(wasm.clone()));
    let artifacts = futures::future::try_join_all(loads).await.unwrap();
    assert!(artifacts.iter().all(|artifact| Arc::ptr_eq(artifact, &artifacts[0])));
    let digest = Digest::of(&wasm);
    assert!(Arc::ptr_eq(&runtime.loaded(digest).unwrap(), &artifacts[0]));
    runtime.forget(digest);
    assert!(runtime.loaded(digest).is_none());
}

#[tokio::test]
async fn an_artifact_says_what_it_is() {
    let artifact = runtime().load(start("")).await.unwrap();
    let inspection = artifact.inspection();
    assert_eq!((inspection.form, inspection.wasi, inspection.world), (Form::Module, Some(Wasi::P1), World::Command));
    assert!(inspection.is_runnable());
    assert_eq!(inspection.bytes as usize, start("").len());
}

#[tokio::test]
async fn compiled_code_is_kept_and_used_and_made_anew_when_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = p1(r#"(data (i32.const 1024) "cached")
        (func (export "_start") (call $print (i32.const 1) (i32.const 1024) (i32.const 6)))"#);
    let run = async || {
        let config = Config { cache_dir: Some(dir.path().into()), ..Default::default() };
        let runtime = Runtime::new(config).unwrap();
        let artifact = runtime.load(wasm.clone()).await.unwrap();
        let (spec, stdout, _) = captured();
        assert_eq!(runtime.start(&artifact, spec).unwrap().wait().await, Exit::Code(0));
        assert_eq!(stdout.text(), "cached");
    };
    let file = || {
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        files[0].clone()
    };
    run().await;
    let written = fs::metadata(file()).unwrap().modified().unwrap();
    run().await;
    assert_eq!(fs::metadata(file()).unwrap().modified().unwrap(), written, "used as it is");
    let whole = fs::read(file()).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"something else entirely"] {
        // Replaced, not changed: an earlier runtime may still have it mapped.
        let path = file();
        fs::remove_file(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        run().await;
        assert_eq!(fs::read(file()).unwrap().len(), whole.len());
    }
}

#[tokio::test]
async fn a_component_is_kept_too() {
    let dir = tempfile::tempdir().unwrap();
    let wat = r#"(component
        (core module $m (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (component $wrap (import "run" (func $run (result (result)))) (export "run" (func $run)))
        (instance $cli (instantiate $wrap (with "run" (func $run))))
        (export "wasi:cli/run@0.2.0" (instance $cli)))"#;
    for _ in 0..2 {
        let config = Config { cache_dir: Some(dir.path().into()), ..Default::default() };
        let runtime = Runtime::new(config).unwrap();
        let artifact = runtime.load(wat::parse_str(wat).unwrap()).await.unwrap();
        let exit = runtime.run(&artifact, ContainerSpec::default()).await.unwrap();
        assert_eq!(exit, Exit::Code(0));
    }
}

#[tokio::test]
async fn a_large_program_has_its_memory_mapped_and_is_none_the_wiser() {
    let dir = tempfile::tempdir().unwrap();
    let filler = "\\2a".repeat(coracle_runtime::limits::MAPPED_BYTES_MIN);
    let wasm = wat::parse_str(format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 32)
            (data (i32.const 4096) "{filler}")
            (func (export "_start") (call $exit (i32.load8_u (i32.const 1000000)))))"#
    ))
    .unwrap();
    for _ in 0..2 {
        let config = Config { cache_dir: Some(dir.path().into()), ..Default::default() };
        let runtime = Runtime::new(config).unwrap();
        let artifact = runtime.load(wasm.clone()).await.unwrap();
        let container = runtime.start(&artifact, ContainerSpec::default()).unwrap();
        assert_eq!(container.wait().await, Exit::Code(0x2a));
    }
}

/// A program of more than a megabyte.
fn large() -> Vec<u8> {
    let filler = "\\2a".repeat(coracle_runtime::limits::MAPPED_BYTES_MIN);
    let function =
        |number: usize| format!("(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const {number})))\n");
    let functions: String = (0..500).map(function).collect();
    let wat = format!(r#"(module (memory 32) (data (i32.const 0) "{filler}") {functions} (func (export "_start")))"#);
    wat::parse_str(wat).unwrap()
}

#[tokio::test]
async fn a_large_program_is_compiled_once_and_that_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let wasm = large();
    let bytes = wasm.len() as u64;
    for is_first in [true, false] {
        let config = Config { cache_dir: Some(dir.path().into()), ..Default::default() };
        let runtime = Runtime::new(config).unwrap();
        let (tell, told) = mpsc::channel();
        let loads = (0..4).map(|_| {
            let tell = tell.clone();
            let tell = move |progress| tell.send(progress).unwrap();
            runtime.load_telling(wasm.clone(), tell)
        });
        let artifacts = futures::future::try_join_all(loads).await.unwrap();
        drop(tell);
        match told.try_iter().collect::<Vec<_>>()[..] {
            [Progress::Compiling { bytes: one }, Progress::Compiled { bytes: other, .. }] => {
                assert!(is_first && one == bytes && other == bytes);
            }
            ref told => assert!(!is_first && told.is_empty(), "{told:?}"),
        }
        let container = runtime.start(&artifacts[3], ContainerSpec::default()).unwrap();
        assert_eq!(container.wait().await, Exit::Code(0));
    }
}

#[test]
fn there_is_room_for_thousands() {
    assert!(runtime().instances_max() >= 10_000);
}

#[tokio::test]
async fn a_stored_file_is_checked_before_it_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stored");
    let (wasm, other) = (start(""), start("(call $exit (i32.const 1))"));
    let load = async |runtime: &Runtime| runtime.load(Source::Stored(Digest::of(&wasm), path.clone())).await;
    let runtime = runtime();
    fs::write(&path, &other).unwrap();
    assert!(matches!(load(&runtime).await, Err(LoadError::Altered { digest }) if digest == Digest::of(&wasm)));
    fs::write(&path, &wasm).unwrap();
    let artifact = load(&runtime).await.unwrap();
    assert_eq!(runtime.start(&artifact, ContainerSpec::default()).unwrap().wait().await, Exit::Code(0));
    assert!(runtime.loaded(Digest::of(&wasm)).is_some());
}
