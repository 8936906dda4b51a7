//! Clients in Python, as they are: `kubernetes`, `kr8s` and a `kopf` operator. Each is a script of `tests/clients/python`.

use anyhow::Context;
use coracle_tests::{Interpreter, Throwaway, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

fn python() -> Interpreter {
    // Beside the sources nothing is left behind.
    Interpreter::new("CORACLE_PYTHON", "python3").with("PYTHONDONTWRITEBYTECODE", "1".to_owned())
}

/// Runs a script against a cluster of its own, where Python has the module.
async fn run(module: &str, script: &str) -> anyhow::Result<()> {
    let python = python();
    if !python.has(&format!("module named {module}"), &["-c", &format!("import {module}")]).await {
        return Ok(());
    }
    let cluster = Throwaway::up(PROGRAM, &[]).await?;
    python.run(script, Some(&cluster.kubeconfig()), &[]).await
}

#[tokio::test]
async fn the_python_client_lists_watches_creates_and_patches() -> anyhow::Result<()> {
    let python = python();
    if !python.has("module named kubernetes", &["-c", "import kubernetes"]).await {
        return Ok(());
    }
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let arguments = [kubeconfig.to_str().context("a path in UTF-8")?, &world.guests.waits()];
    python.run("python/client.py", None, &arguments).await?;
    world.stop().await
}

#[tokio::test]
async fn the_dynamic_client_patches_in_every_way_and_watches() -> anyhow::Result<()> {
    run("kubernetes", "python/dynamic.py").await
}

#[tokio::test]
async fn kr8s_takes_a_deployment_through_its_life() -> anyhow::Result<()> {
    run("kr8s", "python/with_kr8s.py").await
}

#[tokio::test]
async fn a_kopf_operator_with_its_own_definition_does_its_work() -> anyhow::Result<()> {
    run("kopf", "python/with_kopf.py").await
}

#[tokio::test]
async fn a_test_in_python_has_a_cluster_to_itself() -> anyhow::Result<()> {
    let python = python();
    if !python.has("module named kubernetes", &["-c", "import kubernetes"]).await {
        return Ok(());
    }
    python.run("python/own_cluster.py", None, &[PROGRAM]).await
}
