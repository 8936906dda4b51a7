//! The kinds of `networking.k8s.io`.

mod ingress;
mod ingress_class;
mod network_policy;
mod service_range;
