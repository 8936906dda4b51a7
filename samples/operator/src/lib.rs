//! An operator: a `Site` says a page and how often it is to be served; the operator makes the config map that holds the
//! page and the Deployment that serves it, and says in the `Site`'s status how far that is.
//!
//! Everything here is kube-rs as anybody uses it. Nothing knows of Coracle but the tests, in `tests/`.

mod reconcile;
mod site;

pub use reconcile::{Error, reconcile, run};
pub use site::{Site, SiteSpec, SiteStatus};
