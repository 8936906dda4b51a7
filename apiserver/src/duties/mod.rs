//! What the API server does unasked: it makes what every cluster has, keeps the list of service addresses, and lets old
//! events go.

pub(crate) mod addresses;
pub(crate) mod bootstrap;
pub(crate) mod expire;
pub(crate) mod standard;
