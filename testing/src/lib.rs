//! A Kubernetes API in the process of a test: started in milliseconds, without a socket, a download or a file.
//!
//! ```
//! use coracle_testing::Cluster;
//! use coracle_testing::k8s_openapi::api::core::v1::ConfigMap;
//! use coracle_testing::kube::api::{Api, ObjectMeta, PostParams};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::start().await?;
//! let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client());
//! let metadata = ObjectMeta { name: Some("colours".into()), ..ObjectMeta::default() };
//! maps.create(&PostParams::default(), &ConfigMap { metadata, ..ConfigMap::default() }).await?;
//! assert_eq!(maps.list(&Default::default()).await?.items.len(), 1);
//! cluster.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Cluster::start`] gives the API alone: what is written stays as it was written, and nothing else writes. That is
//! what the unit of an operator wants. [`Cluster::builder`] adds the parts that a whole cluster has, one by one: the
//! controllers (a Deployment gets its pods, what is owned is collected, namespaces empty themselves), the scheduler
//! (pods get nodes), nodes that only pretend (pods become ready, or what the test wants: [`Outcome`]), and a socket
//! with a kubeconfig for programs that are not this one.
//!
//! Each cluster has a store of its own in memory, so tests run beside each other. It ends when it is dropped; who wants
//! to hear how it ended calls [`Cluster::stop`].
//!
//! | module | what it owns |
//! |---|---|
//! | `cluster` | which parts there are, and the order in which they start and stop |
//! | `nodes` | nodes that pretend: they register, give signs of life, and take their pods through their lives |
//! | `pod` | the life of a pod on such a node, as a pure function |
//! | `crds` | the definitions that a cluster begins with |
//! | `way_in` | the clients' transport |
//! | `logs` | what its containers are said to have written |
//!
//! The server is the one that `coracle` runs, with its defaults, validation, admission, managed fields and watches; it
//! differs in the store (memory) and in the way in (a call instead of TLS).

mod cluster;
mod crds;
mod error;
mod logs;
mod nodes;
mod pod;
mod way_in;

pub use cluster::{Builder, Cluster};
pub use coracle_apiserver::Identity;
pub use error::Error;
pub use nodes::FakeNodes;
pub use pod::Outcome;

/// The version of kube whose client a [`Cluster`] gives.
pub use kube;

/// The version of k8s-openapi whose types that client takes.
pub use k8s_openapi;
