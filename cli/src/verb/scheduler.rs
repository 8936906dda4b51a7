//! `coracle scheduler`: the scheduler alone, for any Kubernetes API.

use coracle_client::{Client, Informers};
use tokio_util::sync::CancellationToken;

use crate::failure::Result;
use crate::server::Access;
use crate::verb::up::Signals;

#[derive(Debug, clap::Args)]
pub struct Options {}

/// Runs the verb, until a signal.
///
/// # Errors
/// When there is no kubeconfig, or the scheduler fails.
pub async fn run(_options: Options, access: &Access) -> Result {
    let client = client(access, "kube-scheduler").await?;
    until_signal(async |stop| {
        let informers = Informers::new(client.clone(), stop.clone());
        Ok(coracle_scheduler::run(coracle_scheduler::Config::default(), client, informers, stop).await?)
    })
    .await
}

/// The client of a component that runs alone.
///
/// # Errors
/// When there is no kubeconfig, or it cannot be used.
pub async fn client(access: &Access, component: &str) -> Result<Client> {
    let path = access.kubeconfig_path();
    Ok(Client::from_kubeconfig(path.as_deref(), access.context.as_deref()).await?.named(component))
}

/// Runs a component, and stops it at the first signal.
///
/// # Errors
/// Those of the component.
pub async fn until_signal(component: impl AsyncFnOnce(CancellationToken) -> Result) -> Result {
    let mut signals = Signals::new()?;
    let stop = CancellationToken::new();
    let running = component(stop.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended,
        () = signals.next() => stop.cancel(),
    }
    running.await
}
