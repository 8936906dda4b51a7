//! How people reach what runs in a pod: exec, attach, cp and port-forward, by stock kubectl and by `coracle` itself, on one
//! process and through the API server to a node that is another one.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use coracle_tests::{Guests, Parts, Tool, World, kubectl};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test]
async fn people_reach_into_pods() -> anyhow::Result<()> {
    let Some(program) = kubectl() else { return Ok(()) };
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let tool = Tool::new(&program, &kubeconfig);
    converses(&world).await?;
    reaches(&tool).await?;
    tells_logs(&tool, &world.guests).await?;
    tops(&tool).await?;
    world.stop().await
}

#[tokio::test]
async fn people_reach_into_pods_of_a_node_that_is_another_process() -> anyhow::Result<()> {
    let Some(program) = kubectl() else { return Ok(()) };
    let mut parts = Parts::start(PROGRAM).await?;
    parts.start_kubelet(&[])?;
    let world = World::at(parts.kubeconfig()).await?;
    converses(&world).await?;
    reaches(&Tool::new(&program, parts.kubeconfig())).await?;
    // As kubectl did it until 1.31, and does it still where it is told to.
    let spdy = Tool::new(&program, parts.kubeconfig())
        .with_variable("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")
        .with_variable("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false");
    let output = spdy.output("exec talk -v=8 -- x 0", "").await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(told.contains("POST https://"), "it speaks SPDY: {told}");
    reaches(&spdy).await
}

#[tokio::test]
async fn coracle_reaches_into_pods_as_kubectl_does() -> anyhow::Result<()> {
    let mut parts = Parts::start(PROGRAM).await?;
    parts.start_kubelet(&[])?;
    let world = World::at(parts.kubeconfig()).await?;
    converses(&world).await?;
    let tool = Tool::new(Path::new(PROGRAM), parts.kubeconfig());
    reaches(&tool).await?;
    says_what_kubectl_says(&world, &tool).await?;
    let output = tool.output("cp talk:/data/nothing /tmp/nothing", "").await?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    if let Some(program) = kubectl() {
        says_what_kubectl_says(&world, &Tool::new(&program, parts.kubeconfig())).await?;
    }
    Ok(())
}

#[tokio::test]
async fn people_type_at_a_terminal() -> anyhow::Result<()> {
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    converses(&world).await?;
    let mut tools = vec![Path::new(PROGRAM).to_owned()];
    tools.extend(kubectl());
    for tool in tools {
        // Keys are shown as they are typed, a line is passed on when it is whole, and control and D end the input.
        let line = format!("{} --kubeconfig {} exec -it talk -- x 5", tool.display(), kubeconfig.display());
        let Ok(mut typed) = Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
        else {
            eprintln!("skipped: there is no script on this machine");
            break;
        };
        let (mut keys, mut screen) = (typed.stdin.take().context("stdin")?, typed.stdout.take().context("stdout")?);
        shows(&mut screen, "5\r\n").await?;
        keys.write_all(b"helpp\x7flo\r").await?;
        shows(&mut screen, "lo\r\nhelplo\r\n").await?;
        keys.write_all(b"\x04").await?;
        shows(&mut screen, "bye\r\n").await?;
        let ended = async { Ok(typed.wait().await?) };
        let ended = coracle_tests::until_within(coracle_tests::DEADLINE, "the command to end", ended).await?;
        ensure!(ended.code() == Some(5), "{line}: {ended}");
    }
    world.stop().await
}

/// Waits until a screen shows something.
async fn shows(screen: &mut (impl AsyncReadExt + Unpin), wanted: &str) -> anyhow::Result<()> {
    let mut shown = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&shown).contains(wanted) {
            ensure!(screen.read_buf(&mut shown).await? > 0, "it ended");
        }
        Ok(())
    };
    let read = coracle_tests::until_within(coracle_tests::DEADLINE, wanted, reading).await;
    read.with_context(|| format!("the screen shows {:?}", String::from_utf8_lossy(&shown)))
}

/// Words beside those of the containers, and who is meant where several could be.
async fn says_what_kubectl_says(world: &World, tool: &Tool<'_>) -> anyhow::Result<()> {
    let image = world.guests.converses();
    let container =
        |name: &str| json!({"name": name, "image": image, "volumeMounts": [{"name": "data", "mountPath": "/data"}]});
    let volumes = json!([{"name": "data", "emptyDir": {}}]);
    world.pod("two", "", json!({"containers": [container("first"), container("second")], "volumes": volumes})).await?;
    world.deployment("talks", &image, 1).await?;
    world.pod_until("two", "ready", coracle_tests::is_ready).await?;
    world.ready_pods("talks", 1).await?;

    let output = tool.output("exec two -- x 0", "").await?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(stderr == "Defaulted container \"first\" out of: first, second\nbye\n", "{stderr}");
    let output = tool.output("exec -q two -- x 0", "").await?;
    ensure!(output.stderr == b"bye\n", "{output:?}");
    let output = tool.output("exec -it talk -- x 5", "typed").await?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.stdout == b"5\ntyped" && output.status.code() == Some(5), "{output:?}");
    ensure!(
        stderr.starts_with("Unable to use a TTY - input is not a terminal or the right kind of file\n"),
        "{stderr}"
    );
    ensure!(tool.run("exec deploy/talks -- x 0").await? == "0\n", "a deployment's pod is meant");

    let refused = tool.refused("exec two").await?;
    ensure!(refused.contains("you must specify at least one command for the container"), "{refused}");
    let refused = tool.refused("exec two x").await?;
    ensure!(
        refused.contains("exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead"),
        "{refused}"
    );
    let refused = tool.refused("exec nobody -- x").await?;
    ensure!(refused.contains("Error from server (NotFound): pods \"nobody\" not found"), "{refused}");
    let refused = tool.refused("attach two -c third").await?;
    ensure!(refused.contains("container third not found in pod two"), "{refused}");
    let refused = tool.refused("cp /nowhere two:/data").await?;
    ensure!(refused.contains("/nowhere doesn't exist in local filesystem"), "{refused}");
    let refused = tool.refused("cp two:/data two:/data").await?;
    ensure!(refused.contains("one of src or dest must be a local file specification"), "{refused}");
    let refused = tool.refused("cp a/b/two:/data /tmp/x").await?;
    ensure!(refused.contains("filespec must match the canonical format: [[namespace/]pod:]file/path"), "{refused}");
    let refused = tool.refused("port-forward talk :nothing").await?;
    ensure!(refused.contains("Pod 'talk' does not have a named port 'nothing'"), "{refused}");

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "second's")?;
    tool.run(&format!("cp {} default/two:/data/other -c second --no-preserve", file.display())).await?;
    let back = folder.path().join("back");
    tool.run(&format!("cp default/two:data/../data/other {} -c first", back.display())).await?;
    ensure!(std::fs::read(back)? == b"second's", "both containers have the volume");
    // Whether that is a failure depends on kubectl's luck.
    tool.output(&format!("cp two:/data/nothing {}", folder.path().join("x").display()), "").await?;
    ensure!(!folder.path().join("x").exists(), "what is not there is not copied");
    world.server.delete("/api/v1/namespaces/default/pods/two", &json!({})).await?;
    world
        .until("/api/v1/namespaces/default/pods", "the pod gone", |pods| coracle_tests::named(pods, "two").is_none())
        .await?;
    Ok(())
}

/// A pod that talks and a pod that serves.
async fn converses(world: &World) -> anyhow::Result<()> {
    let data = json!({"containers": [{
        "name": "main", "image": world.guests.converses(), "stdin": true,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }], "volumes": [{"name": "data", "emptyDir": {}}]});
    world.pod("talk", "", data).await?;
    world.pod("web", &Guests::sample_image("web")?, json!({})).await?;
    for name in ["talk", "web"] {
        world.pod_until(name, "ready", coracle_tests::is_ready).await?;
    }
    Ok(())
}

async fn reaches(tool: &Tool<'_>) -> anyhow::Result<()> {
    runs_again(tool).await?;
    copies(tool).await?;
    attaches(tool).await?;
    forwards(tool).await
}

async fn tells_logs(tool: &Tool<'_>, guests: &Guests) -> anyhow::Result<()> {
    let stuck = guests.missing();
    let (fails, talks) = (guests.talks_and_fails("line", 3), guests.talks("other", 2));
    tool.with("apply -f -", &pod("fails", &[("first", &fails), ("second", &talks)])).await?;
    tool.with("apply -f -", &pod("stuck", &[("main", &stuck)])).await?;
    tool.run("wait --for=jsonpath={.status.containerStatuses[0].restartCount}=1 --timeout=60s pod/fails").await?;
    let followed = tool.run("logs fails -c first --previous --timestamps --tail=2").await?;
    ensure!(followed.lines().count() == 2 && followed.lines().all(|line| line.contains("Z line ")), "{followed}");
    ensure!(tool.run("logs fails -c first --previous --limit-bytes=4").await? == "line");
    ensure!(tool.run("logs fails -c first --previous --since=1h").await?.lines().count() == 3);
    ensure!(tool.run("logs fails -c first --previous --since-time=2999-01-01T00:00:00Z").await?.is_empty());
    let all = tool.run("logs fails --all-containers --prefix").await?;
    ensure!(all.contains("[pod/fails/first] line 0") && all.contains("[pod/fails/second] other 1"), "{all}");
    let refused = tool.refused("logs fails -c second --previous").await?;
    ensure!(refused.contains("previous terminated container \"second\" in pod \"fails\" not found"), "{refused}");
    let refused = tool.refused("logs stuck").await?;
    ensure!(refused.contains("container \"main\" in pod \"stuck\" is waiting to start: "), "{refused}");
    let refused = tool.refused("logs fails -c third").await?;
    ensure!(refused.contains("container third is not valid for pod fails"), "{refused}");
    Ok(())
}

async fn tops(tool: &Tool<'_>) -> anyhow::Result<()> {
    let told = async {
        // The node looks at what is used now and then: there is nothing to watch.
        loop {
            let output = tool.output("top pod talk --containers", "").await?;
            if output.status.success() {
                return Ok(String::from_utf8(output.stdout)?);
            }
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    let told = coracle_tests::until_within(coracle_tests::DEADLINE, "what a pod uses", told).await?;
    let row = told.lines().nth(1).unwrap_or_default().to_owned();
    ensure!(told.starts_with("POD") && row.starts_with("talk   main   ") && row.trim_end().ends_with("0Mi"), "{told}");
    let nodes = tool.run("top node").await?;
    ensure!(nodes.starts_with("NAME") && nodes.lines().count() == 2, "{nodes}");
    let raw = tool.run("get --raw /apis/metrics.k8s.io/v1beta1/namespaces/default/pods/talk").await?;
    ensure!(raw.contains("\"kind\":\"PodMetrics\"") && raw.contains("\"window\":\"10s\""), "{raw}");
    ensure!(tool.run("api-resources --api-group=metrics.k8s.io").await?.contains("PodMetrics"));
    let table = tool.run("get pods.metrics.k8s.io talk").await?;
    ensure!(table.starts_with("NAME   CPU"), "{table}");
    let refused = tool.refused("get pods.metrics.k8s.io nobody").await?;
    ensure!(refused.contains("podmetrics.metrics.k8s.io \"default/nobody\" not found"), "{refused}");
    Ok(())
}

/// A pod that restarts these containers when they fail.
fn pod(name: &str, containers: &[(&str, &str)]) -> String {
    let container = |(name, image): &(&str, &str)| format!("  - {{name: {name}, image: '{image}'}}\n");
    let containers: String = containers.iter().map(container).collect();
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n{containers}"
    )
}

async fn runs_again(tool: &Tool<'_>) -> anyhow::Result<()> {
    let output = tool.output("exec -i talk -- x one two", "typed").await?;
    ensure!(output.stdout == b"one\ntwo\ntyped" && output.stderr == b"bye\n", "{output:?}");
    ensure!(output.status.success(), "{}", output.status);
    let output = tool.output("exec talk -c main -- x 7", "").await?;
    ensure!(output.status.code() == Some(7), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(stderr == "bye\ncommand terminated with exit code 7\n", "{stderr}");
    let large = "0123456789abcdef".repeat(1 << 14);
    let output = tool.output("exec -i talk -- x", &large).await?;
    ensure!(output.stdout == large.as_bytes(), "{} of {} bytes came back", output.stdout.len(), large.len());
    let refused = tool.refused("exec talk -c other -- x").await?;
    ensure!(refused.contains("container other is not valid for pod talk") || refused.contains("other"), "{refused}");
    let refused = tool.refused("exec web -- x").await?;
    ensure!(refused.contains("it serves HTTP, and has no command to run"), "{refused}");
    let log = tool.run("logs talk").await?;
    ensure!(
        log.lines().all(|line| ["ready", "hello"].contains(&line)),
        "what is run again does not write the log: {log}"
    );
    Ok(())
}

async fn copies(tool: &Tool<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    std::fs::create_dir_all(there.join("deep/er"))?;
    std::fs::write(there.join("a"), "hello")?;
    std::fs::write(there.join("deep/er/b"), vec![7; 300_000])?;
    tool.run(&format!("cp {} talk:/data", there.display())).await?;
    tool.run(&format!("cp talk:/data/there {}", back.display())).await?;
    ensure!(std::fs::read(back.join("a"))? == b"hello" && std::fs::read(back.join("deep/er/b"))? == vec![7; 300_000]);
    let refused = tool.refused(&format!("cp {} talk:/elsewhere/a", there.join("a").display())).await?;
    ensure!(refused.contains("no volume is mounted there"), "{refused}");
    let refused = tool.output("exec talk -- tar cf - /data/nothing", "").await?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    Ok(())
}

async fn attaches(tool: &Tool<'_>) -> anyhow::Result<()> {
    let mut attached = tool.start("attach -i talk")?;
    let (mut stdin, stdout) = (attached.stdin.take().context("stdin")?, attached.stdout.take().context("stdout")?);
    let mut lines = tokio::io::BufReader::new(stdout).lines();
    let said = async {
        stdin.write_all(b"hello\n").await?;
        Ok(lines.next_line().await?)
    };
    let said: Option<String> = coracle_tests::until_within(coracle_tests::DEADLINE, "attach", said).await?;
    ensure!(said.as_deref() == Some("hello"), "{said:?}");
    attached.kill().await?;
    ensure!(tool.run("logs talk --tail=1").await? == "hello\n", "it is the container that spoke");
    Ok(())
}

async fn forwards(tool: &Tool<'_>) -> anyhow::Result<()> {
    let mut forwarder = tool.start("port-forward pod/web :8080 :1")?;
    let mut lines = tokio::io::BufReader::new(forwarder.stdout.take().context("stdout")?).lines();
    let mut ports = std::collections::HashMap::new();
    while ports.len() < 2 {
        let line = coracle_tests::until_within(coracle_tests::DEADLINE, "port-forward", async {
            lines.next_line().await?.context("it ended")
        });
        let line = line.await?;
        let Some((local, remote)) =
            line.strip_prefix("Forwarding from 127.0.0.1:").and_then(|it| it.split_once(" -> "))
        else {
            continue;
        };
        ports.insert(remote.to_owned(), local.parse::<u16>()?);
    }
    for _ in 0..3 {
        let answer = ask(ports["8080"]).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    ensure!(ask(ports["1"]).await.unwrap_or_default().is_empty(), "nobody listens there");
    // Which is where kubectl gives up.
    let ended = async { Ok(forwarder.wait_with_output().await?) };
    let ended = coracle_tests::until_within(coracle_tests::DEADLINE, "port-forward to end", ended).await?;
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(stderr.contains("error forwarding port 1 to pod web") && stderr.contains("refused"), "{stderr}");
    Ok(())
}

/// What is answered to a GET, over a connection of its own.
async fn ask(port: u16) -> anyhow::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    let read = async { Ok(stream.read_to_end(&mut answer).await?) };
    coracle_tests::until_within(coracle_tests::DEADLINE, "an answer", read).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
