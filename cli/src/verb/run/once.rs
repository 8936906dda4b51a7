//! The throw-away cluster: an API in memory without a socket, one node, one pod.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use coracle_kubelet::WasmRuntime;
use coracle_runtime::Runtime;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::pin;

use crate::cluster::{self, Cluster, NODE_NAME, Node};
use crate::failure::{Failure, Result};
use crate::server::{Server, media, query};
use crate::verb::run::console::OnConsole;
use crate::verb::run::grants::Grants;
use crate::verb::up::Signals;

/// The pod, in the namespace `default`.
const POD: &str = "run";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Exit codes that are not the module's own. Source: `timeout(1)` and the shells.
const TIMED_OUT: u8 = 124;
const INTERRUPTED: u8 = 130;

/// Runs the pod to its end; the exit code.
///
/// # Errors
/// When it cannot be started.
pub async fn run(grants: &Grants, timeout: Option<Duration>) -> Result<u8> {
    let mut signals = Signals::new()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the throw-away cluster")?;
    let mut cluster = cluster::start(small(grants, folder.path().to_owned())?).await?;
    let server = Server::new(cluster.admin(), "default".to_owned());
    let ended = tokio::select! {
        ended = run_pod(&server, grants) => ended,
        failure = cluster.failed() => Err(failure),
        () = signals.next() => Ok(INTERRUPTED),
        limit = expired(timeout) => {
            eprintln!("error: the module did not end within {limit:?}");
            Ok(TIMED_OUT)
        }
    };
    end(cluster, &server).await;
    ended
}

/// The least that runs a pod.
fn small(grants: &Grants, root: PathBuf) -> Result<cluster::Options> {
    let config = coracle_runtime::Config { cache_dir: cache_dir(), ..coracle_runtime::Config::default() };
    let kubelet = coracle_kubelet::Config {
        host_paths: grants.folders.iter().map(|folder| folder.host.clone()).collect(),
        proxy: None,
        ..coracle_kubelet::Config::new(NODE_NAME, root)
    };
    let runtime = Arc::new(OnConsole(WasmRuntime::new(Runtime::new(config)?)));
    let nodes = vec![Node { config: kubelet, runtime }];
    Ok(cluster::Options { scheduler: None, controllers: None, nodes, ..cluster::Options::default() })
}

/// Compiled code outlives the throw-away cluster: the second run of a module need not compile it.
fn cache_dir() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("coracle"))
}

async fn run_pod(server: &Server, grants: &Grants) -> Result<u8> {
    let mut spec = grants.pod_spec();
    spec["nodeName"] = NODE_NAME.into();
    spec["restartPolicy"] = "Never".into();
    spec["terminationGracePeriodSeconds"] = 0.into();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec});
    let mut pod = server.post(PODS, &pod).await?;
    let version = pod["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let path = query(PODS, &[("watch", Some("1")), ("resourceVersion", Some(&version))]);
    let frames = server.watch(&path, media::JSON).await?;
    pin!(frames);
    let mut served = false;
    loop {
        if let Some(code) = outcome(&pod)? {
            return Ok(code);
        }
        if !served && let Some(url) = url(&pod, grants) {
            eprintln!("serving {url}");
            served = true;
        }
        pod = match frames.next().await {
            Some(frame) => frame?.object,
            None => return Err(Failure::new("the cluster stopped before the module had ended")),
        };
    }
}

/// The exit code, once there is one.
fn outcome(pod: &Value) -> Result<Option<u8>> {
    let state = &pod["status"]["containerStatuses"][0]["state"];
    if let Some(code) = state["terminated"]["exitCode"].as_i64() {
        let ended = &state["terminated"];
        if let Some(message) = ended["message"].as_str().filter(|_| code != 0) {
            eprintln!("error: {}", message.trim_end());
        } else if let Some(reason) = ended["reason"].as_str().filter(|it| !["Error", "Completed"].contains(it)) {
            eprintln!("error: the module was ended: {reason}");
        }
        return Ok(Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
    }
    let waiting = &state["waiting"];
    let passing = ["ContainerCreating", "PodInitializing"];
    if let Some(reason) = waiting["reason"].as_str().filter(|reason| !passing.contains(reason)) {
        let why = waiting["message"].as_str().unwrap_or("no message");
        return Err(Failure::new(format!("the module cannot be started: {reason}: {why}")));
    }
    if pod["status"]["phase"] == "Failed" {
        let status = &pod["status"];
        let why = status["message"].as_str().or(status["reason"].as_str()).unwrap_or("no reason given");
        return Err(Failure::new(format!("the module was refused: {why}")));
    }
    Ok(None)
}

/// Where a component that answers HTTP requests does so.
fn url(pod: &Value, grants: &Grants) -> Option<String> {
    let port = grants.port?;
    let running = !pod["status"]["containerStatuses"][0]["state"]["running"].is_null();
    let address = pod["status"]["podIP"].as_str().filter(|_| running)?;
    Some(format!("http://{address}:{port}/"))
}

/// A pod that still runs has no grace: nobody waits for it.
async fn end(cluster: Cluster, server: &Server) {
    let now = json!({"gracePeriodSeconds": 0});
    if let Err(error) = server.delete(&format!("{PODS}/{POD}"), &now).await {
        tracing::debug!(%error, "cannot delete the pod");
    }
    if let Err(failure) = cluster.stop().await {
        tracing::debug!(error = failure.message(), "the throw-away cluster did not end well");
    }
}

/// Resolves when the time is up, with the time; never without one.
async fn expired(timeout: Option<Duration>) -> Duration {
    match timeout {
        None => std::future::pending().await,
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_modules_own() {
        let pod = |state: Value| json!({"status": {"containerStatuses": [{"state": state}]}});
        let code = |state: Value| outcome(&pod(state)).map_err(|failure| failure.message());
        assert_eq!(code(json!({"terminated": {"exitCode": 7, "reason": "Error"}})), Ok(Some(7)));
        assert_eq!(code(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})), Ok(Some(137)));
        assert_eq!(code(json!({"running": {}})), Ok(None));
        assert_eq!(code(json!({"waiting": {"reason": "ContainerCreating"}})), Ok(None));
        let refused =
            code(json!({"waiting": {"reason": "ErrImagePull", "message": "no such file"}})).expect_err("refused");
        assert_eq!(refused, "error: the module cannot be started: ErrImagePull: no such file");
    }
}
