//! `coracle up --test`: of use from its one line on, and gone with whoever started it.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use coracle_tests::{DEADLINE, World, is_ready, until_within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

fn up(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["up", "--test"]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn line(child: &mut Child) -> anyhow::Result<String> {
    let mut lines = BufReader::new(child.stdout.as_mut().context("a stdout")?).lines();
    let line = until_within(DEADLINE, "the line", async { Ok(lines.next_line().await?) });
    line.await?.context("it ended before it said how it is reached")
}

/// A world of the file that the line names.
async fn world(line: &str) -> anyhow::Result<World> {
    World::at(Path::new(line)).await
}

#[tokio::test]
async fn it_says_one_line_and_ends_with_its_stdin() -> anyhow::Result<()> {
    let mut child = up(&[]).spawn()?;
    let kubeconfig: Value = serde_json::from_str(&line(&mut child).await?)?;
    ensure!(kubeconfig["clusters"][0]["cluster"]["server"].as_str().is_some_and(|it| it.starts_with("https://127.")));
    ensure!(kubeconfig["users"][0]["user"]["client-key-data"].is_string(), "it is complete in itself");
    drop(child.stdin.take());
    let status = until_within(DEADLINE, "its end", async { Ok(child.wait().await?) }).await?;
    ensure!(status.success(), "{status}");
    let mut rest = String::new();
    child.stdout.context("a stdout")?.read_to_string(&mut rest).await?;
    ensure!(rest.is_empty(), "nothing follows the line: {rest}");
    Ok(())
}

#[tokio::test]
async fn it_ends_with_a_parent_that_is_killed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kubeconfig");
    // Nothing but the shell's death tells of it: stdin is no pipe.
    let script = format!("{PROGRAM} up --test --kubeconfig-out {} </dev/null & wait", file.display());
    let mut shell = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let world = world(&line(&mut shell).await?).await?;
    shell.kill().await?;
    // The pipe has no other end when the last process that holds it has ended.
    let mut stdout = shell.stdout.take().context("a stdout")?;
    until_within(DEADLINE, "its end", async { Ok(stdout.read_to_end(&mut Vec::new()).await?) }).await?;
    ensure!(!file.exists(), "what it wrote it has removed");
    ensure!(world.server.get("/version").await.is_err(), "nobody answers any more");
    Ok(())
}

#[tokio::test]
async fn it_has_the_parts_that_are_asked_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("kubeconfig");
    let out = ["--kubeconfig-out", file.to_str().context("a path in UTF-8")?];
    // Nodes that pretend: any image runs, and what is applied first is there first.
    let manifest = folder.path().join("first.yaml");
    std::fs::write(&manifest, first().to_string())?;
    let manifest = manifest.to_str().context("a path in UTF-8")?;
    let mut child = up(&[&out[..], &["--nodes", "2", manifest]].concat()).spawn()?;
    let pretended = world(&line(&mut child).await?).await?;
    pretended.server.get("/apis/tests.coracle.dev/v1/namespaces/team/boats/first").await?;
    pretended.deployment("web", "example.org/any:v1", 3).await?;
    let pods = pretended.ready_pods("web", 3).await?;
    let log = pretended.server.get(&format!("/api/v1/namespaces/default/pods/{}/log", name(&pods[0]))).await?;
    ensure!(log == "", "a container that pretends has written nothing: {log}");
    let nodes = pretended.server.get("/api/v1/nodes").await?;
    ensure!(nodes["items"].as_array().is_some_and(|nodes| nodes.len() == 2 && nodes.iter().all(is_ready)), "{nodes}");
    drop(child);

    // The API alone: pods wait for ever, and need no service account.
    let mut child = up(&[&out[..], &["--api-only"]].concat()).spawn()?;
    let alone = world(&line(&mut child).await?).await?;
    let pod = alone.pod("waits", "example.org/any:v1", json!({})).await?;
    ensure!(pod["status"]["phase"] == "Pending" && pod["spec"]["nodeName"].is_null(), "{pod}");
    let accounts = alone.server.get("/api/v1/serviceaccounts").await?;
    ensure!(accounts["items"].as_array().is_some_and(Vec::is_empty), "nobody makes any: {accounts}");
    Ok(())
}

#[tokio::test]
async fn it_runs_webassembly_where_that_is_wanted() -> anyhow::Result<()> {
    let (folder, network) = (tempfile::tempdir()?, coracle_tests::Network::claim()?);
    let file = folder.path().join("kubeconfig");
    let (pods, services) = (network.pods(0).to_string(), network.services());
    let arguments = ["--wasm", "--pod-cidr", &pods, "--service-cidr", &services, "--kubeconfig-out"];
    let mut child = up(&[&arguments[..], &[file.to_str().context("a path in UTF-8")?]].concat());
    let mut child = child.env("TMPDIR", folder.path()).spawn()?;
    let world = world(&line(&mut child).await?).await?;
    world.pod("exits", &world.guests.exits(3), json!({"restartPolicy": "Never"})).await?;
    let ended = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3;
    world.pod_until("exits", "ended with 3", ended).await?;
    drop(child.stdin.take());
    until_within(DEADLINE, "its end", async { Ok(child.wait().await?) }).await?;
    ensure!(std::fs::read_dir(folder.path())?.next().is_none(), "its folder and its file are gone");
    Ok(())
}

/// A namespace, a kind, and an object of that kind.
fn first() -> Value {
    let boat = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.tests.coracle.dev"},
        "spec": {
            "group": "tests.coracle.dev", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    let items = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}),
        boat,
        json!({
            "apiVersion": "tests.coracle.dev/v1", "kind": "Boat", "metadata": {"name": "first", "namespace": "team"},
        }),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}
