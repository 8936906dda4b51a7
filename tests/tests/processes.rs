//! Every scenario in a cluster that is a process of its own; and what only a process can show: its end and its next start.

use anyhow::ensure;
use coracle_tests::{Process, World};
use serde_json::{Value, json};
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

coracle_tests::all_scenarios!(World::process(PROGRAM));

#[tokio::test]
async fn a_second_start_finds_everything_as_it_was() -> anyhow::Result<()> {
    let mut world = World::process(PROGRAM).await?;
    world.deployment("web", &world.guests.waits(), 2).await?;
    let before = names(&world.ready_pods("web", 2).await?);
    world.running().expect("a process").interrupt().await?;
    world.running().expect("a process").again().await?;
    world.reconnect().await?;
    let after = names(&world.ready_pods("web", 2).await?);
    ensure!(before == after, "the pods are the same: {before:?} and {after:?}");
    world.stop().await
}

#[tokio::test]
async fn a_killed_node_restarts_its_pods_and_counts() -> anyhow::Result<()> {
    let mut world = World::process(PROGRAM).await?;
    world.pod("web", &world.guests.waits(), json!({})).await?;
    world.pod_until("web", "ready", coracle_tests::is_ready).await?;
    world.running().expect("a process").kill().await?;
    world.running().expect("a process").again().await?;
    world.reconnect().await?;
    let restarted = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        status["restartCount"] == 1 && coracle_tests::is_ready(pod)
    };
    world.pod_until("web", "restarted once", restarted).await?;
    world.stop().await
}

#[tokio::test]
async fn what_cannot_start_says_why() -> anyhow::Result<()> {
    let process = Process::up(PROGRAM).await?;
    let folder = process.data_dir().to_str().unwrap_or_default();
    let refused = up(&["--data-dir", folder, "--listen", "127.0.0.1:0"]).await?;
    ensure!(refused.contains("in use by another coracle") && refused.contains("hint:"), "{refused}");

    let other = tempfile::tempdir()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = listener.local_addr()?.to_string();
    let refused = up(&["--data-dir", other.path().to_str().unwrap_or_default(), "--listen", &taken]).await?;
    ensure!(refused.contains(&taken) && refused.contains("hint:"), "{refused}");

    let store = other.path().join("store.redb");
    std::fs::write(&store, b"this was a store once".repeat(1000))?;
    let before = std::fs::read(&store)?;
    let refused = up(&["--data-dir", other.path().to_str().unwrap_or_default(), "--listen", "127.0.0.1:0"]).await?;
    ensure!(refused.contains("damaged") && refused.contains("hint:"), "{refused}");
    ensure!(std::fs::read(&store)? == before, "a damaged store is left as it is");
    Ok(())
}

#[tokio::test]
async fn a_module_runs_once_with_what_it_is_given() -> anyhow::Result<()> {
    let guests = coracle_tests::Guests::new()?;
    let table: [(&str, &[&str], i32, &str, &str); 5] = [
        (&guests.exits(0), &[], 0, "", ""),
        (&guests.exits(7), &[], 7, "", ""),
        (&guests.grows(), &["--memory", "8Mi"], 137, "", "OOMKilled"),
        (&guests.spins(), &["--timeout", "200ms"], 124, "", "did not end within"),
        (&guests.asks_too_much(), &[], 1, "", "acme.teleport"),
    ];
    for (image, flags, code, stdout, stderr) in table {
        let path = coracle_tests::Guests::path(image);
        let output = Command::new(PROGRAM).arg("run").args(flags).arg(path).output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.code() == Some(code), "{image}: {} {said} {complained}", output.status);
        ensure!(said == stdout && complained.contains(stderr), "{image}: {said} {complained}");
    }
    let output = Command::new(PROGRAM)
        .arg("run")
        .arg(coracle_tests::Guests::path(&guests.talks_and_fails("hi", 2)))
        .output()
        .await?;
    ensure!(output.status.code() == Some(3) && output.stdout == b"hi 0\nhi 1\n", "{output:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_node_joins_by_the_kubeconfig_of_its_cluster() -> anyhow::Result<()> {
    // With the kubeconfig of `up` a node had no certificate, and `kubectl logs` of its pods failed.
    let mut world = World::process(PROGRAM).await?;
    let (kubeconfig, network) = (world.running().expect("a process").kubeconfig(), coracle_tests::Network::claim()?);
    let _kubelet = Command::new(PROGRAM)
        .arg("kubelet")
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .args(["--node-name", "second", "--listen", "127.0.0.1:0", "--no-proxy"])
        .args(["--pod-cidr", &network.pods(0).to_string()])
        .kill_on_drop(true)
        .spawn()?;
    world.pod("web", &world.guests.talks("hello", 1), json!({"nodeName": "second"})).await?;
    world.pod_until("web", "ready", coracle_tests::is_ready).await?;
    let log = world.server.get("/api/v1/namespaces/default/pods/web/log").await?;
    ensure!(log == "hello 0\n", "{log}");
    ensure!(kubeconfig.with_file_name("node").join("second").is_dir(), "its folder is in its cluster's");
    world.stop().await
}

fn names(pods: &[Value]) -> Vec<Value> {
    pods.iter().map(|pod| pod["metadata"]["name"].clone()).collect()
}

/// Runs `up` where it must fail; what it says.
async fn up(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(PROGRAM).arg("up").args(arguments).output();
    let output =
        coracle_tests::until_within(coracle_tests::DEADLINE, "the refusal", async { Ok(output.await?) }).await?;
    ensure!(!output.status.success(), "it started");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
