//! The Python `kubernetes` client, as it is: list, watch, create, patch.

use std::path::Path;

use anyhow::{Context, ensure};
use coracle_tests::World;
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test]
async fn the_python_client_lists_watches_creates_and_patches() -> anyhow::Result<()> {
    let python = std::env::var("CORACLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let known = Command::new(&python).args(["-c", "import kubernetes"]).output().await;
    if !known.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no module named kubernetes");
        return Ok(());
    }
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/client.py");
    let run = Command::new(&python).arg(script).arg(&kubeconfig).arg(world.guests.waits()).kill_on_drop(true).output();
    let output = coracle_tests::until_within(coracle_tests::DEADLINE, "the script", async { Ok(run.await?) }).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.stop().await
}
