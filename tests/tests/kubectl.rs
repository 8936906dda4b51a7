//! What a person does with the stock kubectl of the machine, and what `coracle` itself answers to the same words.

use std::path::Path;

use anyhow::{Context, ensure};
use coracle_tests::{Guests, Tool, World, kubectl};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test]
async fn kubectl_does_what_it_does_elsewhere() -> anyhow::Result<()> {
    let Some(program) = kubectl() else { return Ok(()) };
    let mut world = World::process(PROGRAM).await?;
    let kubeconfig = world.running().context("a process")?.kubeconfig();
    let kubectl = Tool::new(&program, &kubeconfig);
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
    let coracle = Tool::new(Path::new(PROGRAM), &kubeconfig);
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
    let kubectl = Tool::new(&program, &kubeconfig);
    let coracle = Tool::new(Path::new(PROGRAM), &kubeconfig);
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
