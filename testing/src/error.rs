//! Why there is no cluster.

use coracle_apiserver::pki::PkiError;
use tokio::task::JoinError;

/// Why a cluster did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make the cluster's certificates")]
    Certificates(#[from] PkiError),
    #[error("the API server does not start or did not end well")]
    Server(#[from] coracle_apiserver::Error),
    #[error("the API server refused what a cluster begins with")]
    Refused(#[from] coracle_client::Error),
    #[error("the scheduler did not end well")]
    Scheduler(#[from] coracle_scheduler::Error),
    #[error("the controllers did not end well")]
    Controllers(#[from] coracle_controllers::Error),
    /// A defect of the part that it names.
    #[error("a part of the cluster panicked")]
    Panicked(#[source] JoinError),
    #[error("the definition {name} is refused")]
    Definition {
        name: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// Another definition, or a kind of Kubernetes' own, has them.
    #[error("the names of the definition {name} are not to be had: {conflict}")]
    Names { name: String, conflict: String },
    #[error("the definition {name} was not established before the server ended the watch")]
    NotEstablished { name: String },
    /// The cluster was built without [`Builder::socket`](crate::Builder::socket).
    #[error("this cluster has no socket, so there is no kubeconfig by which to reach it")]
    NoSocket,
}
