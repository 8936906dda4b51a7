//! From the kind that a reference names to the resource that the server has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_client::Client;

use crate::discovery::discover;
use crate::resource::Resource;

/// What the server serves, by group and kind. Asked once, and again for a kind that is not known.
#[derive(Debug, Default)]
pub struct Mapper {
    resources: Mutex<HashMap<(String, String), Arc<Resource>>>,
    /// Held by who asks, so that those who want to know the same wait for the answer.
    asking: tokio::sync::Mutex<()>,
}

impl Mapper {
    /// The resource of a kind; `None` when the server does not say that it has one, which may pass.
    pub async fn resource(&self, client: &Client, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let wanted = (group.to_owned(), kind.to_owned());
        if let Some(known) = self.get(&wanted) {
            return Some(known);
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.get(&wanted) {
            return Some(known);
        }
        let found = discover(client).await.resources.into_iter();
        let found = found.map(|resource| ((resource.group.clone(), resource.kind.clone()), Arc::new(resource)));
        *self.known() = found.collect();
        self.get(&wanted)
    }

    fn get(&self, wanted: &(String, String)) -> Option<Arc<Resource>> {
        self.known().get(wanted).cloned()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Resource>>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
