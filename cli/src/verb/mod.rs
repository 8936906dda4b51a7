//! The command line's verbs, one a file: each has its `Options`, and runs to a `Result`.

pub mod apiserver;
pub mod apply;
pub mod attach;
pub mod controller_manager;
pub mod cp;
pub mod delete;
pub mod describe;
pub mod events;
pub mod eviction;
pub mod exec;
pub mod get;
pub mod image;
pub mod inspect;
pub mod kubeconfig;
pub mod kubelet;
pub mod logs;
pub mod node_options;
pub mod node_shutdown;
pub mod port_forward;
pub mod push;
pub mod registries;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod scheduler;
pub mod up;
