//! What a person does with the stock kubectl of the machine, and what `coracle` itself answers to the same words.

use std::path::Path;

use anyhow::{Context, ensure};
use coracle_tests::{Guests, World};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// A program with kubectl's habits, on one cluster.
struct Tool<'a> {
    program: &'a Path,
    kubeconfig: &'a Path,
}

impl Tool<'_> {
    /// Runs it; what it printed.
    async fn run(&self, line: &str) -> anyhow::Result<String> {
        let output = self.output(line, "").await?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{line}: {} {stderr}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs it where it must fail; what it complained.
    async fn refused(&self, line: &str) -> anyhow::Result<String> {
        let output = self.output(line, "").await?;
        ensure!(!output.status.success(), "{line} did not fail");
        Ok(String::from_utf8(output.stderr)?)
    }

    /// Runs it with a manifest on stdin.
    async fn with(&self, line: &str, manifest: &str) -> anyhow::Result<String> {
        let output = self.output(line, manifest).await?;
        ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts it, with pipes.
    fn start(&self, line: &str) -> anyhow::Result<tokio::process::Child> {
        let mut command = Command::new(self.program);
        command.arg("--kubeconfig").arg(self.kubeconfig).args(line.split_whitespace());
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        Ok(command.stderr(std::process::Stdio::piped()).kill_on_drop(true).spawn()?)
    }

    async fn output(&self, line: &str, stdin: &str) -> anyhow::Result<std::process::Output> {
        let mut child = self.start(line)?;
        let mut pipe = child.stdin.take().context("no stdin")?;
        let given = async {
            // Who has ended reads no more.
            let _ = pipe.write_all(stdin.as_bytes()).await;
            drop(pipe);
        };
        let ended = async { Ok(tokio::join!(given, child.wait_with_output()).1?) };
        coracle_tests::until_within(coracle_tests::DEADLINE, line, ended).await
    }
}

/// The kubectl of this machine, if there is one.
fn kubectl() -> Option<std::path::PathBuf> {
    let found =
        std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join("kubectl")).find(|it| it.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no kubectl on this machine");
    }
    found
}

#[tokio::test]
async fn kubectl_does_what_it_does_elsewhere() -> anyhow::Result<()> {
    let Some(program) = kubectl() else { return Ok(()) };
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let kubectl = Tool { program: &program, kubeconfig: &kubeconfig };
    person(&kubectl, &world.guests).await?;
    // What kubectl alone has.
    kubectl.run("wait --for=condition=Available --timeout=60s deploy/web").await?;
    ensure!(kubectl.run("version").await?.contains("Server Version: v1.36"), "the server is a Kubernetes 1.36");
    ensure!(kubectl.run("api-resources").await?.contains("deployments"), "discovery names the kinds");
    ensure!(kubectl.run("get --raw /readyz").await? == "ok", "raw paths are answered");
    kubectl.run("create configmap made --from-literal=a=b").await?;
    kubectl.run("label configmap made c=d").await?;
    kubectl.run("annotate configmap made e=f").await?;
    let got =
        kubectl.run("get configmap made -o jsonpath={.data.a}{.metadata.labels.c}{.metadata.annotations.e}").await?;
    ensure!(got == "bdf", "{got}");
    kubectl.run("patch configmap made -p {\"data\":{\"a\":\"g\"}}").await?;
    ensure!(kubectl.run("get configmap made -o jsonpath={.data.a}").await? == "g", "a patch is a patch");
    kubectl.run("expose deploy/web --port=8080").await?;
    ensure!(kubectl.run("get service web").await?.contains("8080/TCP"), "an exposed deployment has a service");
    let explained = kubectl.run("explain pod.spec.containers.ports").await?;
    ensure!(explained.contains("containerPort\t<integer> -required-"), "{explained}");
    for kind in ["deployment", "crd", "horizontalpodautoscaler"] {
        ensure!(kubectl.run(&format!("explain {kind} --recursive")).await?.contains("FIELDS:"), "{kind} is explained");
    }
    world.stop().await
}

#[tokio::test]
async fn coracle_answers_to_kubectls_words() -> anyhow::Result<()> {
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let coracle = Tool { program: Path::new(PROGRAM), kubeconfig: &kubeconfig };
    person(&coracle, &world.guests).await?;
    ensure!(coracle.run("events").await?.contains("Scheduled"), "events are told");
    ensure!(coracle.run("kubeconfig").await?.trim() == kubeconfig.to_string_lossy(), "the kubeconfig is named");
    let kept = Guests::path(&world.guests.waits()).display().to_string();
    coracle.run(&format!("run --keep --name kept --replicas 2 {kept}")).await?;
    coracle.run("rollout status deploy/kept --timeout 60s").await?;
    world.stop().await
}

#[tokio::test]
async fn both_apply_to_one_object() -> anyhow::Result<()> {
    let Some(program) = kubectl() else { return Ok(()) };
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let kubectl = Tool { program: &program, kubeconfig: &kubeconfig };
    let coracle = Tool { program: Path::new(PROGRAM), kubeconfig: &kubeconfig };
    let manifest = |data: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: shared}}\ndata: {data}\n");
    let said = coracle.with("apply -f -", &manifest("{a: '1', b: '2'}")).await?;
    ensure!(said == "configmap/shared created\n", "{said}");
    let said = kubectl.with("apply -f -", &manifest("{a: '1', b: '2'}")).await?;
    ensure!(said == "configmap/shared unchanged\n", "{said}");
    let said = kubectl.with("apply -f -", &manifest("{a: '3'}")).await?;
    ensure!(said == "configmap/shared configured\n", "{said}");
    let said = coracle.with("apply -f -", &manifest("{c: '4'}")).await?;
    ensure!(said == "configmap/shared configured\n", "{said}");
    let data = kubectl.run("get configmap shared -o jsonpath={.data}").await?;
    ensure!(data == r#"{"c":"4"}"#, "what neither applies any more is gone: {data}");
    let said = kubectl.with("apply -f -", &manifest("{c: '4'}")).await?;
    ensure!(said == "configmap/shared unchanged\n", "{said}");
    world.stop().await
}

#[tokio::test]
async fn people_reach_into_pods() -> anyhow::Result<()> {
    let Some(program) = kubectl() else { return Ok(()) };
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let kubectl = Tool { program: &program, kubeconfig: &kubeconfig };
    kubectl.with("apply -f -", &conversation(&world.guests.converses(), &Guests::sample_image("web")?)).await?;
    kubectl.run("wait --for=condition=Ready --timeout=120s pod/talk pod/web").await?;
    runs_again(&kubectl).await?;
    copies(&kubectl).await?;
    attaches(&kubectl).await?;
    forwards(&kubectl).await?;
    tells_logs(&kubectl, &world.guests).await?;
    tops(&kubectl).await?;
    world.stop().await
}

async fn tells_logs(kubectl: &Tool<'_>, guests: &Guests) -> anyhow::Result<()> {
    let stuck = guests.missing();
    let (fails, talks) = (guests.talks_and_fails("line", 3), guests.talks("other", 2));
    kubectl.with("apply -f -", &pod("fails", &[("first", &fails), ("second", &talks)])).await?;
    kubectl.with("apply -f -", &pod("stuck", &[("main", &stuck)])).await?;
    kubectl.run("wait --for=jsonpath={.status.containerStatuses[0].restartCount}=1 --timeout=60s pod/fails").await?;
    let followed = kubectl.run("logs fails -c first --previous --timestamps --tail=2").await?;
    ensure!(followed.lines().count() == 2 && followed.lines().all(|line| line.contains("Z line ")), "{followed}");
    ensure!(kubectl.run("logs fails -c first --previous --limit-bytes=4").await? == "line");
    ensure!(kubectl.run("logs fails -c first --previous --since=1h").await?.lines().count() == 3);
    ensure!(kubectl.run("logs fails -c first --previous --since-time=2999-01-01T00:00:00Z").await?.is_empty());
    let all = kubectl.run("logs fails --all-containers --prefix").await?;
    ensure!(all.contains("[pod/fails/first] line 0") && all.contains("[pod/fails/second] other 1"), "{all}");
    let refused = kubectl.refused("logs fails -c second --previous").await?;
    ensure!(refused.contains("previous terminated container \"second\" in pod \"fails\" not found"), "{refused}");
    let refused = kubectl.refused("logs stuck").await?;
    ensure!(refused.contains("container \"main\" in pod \"stuck\" is waiting to start: "), "{refused}");
    let refused = kubectl.refused("logs fails -c third").await?;
    ensure!(refused.contains("container third is not valid for pod fails"), "{refused}");
    Ok(())
}

async fn tops(kubectl: &Tool<'_>) -> anyhow::Result<()> {
    let told = async {
        // The node looks at what is used now and then: there is nothing to watch.
        loop {
            let output = kubectl.output("top pod talk --containers", "").await?;
            if output.status.success() {
                return Ok(String::from_utf8(output.stdout)?);
            }
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    let told = coracle_tests::until_within(coracle_tests::DEADLINE, "what a pod uses", told).await?;
    let row = told.lines().nth(1).unwrap_or_default().to_owned();
    ensure!(told.starts_with("POD") && row.starts_with("talk   main   ") && row.trim_end().ends_with("0Mi"), "{told}");
    let nodes = kubectl.run("top node").await?;
    ensure!(nodes.starts_with("NAME") && nodes.lines().count() == 2, "{nodes}");
    let raw = kubectl.run("get --raw /apis/metrics.k8s.io/v1beta1/namespaces/default/pods/talk").await?;
    ensure!(raw.contains("\"kind\":\"PodMetrics\"") && raw.contains("\"window\":\"10s\""), "{raw}");
    ensure!(kubectl.run("api-resources --api-group=metrics.k8s.io").await?.contains("PodMetrics"));
    let table = kubectl.run("get pods.metrics.k8s.io talk").await?;
    ensure!(table.starts_with("NAME   CPU"), "{table}");
    let refused = kubectl.refused("get pods.metrics.k8s.io nobody").await?;
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

async fn runs_again(kubectl: &Tool<'_>) -> anyhow::Result<()> {
    let output = kubectl.output("exec -i talk -- x one two", "typed").await?;
    ensure!(output.stdout == b"one\ntwo\ntyped" && output.stderr == b"bye\n", "{output:?}");
    ensure!(output.status.success(), "{}", output.status);
    let output = kubectl.output("exec talk -c main -- x 7", "").await?;
    ensure!(output.status.code() == Some(7), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(stderr == "bye\ncommand terminated with exit code 7\n", "{stderr}");
    let large = "0123456789abcdef".repeat(1 << 14);
    let output = kubectl.output("exec -i talk -- x", &large).await?;
    ensure!(output.stdout == large.as_bytes(), "{} of {} bytes came back", output.stdout.len(), large.len());
    let refused = kubectl.refused("exec talk -c other -- x").await?;
    ensure!(refused.contains("container other is not valid for pod talk") || refused.contains("other"), "{refused}");
    let refused = kubectl.refused("exec web -- x").await?;
    ensure!(refused.contains("it serves HTTP, and has no command to run"), "{refused}");
    ensure!(kubectl.run("logs talk").await? == "ready\n", "what is run again does not write the container's log");
    Ok(())
}

async fn copies(kubectl: &Tool<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    std::fs::create_dir_all(there.join("deep/er"))?;
    std::fs::write(there.join("a"), "hello")?;
    std::fs::write(there.join("deep/er/b"), vec![7; 300_000])?;
    kubectl.run(&format!("cp {} talk:/data", there.display())).await?;
    kubectl.run(&format!("cp talk:/data/there {}", back.display())).await?;
    ensure!(std::fs::read(back.join("a"))? == b"hello" && std::fs::read(back.join("deep/er/b"))? == vec![7; 300_000]);
    let refused = kubectl.refused(&format!("cp {} talk:/elsewhere/a", there.join("a").display())).await?;
    ensure!(refused.contains("no volume is mounted there"), "{refused}");
    let refused = kubectl.output("exec talk -- tar cf - /data/nothing", "").await?;
    ensure!(refused.status.code() == Some(2), "{refused:?}");
    Ok(())
}

async fn attaches(kubectl: &Tool<'_>) -> anyhow::Result<()> {
    let mut attached = kubectl.start("attach -i talk")?;
    let (mut stdin, stdout) = (attached.stdin.take().context("stdin")?, attached.stdout.take().context("stdout")?);
    let mut lines = tokio::io::BufReader::new(stdout).lines();
    let said = async {
        stdin.write_all(b"hello\n").await?;
        Ok(lines.next_line().await?)
    };
    let said: Option<String> = coracle_tests::until_within(coracle_tests::DEADLINE, "attach", said).await?;
    ensure!(said.as_deref() == Some("hello"), "{said:?}");
    attached.kill().await?;
    ensure!(kubectl.run("logs talk --tail=1").await? == "hello\n", "it is the container that spoke");
    Ok(())
}

async fn forwards(kubectl: &Tool<'_>) -> anyhow::Result<()> {
    let mut forwarder = kubectl.start("port-forward pod/web :8080 :1")?;
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

fn conversation(talk: &str, web: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: Pod
metadata: {{name: talk}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: {talk}
    stdin: true
    volumeMounts: [{{name: data, mountPath: /data}}]
  volumes: [{{name: data, emptyDir: {{}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: {web}
    ports: [{{containerPort: 8080}}]
"
    )
}

/// A newcomer's session, in words that both know.
async fn person(tool: &Tool<'_>, guests: &Guests) -> anyhow::Result<()> {
    let nodes = tool.run("get nodes").await?;
    ensure!(nodes.contains("NAME") && nodes.contains("Ready"), "{nodes}");
    let manifest = deployment(&guests.talks("line", 3));
    ensure!(tool.with("apply -f -", &manifest).await? == "deployment.apps/web created\n");
    ensure!(tool.with("apply -f -", &manifest).await? == "deployment.apps/web unchanged\n");
    let status = tool.run("rollout status deployment/web").await?;
    ensure!(status.ends_with("deployment \"web\" successfully rolled out\n"), "{status}");

    let pods = tool.run("get pods").await?;
    ensure!(pods.lines().count() == 3 && pods.contains("1/1     Running"), "{pods}");
    let names = tool.run("get pods -l app=web -o name").await?;
    ensure!(names.lines().all(|name| name.starts_with("pod/web-")), "{names}");
    let wide = tool.run("get deploy,rs,pods -o wide").await?;
    ensure!(wide.contains("deployment.apps/web") && wide.contains("replicaset.apps/web-"), "{wide}");
    ensure!(tool.run("get pods -A").await?.contains("NAMESPACE"), "all namespaces have a column for them");
    ensure!(tool.run("get deploy web -o yaml").await?.contains("kind: Deployment"), "an object is its YAML");
    ensure!(tool.run("get deploy web -o json").await?.contains("\"kind\": \"Deployment\""), "or its JSON");

    let logs = tool.run("logs deploy/web --tail=2").await?;
    ensure!(logs == "line 1\nline 2\n", "{logs}");
    let one = names.lines().next().context("a pod")?.to_owned();
    let described = tool.run(&format!("describe {one}")).await?;
    for part in ["Controlled By:  ReplicaSet/web-", "Restart Count:  0", "Scheduled", "Started"] {
        ensure!(described.contains(part), "{part} in {described}");
    }
    ensure!(
        tool.run("describe deploy web").await?.contains("2 desired | 2 updated | 2 total | 2 available"),
        "numbers"
    );

    ensure!(tool.run("scale deploy/web --replicas=3").await? == "deployment.apps/web scaled\n");
    tool.run("rollout status deploy/web").await?;
    ensure!(tool.run("rollout restart deploy/web").await? == "deployment.apps/web restarted\n");
    tool.run("rollout status deploy/web").await?;
    ensure!(tool.run("rollout history deploy/web").await?.contains("REVISION"), "there is a history");
    ensure!(tool.run("rollout undo deploy/web").await? == "deployment.apps/web rolled back\n");
    tool.run("rollout status deploy/web").await?;

    let names = tool.run("get pods -l app=web -o name").await?;
    let one = names.lines().next().context("a pod")?;
    let deleted = tool.run(&format!("delete {one}")).await?;
    ensure!(deleted.starts_with("pod \"web-") && deleted.trim_end().ends_with("deleted"), "{deleted}");
    tool.run("rollout status deploy/web").await?;
    let refused = tool.refused("get pod nobody").await?;
    ensure!(refused.contains("Error from server (NotFound): pods \"nobody\" not found"), "{refused}");
    let refused = tool.output("apply -f -", &manifest.replace("containers:", "contianers:")).await?;
    ensure!(!refused.status.success(), "a typo is refused");
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("contianers"), "{refused:?}");
    Ok(())
}

fn deployment(image: &str) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {{app: web}}
  template:
    metadata:
      labels: {{app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: {image}
        imagePullPolicy: IfNotPresent
"
    )
}
