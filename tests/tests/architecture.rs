//! The architecture's invariants, kept by a test: who may import whom, who may know wasmtime, redb and Kubernetes'
//! serde, and where HTTP status codes are named. `ARCHITECTURE.md` says why each of them holds.
//!
//! The crate graph is read from the manifests and the bans from the sources, so a breach names its file and line.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names in a manifest's `[dependencies]` (not those for tests).
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or("");
    section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Every `.rs` file below a crate's `src`.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root().join(folder).join("src")];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a crate's sources, tests at the ends of files aside, that `bad` holds of, as `file:line: text`.
fn breaches(folder: &str, except: &[&str], bad: impl Fn(&str) -> bool) -> Vec<String> {
    let mut out = Vec::new();
    for path in sources(folder) {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if except.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
        for (i, line) in code.enumerate().filter(|(_, line)| !line.trim_start().starts_with("//") && bad(line)) {
            out.push(format!("{name}:{}: {}", i + 1, line.trim()));
        }
    }
    out
}

#[test]
fn crates_import_only_what_the_design_allows() {
    let allowed: &[(&str, &[&str])] = &[
        ("api", &[]),
        ("store", &[]),
        ("apiserver", &["coracle-api", "coracle-store"]),
        ("client", &["coracle-api"]),
        ("scheduler", &["coracle-api", "coracle-client"]),
        ("controllers", &["coracle-api", "coracle-client"]),
        ("wasm-runtime", &[]),
        ("wasm-kubelet", &["coracle-api", "coracle-client", "coracle-runtime"]),
        (
            "testing",
            &["coracle-apiserver", "coracle-client", "coracle-controllers", "coracle-scheduler", "coracle-store"],
        ),
        ("bench", &[]),
    ];
    for (folder, may) in allowed {
        let ours: Vec<_> = dependencies(folder).into_iter().filter(|d| d.starts_with("coracle")).collect();
        let breach: Vec<_> = ours.iter().filter(|d| !may.contains(&d.as_str())).collect();
        assert!(breach.is_empty(), "{folder}/ imports {breach:?}; it may import {may:?}");
    }
}

#[test]
fn only_the_runtime_knows_wasmtime_and_only_the_store_knows_redb() {
    for (library, home) in [("wasmtime", "wasm-runtime"), ("redb", "store")] {
        for folder in [
            "api",
            "store",
            "apiserver",
            "client",
            "scheduler",
            "controllers",
            "wasm-runtime",
            "wasm-kubelet",
            "cli",
            "testing",
        ] {
            let knows = dependencies(folder).iter().any(|d| d.starts_with(library));
            assert!(!knows || folder == home, "{folder}/ depends on {library}, which only {home}/ may");
        }
    }
}

#[test]
fn the_vocabulary_is_pure() {
    let impure = ["tokio", "kube", "axum", "hyper", "reqwest", "tracing", "rustix", "libc"];
    let found: Vec<_> = dependencies("api").into_iter().filter(|d| impure.contains(&d.as_str())).collect();
    assert!(found.is_empty(), "api/ does no I/O and has no runtime, but depends on {found:?}");
    let clocks = breaches("api", &[], |line| {
        ["std::fs::", "std::net::TcpStream", "SystemTime::now", "Instant::now", "Timestamp::now"]
            .iter()
            .any(|b| line.contains(b))
    });
    assert!(clocks.is_empty(), "api/ sees no files and no clock:\n{}", clocks.join("\n"));
}

#[test]
fn the_runtime_knows_no_kubernetes_and_the_store_no_json() {
    for (folder, banned) in [
        ("wasm-runtime", &["k8s-openapi", "kube", "coracle-api"][..]),
        ("store", &["k8s-openapi", "kube", "serde_json", "serde", "axum", "http", "hyper"][..]),
    ] {
        let found: Vec<_> = dependencies(folder).into_iter().filter(|d| banned.contains(&d.as_str())).collect();
        assert!(found.is_empty(), "{folder}/ depends on {found:?}");
    }
}

#[test]
fn kubernetes_serde_is_instantiated_in_api_and_client_only() {
    let typed =
        ["from_slice::<Pod>", "from_slice::<Node>", "Api<Pod>", "Api<Node>", "Api::<", "Api::all(", "Api::namespaced("];
    for folder in ["apiserver", "scheduler", "controllers", "wasm-kubelet"] {
        let found = breaches(folder, &[], |line| typed.iter().any(|t| line.contains(t)));
        assert!(found.is_empty(), "typed Kubernetes JSON belongs in api/ and client/:\n{}", found.join("\n"));
        assert!(
            folder == "apiserver" || !dependencies(folder).contains("kube"),
            "{folder}/ reaches the API through client/ alone"
        );
    }
}

#[test]
fn one_file_names_the_http_status_codes_of_errors() {
    let codes = [
        "StatusCode::NOT_FOUND",
        "StatusCode::CONFLICT",
        "StatusCode::UNPROCESSABLE_ENTITY",
        "StatusCode::GONE",
        "StatusCode::BAD_REQUEST",
    ];
    let found = breaches("apiserver", &[], |line| codes.iter().any(|c| line.contains(c)));
    assert!(found.is_empty(), "api/src/status.rs is where errors get their codes:\n{}", found.join("\n"));
}

#[test]
fn every_source_file_says_what_it_owns() {
    for folder in [
        "api",
        "store",
        "apiserver",
        "client",
        "scheduler",
        "controllers",
        "wasm-runtime",
        "wasm-kubelet",
        "cli",
        "bench",
        "testing",
        "tests",
    ] {
        for path in sources(folder) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} does not open with //!", path.strip_prefix(root()).unwrap().display());
        }
    }
}
