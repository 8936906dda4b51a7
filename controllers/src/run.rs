//! Starts the controllers, and watches over them.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_client::{Client, Informers, LeaderElector, Leadership};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Context, Error, deployment, endpoint_slice, endpoints, garbage_collector, namespace, node_lifecycle,
    pod_garbage, replica, root_ca, service_account,
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
    controllers.start("endpoint slice", endpoint_slice::run);
    controllers.start("endpoints", endpoints::run);
    controllers.start("node lifecycle", node_lifecycle::run);
    controllers.start("pod garbage", pod_garbage::run);
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
