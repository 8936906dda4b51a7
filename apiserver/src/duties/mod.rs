//! What the API server does unasked: it makes what every cluster has, and lets old events go.

pub(crate) mod bootstrap;
pub(crate) mod expire;
