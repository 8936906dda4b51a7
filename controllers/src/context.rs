//! What every controller is given.

use std::sync::Arc;

use coracle_client::{Client, Clock, Informers, Recorder};
use tokio_util::sync::CancellationToken;

use crate::Config;

/// The eyes and hands of a controller. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub config: Arc<Config>,
    pub client: Client,
    pub informers: Informers,
    pub clock: Clock,
}

impl Context {
    /// Events from `component`, until `shutdown`.
    pub fn recorder(&self, component: &str, shutdown: &CancellationToken) -> Recorder {
        Recorder::start_with_clock(self.client.clone(), component, None, self.clock, shutdown.clone())
    }
}
