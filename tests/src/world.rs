//! What a scenario sees of a cluster, wherever that runs.

use std::path::Path;

use coracle::manifest::{Document, Place};
use coracle::server::{Access, Server, media};
use coracle::verb::apply::{Applier, Validate};
use serde_json::{Value, json};

use crate::cluster::{Cluster, plain};
use crate::guest::Guests;
use crate::process::Process;
use crate::wait;

/// A cluster as its user sees it.
pub struct World {
    pub server: Server,
    pub guests: Guests,
    host: Host,
}

/// What keeps the cluster alive.
enum Host {
    /// The test itself.
    Elsewhere,
    Here(Box<Cluster>),
    Process(Box<Process>),
}

impl World {
    /// A cluster in this process, reached by a call.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn in_process() -> anyhow::Result<Self> {
        Self::of(Cluster::builder().wasm().start().await?)
    }

    /// A cluster in this process, as one whose user the test is.
    ///
    /// # Errors
    /// When no folder can be made.
    pub fn of(cluster: Cluster) -> anyhow::Result<Self> {
        let server = Server::new(cluster.inner().admin(), "default".to_owned());
        Ok(Self { server, guests: Guests::new()?, host: Host::Here(Box::new(cluster)) })
    }

    /// A cluster in this process, reached over TLS.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn over_tls() -> anyhow::Result<Self> {
        let cluster = Cluster::builder().wasm().tls().start().await?;
        let guests = Guests::new()?;
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.inner().kubeconfig(&coracle_apiserver::Identity::admin()).map_err(plain)?)?;
        Ok(Self { server: connect(&kubeconfig).await?, guests, host: Host::Here(Box::new(cluster)) })
    }

    /// A cluster that is a process of its own.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn process(program: &str) -> anyhow::Result<Self> {
        let process = Process::up(program).await?;
        let mut world = Self {
            server: connect(&process.kubeconfig()).await?,
            guests: Guests::new()?,
            host: Host::Process(Box::new(process)),
        };
        world.node_ready().await?;
        Ok(world)
    }

    /// A cluster that the test keeps alive itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn at(kubeconfig: &Path) -> anyhow::Result<Self> {
        Ok(Self { server: connect(kubeconfig).await?, guests: Guests::new()?, host: Host::Elsewhere })
    }

    /// The process, of a world that is one.
    pub fn running(&mut self) -> Option<&mut Process> {
        match &mut self.host {
            Host::Process(process) => Some(process),
            Host::Here(_) | Host::Elsewhere => None,
        }
    }

    /// The cluster, of a world that is in this process.
    pub fn cluster(&mut self) -> Option<&mut Cluster> {
        match &mut self.host {
            Host::Here(cluster) => Some(cluster),
            Host::Process(_) | Host::Elsewhere => None,
        }
    }

    /// Reaches a process that was started again.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reconnect(&mut self) -> anyhow::Result<()> {
        if let Host::Process(process) = &self.host {
            self.server = connect(&process.kubeconfig()).await?;
        }
        Ok(())
    }

    /// Ends the cluster, in order.
    ///
    /// # Errors
    /// When a part did not end well.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self.host {
            Host::Here(cluster) => cluster.stop().await,
            Host::Process(mut process) => process.interrupt().await,
            Host::Elsewhere => Ok(()),
        }
    }

    /// Applies an object, as `coracle apply` does.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn apply(&self, object: Value) -> anyhow::Result<Value> {
        let discovery = self.server.discover().await.map_err(plain)?;
        let applier =
            Applier { server: &self.server, discovery: &discovery, dry_run: false, validate: Validate::Strict };
        let place = Place { file: "test".into(), document: 1, line: 1 };
        Ok(applier.apply(&Document { place, object }, None).await.map_err(plain)?.object)
    }

    /// Applies a Deployment of an image.
    ///
    /// # Errors
    /// As [`World::apply`].
    pub async fn deployment(&self, name: &str, image: &str, replicas: usize) -> anyhow::Result<Value> {
        self.apply(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": spec(image)},
            },
        }))
        .await
    }

    /// Applies a pod of an image, with more in its spec.
    ///
    /// # Errors
    /// As [`World::apply`].
    pub async fn pod(&self, name: &str, image: &str, more: Value) -> anyhow::Result<Value> {
        let mut spec = spec(image);
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        self.apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})).await
    }

    /// Scales a Deployment.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn scale(&self, name: &str, replicas: usize) -> anyhow::Result<()> {
        let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}/scale");
        self.server.patch(&path, media::MERGE_PATCH, &json!({"spec": {"replicas": replicas}})).await?;
        Ok(())
    }

    /// Waits until the objects of a collection are as wanted.
    ///
    /// # Errors
    /// When the time is up.
    pub async fn until(
        &self,
        collection: &str,
        what: &str,
        holds: impl FnMut(&[Value]) -> bool,
    ) -> anyhow::Result<Vec<Value>> {
        wait::until(&self.server, collection, what, holds).await
    }

    /// Waits until an app has exactly so many pods, all of them ready and none on its way out.
    ///
    /// # Errors
    /// When the time is up.
    pub async fn ready_pods(&self, app: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        let what = format!("{count} ready pods of {app}");
        self.until(&pods_of(app), &what, |pods| pods.len() == count && pods.iter().all(wait::is_ready)).await
    }

    /// Waits until a pod is as wanted.
    ///
    /// # Errors
    /// When the time is up.
    pub async fn pod_until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let path = format!("/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3D{name}");
        let what = format!("pod {name} {what}");
        let mut found = self.until(&path, &what, |pods| pods.first().is_some_and(&holds)).await?;
        Ok(found.swap_remove(0))
    }

    /// Waits for an event about an object.
    ///
    /// # Errors
    /// When the time is up.
    pub async fn event(&self, object: &str, reason: &str) -> anyhow::Result<Value> {
        let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{object}");
        let is = |event: &Value| event["reason"] == reason;
        let found = self.until(&path, &format!("event {reason} of {object}"), |events| events.iter().any(is)).await?;
        found.into_iter().find(is).ok_or_else(|| anyhow::anyhow!("it was there"))
    }

    async fn node_ready(&mut self) -> anyhow::Result<()> {
        self.until("/api/v1/nodes", "a ready node", |nodes| nodes.iter().any(wait::is_ready)).await?;
        Ok(())
    }
}

/// The pods of an app.
pub fn pods_of(app: &str) -> String {
    format!("/api/v1/namespaces/default/pods?labelSelector=app%3D{app}")
}

async fn connect(kubeconfig: &Path) -> anyhow::Result<Server> {
    let access = Access { kubeconfig: Some(kubeconfig.to_owned()), ..Access::default() };
    Server::connect(&access).await.map_err(plain)
}

/// A pod of one container, which is not waited for when it ends.
fn spec(image: &str) -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent"}],
    })
}
