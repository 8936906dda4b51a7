//! A whole kubelet against an API server in memory: with containers that only pretend, and with real guests.

#![allow(clippy::unwrap_used)]

mod burst;
mod churn;
mod eviction;
mod guests;
mod images;
mod lifecycle;
mod pod_spec;
mod registration;
#[path = "../images/fake.rs"]
mod registry;
mod shutdown;
mod static_pods;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use coracle_api::Object;
use coracle_client::testing::FakeServer;
use coracle_client::{Client, Informers};
use coracle_kubelet::eviction::{Level, Observations, Observe};
use coracle_kubelet::{Config, Kubelet, Runtime};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

/// How long anything may take: long, since a busy machine and a server with faults make each other slower.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A node under test.
pub struct Node {
    pub server: FakeServer,
    pub dir: Arc<tempfile::TempDir>,
    pub router: axum::Router,
    /// Stops the kubelet when the test ends in whatever way.
    shutdown: DropGuard,
    task: JoinHandle<Result<(), coracle_kubelet::Error>>,
}

impl Node {
    pub async fn start(runtime: impl Runtime) -> Self {
        Self::start_on(FakeServer::new(), Arc::new(tempfile::tempdir().unwrap()), Arc::new(runtime)).await
    }

    /// On a server and a folder that may have seen a kubelet before.
    pub async fn start_on(server: FakeServer, dir: Arc<tempfile::TempDir>, runtime: Arc<dyn Runtime>) -> Self {
        let config = Config { proxy: None, ..Config::new("node", dir.path()) };
        Self::start_with(server, dir, runtime, config).await
    }

    pub async fn start_with(
        server: FakeServer,
        dir: Arc<tempfile::TempDir>,
        runtime: Arc<dyn Runtime>,
        config: Config,
    ) -> Self {
        // What this machine is short of is none of the tests' business.
        let plenty = Level { available: 1 << 40, capacity: 1 << 40 };
        let observer = move || Observations { memory: plenty, disk: plenty, inodes: plenty };
        Self::start_observed(server, dir, runtime, config, Arc::new(observer)).await
    }

    /// On a machine that has so much left.
    pub async fn start_observed(
        server: FakeServer,
        dir: Arc<tempfile::TempDir>,
        runtime: Arc<dyn Runtime>,
        config: Config,
        observer: Arc<dyn Observe>,
    ) -> Self {
        let shutdown = CancellationToken::new();
        let client: Client = server.client();
        let following = CancellationToken::new();
        let informers = Informers::new(client.clone(), following.clone());
        let pods = informers.get::<Pod>();
        let kubelet = Kubelet::new(config, client, pods, informers, runtime).await.unwrap().observed_by(observer);
        let router = kubelet.router();
        let running = kubelet.run(shutdown.clone());
        let task = tokio::spawn(async move {
            let _follows = following.drop_guard();
            running.await
        });
        Self { server, dir, router, shutdown: shutdown.drop_guard(), task }
    }

    /// Stops the kubelet in order.
    pub async fn stop(self) -> (FakeServer, Arc<tempfile::TempDir>) {
        drop(self.shutdown);
        self.task.await.unwrap().unwrap();
        (self.server, self.dir)
    }

    /// Puts a pod on the node.
    pub fn run(&self, name: &str, spec: &str) {
        self.server.put(&pod(name, spec));
    }

    pub fn pod(&self, name: &str) -> Option<Pod> {
        self.server.one::<Pod>("default", name)
    }

    /// Waits until a pod is as `holds` wants it.
    pub async fn until(&self, name: &str, holds: impl Fn(&Pod) -> bool) -> Pod {
        let found = self.server.until(|server| server.one::<Pod>("default", name).is_some_and(|pod| holds(&pod)));
        if tokio::time::timeout(DEADLINE, found).await.is_err() {
            panic!(
                "{name} does not come to be so: {:#?}\n{}",
                self.pod(name).and_then(|pod| pod.status),
                self.events().join("\n")
            );
        }
        self.pod(name).unwrap()
    }

    pub async fn until_phase(&self, name: &str, phase: &str) -> Pod {
        self.until(name, |pod| self::phase(pod) == phase).await
    }

    /// What was told so far, as `reason: message`.
    pub fn events(&self) -> Vec<String> {
        let events = self.server.all::<Event>();
        events.iter().map(|e| format!("{}: {}", e.reason.clone().unwrap(), e.message.clone().unwrap())).collect()
    }

    pub async fn until_told(&self, text: &str) {
        let told = self.server.until(|_| self.events().iter().any(|event| event.contains(text)));
        if tokio::time::timeout(DEADLINE, told).await.is_err() {
            panic!("nobody says {text:?}:\n{}", self.events().join("\n"));
        }
    }

    /// Asks the node's API.
    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, String::from_utf8_lossy(&body).into_owned())
    }
}

pub fn pod(name: &str, spec: &str) -> Pod {
    let spec = spec.trim_start_matches('{');
    let json = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"default","generation":1}},
        "spec":{{"nodeName":"node",{spec}}}"#
    );
    Pod::decode(json.as_bytes()).unwrap()
}

pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// `waiting.reason: message` of the first container.
pub fn waiting(pod: &Pod) -> String {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    waiting.map(|waiting| format!("{}: {}", text(&waiting.reason), text(&waiting.message))).unwrap_or_default()
}
