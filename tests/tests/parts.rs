//! A cluster whose parts are processes of their own: what a node asks of the API server, and what becomes of its pods
//! when it is killed over and over.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use coracle_tests::{Asked, Guests, NODE, Parts, Relay, World, is_ready};
use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

#[tokio::test]
async fn the_parts_run_alone() -> anyhow::Result<()> {
    let mut parts = Parts::start(PROGRAM).await?;
    parts.start_kubelet(&[])?;
    let world = World::at(parts.kubeconfig()).await?;
    world.deployment("web", &world.guests.talks("hello", 1), 2).await?;
    let pods = world.ready_pods("web", 2).await?;
    ensure!(pods.iter().all(|pod| pod["spec"]["nodeName"] == NODE), "{pods:?}");
    let pod = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
    let log = world.server.get(&format!("/api/v1/namespaces/default/pods/{pod}/log")).await?;
    ensure!(log == "hello 0\n", "the API server reads logs over TLS: {log}");
    Ok(())
}

/// What upstream's API server lets a node do, as far as a node needs it here: the role `system:node`, narrowed by the node
/// authorizer to what is about the node itself or its pods. Source: `bootstrappolicy.NodeRules` and `NodeAuthorizer`.
const GRANTED: [&str; 18] = [
    "GET /api/v1/nodes/alone",
    "GET /api/v1/nodes\\?.*fieldSelector=metadata.name%3Dalone.*",
    "POST /api/v1/nodes",
    "(PATCH|PUT) /api/v1/nodes/alone(/status)?",
    "(GET|PUT|PATCH) /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/alone",
    "POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
    "GET /api/v1/pods\\?.*fieldSelector=spec.nodeName%3Dalone.*",
    "GET /api/v1/namespaces/[^/]+/pods/[^/]+",
    "(PATCH|PUT) /api/v1/namespaces/[^/]+/pods/[^/]+/status",
    "DELETE /api/v1/namespaces/[^/]+/pods/[^/]+",
    "POST /api/v1/namespaces/[^/]+/pods",
    "GET /api/v1/services(\\?.*)?",
    "GET /api/v1/namespaces/[^/]+/(secrets|configmaps)/[^/]+",
    "GET /api/v1/namespaces/[^/]+/(secrets|configmaps)\\?.*fieldSelector=metadata.name%3D.*",
    "POST /api/v1/namespaces/[^/]+/serviceaccounts/[^/]+/token",
    "(POST|PATCH) /(api/v1|apis/events.k8s.io/v1)/namespaces/[^/]+/events(/[^/]+)?",
    "GET /apis/node.k8s.io/v1/runtimeclasses(/.*|\\?.*)?",
    "POST /apis/(authentication.k8s.io/v1/tokenreviews|authorization.k8s.io/v1/subjectaccessreviews)",
];

#[tokio::test]
async fn a_node_asks_only_for_what_upstream_grants_a_node() -> anyhow::Result<()> {
    let mut parts = Parts::start(PROGRAM).await?;
    let relay = Relay::before(&parts.node_folder().join("kubeconfig")).await?;
    let kubeconfig = parts.node_folder().join("relayed.kubeconfig");
    std::fs::write(&kubeconfig, relay.kubeconfig())?;
    parts.start_kubelet_by(&kubeconfig, &[])?;
    let world = World::at(parts.kubeconfig()).await?;
    lives(&world).await?;

    let asked: Vec<String> = relay.asked().iter().map(line).collect();
    let granted = GRANTED.map(|pattern| Regex::new(&format!("^{pattern}(\\?|$)")).expect("a pattern"));
    for line in &asked {
        ensure!(granted.iter().any(|pattern| pattern.is_match(line)), "upstream grants no node this: {line}");
    }
    for needed in ["POST /api/v1/nodes", "/leases/alone", "fieldSelector=spec.nodeName", "/pods/web/status", "/token"] {
        ensure!(asked.iter().any(|line| line.contains(needed)), "{needed} was not asked: {asked:#?}");
    }
    ensure!(asked.iter().any(|line| line.starts_with("DELETE ") && line.contains("/pods/web")), "{asked:#?}");
    Ok(())
}

fn line((method, path): &Asked) -> String {
    format!("{method} {path}")
}

/// A pod with all that a node must ask for runs, serves, and is deleted.
async fn lives(world: &World) -> anyhow::Result<()> {
    let object = |kind: &str, data: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "settings"}, data: {"KEY": "value"}});
    world.apply(object("ConfigMap", "data")).await?;
    world.apply(object("Secret", "stringData")).await?;
    let container = json!({
        "name": "main", "image": Guests::sample_image("web")?, "ports": [{"containerPort": 8080}],
        "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "KEY"}}}],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "volumeMounts": [{"name": "settings", "mountPath": "/settings"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    });
    let volumes = json!([{"name": "settings", "projected": {"sources": [
        {"secret": {"name": "settings"}}, {"configMap": {"name": "settings", "items": [{"key": "KEY", "path": "other"}]}},
        {"serviceAccountToken": {"path": "token", "audience": "somebody"}},
    ]}}]);
    let more = json!({"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 1});
    world.pod("web", "", more).await?;
    let pod = world.pod_until("web", "ready", is_ready).await?;
    let answer = ask(pod["status"]["podIP"].as_str().context("an address")?, 8080).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    world.server.delete("/api/v1/namespaces/default/pods/web", &json!({})).await?;
    world.until("/api/v1/pods", "the pod gone", |pods| pods.is_empty()).await?;
    Ok(())
}

async fn ask(host: &str, port: u16) -> anyhow::Result<String> {
    let mut stream = tokio::net::TcpStream::connect((host, port)).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    let read = async { Ok(stream.read_to_string(&mut answer).await?) };
    coracle_tests::until_within(coracle_tests::DEADLINE, "an answer", read).await?;
    Ok(answer)
}

/// How often the node is killed.
const KILLS: usize = 8;

/// The longest that the node lives, and the longest that it is gone.
const LIFE_MAX: Duration = Duration::from_millis(1500);
const GAP_MAX: Duration = Duration::from_millis(400);

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn a_node_that_is_killed_at_random_runs_nothing_twice_and_forgets_nothing() -> anyhow::Result<()> {
    let seed = std::env::var("CORACLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    eprintln!("CORACLE_SEED={seed}");
    let mut parts = Parts::start(PROGRAM).await?;
    let runs = tempfile::tempdir()?;
    let allowed = runs.path().display().to_string();
    parts.start_kubelet(&["--host-path", &allowed])?;
    let world = World::at(parts.kubeconfig()).await?;
    let mut churn =
        Churn { world: &world, runs: runs.path(), dice: Dice(seed), made: 0, kept: Vec::new(), lost: HashSet::new() };
    churn.pod("steady", None, "Always").await?;
    world.apply(churn.deployment()).await?;
    for kill in 0..KILLS {
        if kill % 2 == 0 {
            // Once it is known to run, its next end is known to be a restart.
            let restarts = i64::try_from(kill / 2)?;
            world.pod_until("steady", "ready", |pod| is_ready(pod) && restarted(pod) >= restarts).await?;
        }
        churn.turn().await?;
        tokio::time::sleep(churn.dice.within(LIFE_MAX)).await;
        parts.kill_kubelet().await?;
        if churn.dice.roll(2) == 0 {
            churn.turn().await?;
        }
        tokio::time::sleep(churn.dice.within(GAP_MAX)).await;
        churn.lost = churn.containers().await?;
        parts.start_kubelet(&["--host-path", &allowed])?;
    }
    churn.settle().await?;
    churn.judge().await?;
    churn.clear(parts.root()).await
}

/// A sequence of numbers that a seed makes.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn within(&mut self, limit: Duration) -> Duration {
        Duration::from_millis(self.roll(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// What goes on while the node is killed: every pod adds a line to a file of its own each time that it runs.
struct Churn<'a> {
    world: &'a World,
    runs: &'a Path,
    dice: Dice,
    made: usize,
    /// The pods that were made by name and are not deleted.
    kept: Vec<String>,
    /// The containers that the API knew of when the node was started last: all that ran of them is lost.
    lost: HashSet<String>,
}

impl Churn<'_> {
    /// Some of what people do to a cluster.
    async fn turn(&mut self) -> anyhow::Result<()> {
        for _ in 0..3 {
            self.made += 1;
            let number = self.made;
            match self.dice.roll(3) {
                0 => self.pod(&format!("runs-{number}"), None, "Always").await?,
                1 => self.pod(&format!("once-{number}"), Some(0), "Never").await?,
                _ => self.pod(&format!("fails-{number}"), Some(1), "Always").await?,
            }
        }
        let doomed = usize::try_from(self.dice.roll(self.kept.len() as u64))?;
        if self.kept[doomed] != "steady" {
            let name = self.kept.swap_remove(doomed);
            let grace_seconds = self.dice.roll(2);
            self.delete(&name, grace_seconds).await?;
        }
        self.world.scale("web", usize::try_from(1 + self.dice.roll(5))?).await
    }

    async fn pod(&mut self, name: &str, ends: Option<i32>, restart_policy: &str) -> anyhow::Result<()> {
        let spec = json!({"metadata": {"name": name}, "spec": self.spec(ends, restart_policy)});
        self.world.server.post(PODS, &spec).await?;
        self.kept.push(name.to_owned());
        Ok(())
    }

    fn deployment(&self) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": self.spec(None, "Always"),
            }},
        })
    }

    fn spec(&self, ends: Option<i32>, restart_policy: &str) -> Value {
        let name = json!({"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}});
        let mount = json!({"name": "runs", "mountPath": "/runs", "subPathExpr": "$(POD_UID)"});
        json!({
            "restartPolicy": restart_policy, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
            "containers": [{
                "name": "main", "image": self.world.guests.marks(ends), "env": [name], "volumeMounts": [mount],
            }],
            "volumes": [{"name": "runs", "hostPath": {"path": self.runs}}],
        })
    }

    /// The containers that the API knows of, by their ids.
    async fn containers(&self) -> anyhow::Result<HashSet<String>> {
        let list = self.world.server.get(PODS).await?;
        let pods = list["items"].as_array().context("a list")?;
        let id = |pod: &Value| pod["status"]["containerStatuses"][0]["containerID"].as_str().map(str::to_owned);
        Ok(pods.iter().filter_map(id).collect())
    }

    async fn delete(&self, name: &str, grace_seconds: u64) -> anyhow::Result<()> {
        let options = json!({"gracePeriodSeconds": grace_seconds});
        self.world.server.delete(&format!("{PODS}/{name}"), &options).await?;
        Ok(())
    }

    /// Waits until nothing is left to be done.
    async fn settle(&mut self) -> anyhow::Result<()> {
        self.world.scale("web", 3).await?;
        self.kept.sort();
        let (kept, lost) = (self.kept.clone(), self.lost.clone());
        let settled = move |pods: &[Value]| {
            let mut named: Vec<&str> = pods.iter().map(name).filter(|name| !name.starts_with("web-")).collect();
            named.sort_unstable();
            let web = pods.iter().filter(|pod| name(pod).starts_with("web-")).count();
            named == kept && web == 3 && pods.iter().all(|pod| is_settled(pod, &lost))
        };
        self.world.until(PODS, "all pods as they are to be", settled).await?;
        Ok(())
    }

    /// Compares what the API says of every pod with what the pod's own runs have left.
    async fn judge(&self) -> anyhow::Result<()> {
        // One that fails may just have been restarted once more, which the API is then told.
        let counted = |pods: &[Value]| pods.iter().all(|pod| self.runs_of(pod) <= restarted(pod) + 1);
        let pods = self.world.until(PODS, "every run to be counted", counted).await?;
        let most = i64::try_from(KILLS)?;
        for pod in &pods {
            let (runs, restarts) = (self.runs_of(pod), restarted(pod));
            // A kill may come between the note that a run begins and its first line.
            ensure!(restarts + 1 - runs <= most, "{}: {restarts} restarts, but {runs} runs", name(pod));
            match name(pod).split('-').next() {
                Some("fails") => {}
                Some("once") => ensure!(restarts == 0, "{} runs once: {pod}", name(pod)),
                _ => ensure!(restarts <= most, "{} ends with its node alone: {pod}", name(pod)),
            }
        }
        let steady = pods.iter().find(|pod| name(pod) == "steady").context("the steady pod")?;
        ensure!(restarted(steady) >= most / 2 && self.runs_of(steady) > most / 2, "{steady}");
        Ok(())
    }

    fn runs_of(&self, pod: &Value) -> i64 {
        let log = self.runs.join(pod["metadata"]["uid"].as_str().unwrap_or_default()).join("log");
        i64::try_from(std::fs::read_to_string(log).unwrap_or_default().lines().count()).unwrap_or(i64::MAX)
    }

    /// Deletes everything; nothing of it may be left with the node.
    async fn clear(&self, root: &Path) -> anyhow::Result<()> {
        self.world.server.delete("/apis/apps/v1/namespaces/default/deployments/web", &json!({})).await?;
        for name in &self.kept {
            self.delete(name, 1).await?;
        }
        self.world.until(PODS, "no pods", <[Value]>::is_empty).await?;
        let empty = async {
            // Folders cannot be watched: they go right after their pods do.
            while !left(root).is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        coracle_tests::until_within(coracle_tests::DEADLINE, "the node's folders to be empty", empty).await
    }
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

fn restarted(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0)
}

fn is_settled(pod: &Value, lost: &HashSet<String>) -> bool {
    let status = &pod["status"]["containerStatuses"][0];
    let is_of_before = status["containerID"].as_str().is_some_and(|id| lost.contains(id));
    match name(pod).split('-').next() {
        _ if pod["metadata"]["deletionTimestamp"].is_string() => false,
        Some("once") => ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase),
        Some("fails") => {
            !is_of_before && restarted(pod) >= 1 && status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        }
        _ => !is_of_before && is_ready(pod),
    }
}

/// What the node's folder holds of pods.
fn left(root: &Path) -> Vec<PathBuf> {
    let entries = |folder: &str| std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    ["pods", "logs", "farewells"].into_iter().flat_map(entries).map(|entry| entry.path()).collect()
}
