//! The Kubernetes API over a store.
//!
//! [`start`] opens everything; what it gives back is reached over TLS at [`ApiServer::local_addr`], and from inside the
//! process through [`ApiServer::in_process`]. Both ways lead to the same function, `Api::handle`: route → authenticate →
//! authorize → handler.
//!
//! | module | what it owns |
//! |---|---|
//! | `route`, `query`, `negotiate`, `body` | what a request says |
//! | `handler` | one file a verb |
//! | `admission` | one file a plugin |
//! | `strategy` | one file a kind |
//! | `writer` | objects to the store, and back as they are served |
//! | `cache` | every object as it is served, and who watches it |
//! | `custom` | the kinds that definitions define, served while they are there |
//! | `discovery`, `openapi`, `openid`, `describe`, `table`, `respond`, `pretty`, `compress` | what is answered |
//! | `auth`, `pki`, `serve`, `proxy` | who asks, and over which wire |
//! | `fairness`, `flow`, `limits`, `metrics` | how much at once |
//!
//! Only this crate touches the store. It calls no client: not even its own startup duties know another way in than a
//! request.

mod admission;
mod api;
pub mod auth;
mod body;
mod cache;
mod clock;
mod compress;
mod config;
mod custom;
mod describe;
mod discovery;
mod duties;
mod error;
mod fairness;
mod fields;
mod flow;
mod handler;
mod health;
pub mod limits;
mod metrics;
mod negotiate;
mod openapi;
mod openid;
pub mod pki;
mod pretty;
mod proxy;
mod query;
mod resource;
mod respond;
mod route;
mod serve;
mod strategy;
mod table;
mod usage;
mod writer;

pub use auth::Identity;
pub use config::Config;
pub use error::Error;
pub use pki::Pki;
pub use proxy::{NoNodes, NodeAddress, NodeProxy, ProxyError, TlsNodes};
pub use serve::InProcess;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_api::kinds;
use coracle_store::{Store, compactor};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use api::Api;
use auth::AllowAuthenticated;
use cache::Cache;
use fairness::FairQueue;
use resource::Resources;
use serve::Socket;
use strategy::Allocators;

/// A server that runs.
pub struct ApiServer {
    api: Arc<Api>,
    local_addr: Option<SocketAddr>,
    tasks: JoinSet<Result<(), Error>>,
    shutdown: CancellationToken,
}

/// Starts a server over `store`, which reaches kubelets through `nodes` and runs until `shutdown`.
///
/// When this returns the server answers, and what every cluster has is there.
///
/// # Errors
/// When the store cannot be read, the address cannot be bound, or what every cluster has cannot be made.
pub async fn start(
    config: Config,
    store: Arc<dyn Store>,
    nodes: Arc<dyn NodeProxy>,
    shutdown: CancellationToken,
) -> Result<ApiServer, Error> {
    let allocators = Allocators::new(&config.service_cidr, config.node_port_range.clone())
        .ok_or_else(|| Error::ServiceCidr { cidr: config.service_cidr.clone() })?;
    let socket = match config.listen {
        Some(listen) => {
            let mut names = config.names.clone();
            names.push(allocators.first_address().to_string());
            Some(Socket::bind(listen, &config.pki, &names).await?)
        }
        None => None,
    };
    let layouts = kinds::all().iter().filter(|kind| !kind.is_view()).map(fields::layout).collect();
    let (cache, feed) = Cache::open(store.clone(), layouts, shutdown.clone()).await?;
    let service_ip = allocators.first_address().into();
    let api = Arc::new(Api {
        resources: Resources::new(kinds::all(), &cache),
        tokens: config.pki.tokens().clone(),
        external: openid::external(&config, socket.as_ref().map(Socket::local_addr)),
        account_tokens: config.pki.account_tokens().clone(),
        authorizer: Box::new(AllowAuthenticated),
        metrics: Default::default(),
        publisher: Default::default(),
        flows: Default::default(),
        reads: queue(limits::READS_IN_FLIGHT_MAX),
        writes: queue(limits::WRITES_IN_FLIGHT_MAX),
        ready: AtomicBool::new(false),
        shutdown: shutdown.clone(),
        config,
        store,
        cache,
        nodes,
        allocators,
    });
    let local_addr = socket.as_ref().map(Socket::local_addr);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { Ok(feed.await?) });
    tasks.spawn(done(compactor::run(api.store.clone(), compactor::Policy::default(), shutdown.clone())));
    if let Some(socket) = socket {
        tasks.spawn(done(socket.run(api.clone(), shutdown.clone())));
    }
    let server = ApiServer { api: api.clone(), local_addr, tasks, shutdown: shutdown.clone() };
    duties::bootstrap::run(server.in_process(Identity::apiserver()), service_ip, local_addr)
        .await
        .map_err(Error::bootstrap)?;
    duties::standard::run(&api).await.map_err(Error::bootstrap)?;
    let definitions = custom::Definitions::open(api.clone()).await.map_err(Error::bootstrap)?;
    api.ready.store(true, Ordering::Release);
    let mut server = server;
    server.tasks.spawn(done(definitions.run(shutdown.clone())));
    server.tasks.spawn(done(duties::addresses::run(api.clone(), shutdown.clone())));
    server.tasks.spawn(done(duties::expire::run(api, shutdown)));
    Ok(server)
}

impl ApiServer {
    /// Where the server listens; `None` when it does not.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// A way in for a component of this process, who is `identity`.
    pub fn in_process(&self, identity: Identity) -> InProcess {
        InProcess::new(self.api.clone(), identity)
    }

    /// Waits until everything has ended after the shutdown; or until something that must run has not.
    ///
    /// # Errors
    /// When the store is lost. Everything else is stopped then too.
    pub async fn stopped(mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    outcome = outcome.and(Err(error));
                    self.shutdown.cancel();
                }
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
        outcome
    }
}

fn queue(seats: usize) -> FairQueue {
    FairQueue::new(seats, limits::WAITING_PER_USER_MAX, limits::WAITING_TIMEOUT)
}

async fn done(task: impl Future<Output = ()>) -> Result<(), Error> {
    task.await;
    Ok(())
}
