//! Starts the controllers, and watches over them.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_client::{Client, Informers, LeaderElector, Leadership};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Context, Error, deployment, disruption, endpoint_slice, endpoints, garbage_collector, job, namespace,
    node_lifecycle, pod_garbage, replica, resource_quota, root_ca, service_account, ttl_after_finished,
    volume_protection,
};

/// Runs all controllers until `shutdown`; with leader election, from when this process leads.
///
/// # Errors
/// When a controller stops before it is asked to, or when another process leads: the others have been stopped then.
/// What a controller cannot do is no error: it tries again.
pub async fn run(
    config: Config,
    client: Client,
    informers: Informers,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let (election, clock) = (config.leader_election.clone(), config.clock);
    let context = Context { config: Arc::new(config), client: client.clone(), informers, clock };
    let Some(election) = election else { return run_all(context, shutdown).await };
    let mut elector = LeaderElector::with_clock(client, election, clock);
    match elector.lead(|leading| run_all(context, leading), shutdown).await {
        Leadership::Finished(result) => result,
        Leadership::Lost => Err(Error::LeadershipLost),
        Leadership::Stopped => Ok(()),
    }
}

async fn run_all(context: Context, shutdown: CancellationToken) -> Result<(), Error> {
    let stop = shutdown.child_token();
    let mut controllers = Controllers { context, stop: stop.clone(), tasks: JoinSet::new(), names: HashMap::new() };
    controllers.start("service account", service_account::run);
    controllers.start("root CA", root_ca::run);
    controllers.start("namespace", namespace::run);
    controllers.start("deployment", deployment::run);
    controllers.start("replica set", replica::run::<ReplicaSet>);
    controllers.start("replication controller", replica::run::<ReplicationController>);
    controllers.start("job", job::run);
    controllers.start("TTL after finished", ttl_after_finished::run);
    controllers.start("endpoint slice", endpoint_slice::run);
    controllers.start("endpoints", endpoints::run);
    controllers.start("node lifecycle", node_lifecycle::run);
    controllers.start("pod garbage", pod_garbage::run);
    controllers.start("disruption", disruption::run);
    controllers.start("resource quota", resource_quota::run);
    controllers.start("volume protection", volume_protection::run);
    controllers.start("garbage collector", garbage_collector::run);
    controllers.watch_over().await
}

struct Controllers {
    context: Context,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

impl Controllers {
    fn start<R>(&mut self, name: &'static str, run: impl FnOnce(Context, CancellationToken) -> R)
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let task = self.tasks.spawn(run(self.context.clone(), self.stop.clone()));
        self.names.insert(task.id(), name);
    }

    /// Waits for all of them; the first that ends too early ends the others.
    async fn watch_over(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let early = !self.stop.is_cancelled();
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
            let controller = self.names.get(&id).copied().unwrap_or("unknown");
            match ended {
                Err(_) => result = result.and(Err(Error::Panicked { controller })),
                Ok(_) if early => result = result.and(Err(Error::Ended { controller })),
                Ok(_) => continue,
            }
            self.stop.cancel();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_client::testing::{FakeServer, Faults};
    use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
    use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
    use std::time::Duration;

    fn meta(namespace: Option<&str>, name: &str) -> ObjectMeta {
        ObjectMeta { name: Some(name.into()), namespace: namespace.map(str::to_owned), ..ObjectMeta::default() }
    }

    fn deployment() -> Deployment {
        let labels = Some([("app".to_owned(), "web".to_owned())].into());
        let mut spec = DeploymentSpec {
            replicas: Some(0),
            selector: LabelSelector { match_labels: labels.clone(), ..LabelSelector::default() },
            progress_deadline_seconds: Some(600),
            ..DeploymentSpec::default()
        };
        spec.template.metadata = Some(ObjectMeta { labels, ..ObjectMeta::default() });
        Deployment { metadata: meta(Some("default"), "web"), spec: Some(spec), status: None }
    }

    fn is_rolled_out(server: &FakeServer) -> bool {
        let status = server.one::<Deployment>("default", "web").and_then(|deployment| deployment.status);
        let mut conditions = status.into_iter().flat_map(|status| status.conditions.unwrap_or_default());
        conditions.any(|condition| condition.reason.as_deref() == Some("NewReplicaSetAvailable"))
    }

    /// All of them, against a server that loses requests, fails, forgets its history and cuts watches off.
    #[tokio::test(start_paused = true)]
    async fn the_controllers_work_with_a_bad_server_and_stop_when_asked() {
        for seed in 0..8 {
            let server = FakeServer::seeded(seed);
            server.set_faults(Faults {
                lost: 0.1,
                broken: 0.1,
                gone: 0.1,
                delay_max: Duration::from_millis(50),
                events_per_watch: Some(5),
                ..Faults::default()
            });
            let shutdown = CancellationToken::new();
            let informers = Informers::new(server.client(), shutdown.clone());
            let running = tokio::spawn(run(Config::default(), server.client(), informers, shutdown.clone()));
            server.put(&Namespace { metadata: meta(None, "default"), ..Namespace::default() });
            server.put(&deployment());
            server.until(|server| server.one::<ServiceAccount>("default", "default").is_some()).await;
            server.until(is_rolled_out).await;
            assert_eq!(server.all::<ReplicaSet>().len(), 1, "seed {seed}");
            shutdown.cancel();
            running.await.expect("no panic").expect("no controller has failed");
        }
    }
}
