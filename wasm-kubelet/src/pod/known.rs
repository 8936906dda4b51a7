//! A pod as its worker last looked at it: open while something is done about it, packed while it only runs.

use std::sync::{Arc, OnceLock};

use coracle_client::Packed;
use k8s_openapi::api::core::v1::Pod;

/// See the module.
pub(super) struct Known {
    packed: Packed<Pod>,
    open: OnceLock<Arc<Pod>>,
}

impl Known {
    /// A pod that is shared with the informer's cache.
    pub(super) fn new(packed: Packed<Pod>) -> Self {
        Self { packed, open: OnceLock::new() }
    }

    pub(super) fn get(&self) -> &Arc<Pod> {
        self.open.get_or_init(|| self.packed.open())
    }

    /// Whether it is.
    pub(super) fn is_open(&self) -> bool {
        self.open.get().is_some()
    }

    /// Nothing is to be done for a while.
    pub(super) fn close(&mut self) {
        self.packed.pack();
        self.open.take();
    }
}
