//! One thing at a time for each key, and no memory of keys that nobody works on.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
pub struct Turns<K> {
    taken: Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { taken: Mutex::default() }
    }
}

/// What is locked for one key.
pub struct Turn(Arc<tokio::sync::Mutex<()>>);

impl<K: Eq + Hash> Turns<K> {
    /// The turns of one key.
    pub fn of(&self, key: K) -> Turn {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, turn| Arc::strong_count(turn) > 1);
        Turn(taken.entry(key).or_default().clone())
    }
}

impl Turn {
    /// Whether somebody has it now.
    pub fn is_taken(&self) -> bool {
        self.0.try_lock().is_err()
    }

    /// Waits for it.
    pub async fn lock(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.lock().await
    }

    /// As [`Turn::lock`], to be kept.
    pub async fn lock_owned(self) -> tokio::sync::OwnedMutexGuard<()> {
        self.0.lock_owned().await
    }
}
