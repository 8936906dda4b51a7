//! Puts objects into the store, one compare-and-swap each, and gives them back as they are served.
//!
//! An object is encoded once, without a revision. After the commit the writer waits until the watch cache has seen it,
//! and answers with the cache's bytes: so what a client is told of its own write is what every watcher is told.

use std::sync::Arc;

use bytes::Bytes;
use coracle_api::any::AnyObject;
use coracle_api::codec;
use coracle_api::ownership;
use coracle_api::status::{ApiError, GroupResource, MODIFIED};
use coracle_store::{Change, Error as StoreError, Record, Revision, Write};

use crate::api::Api;
use crate::cache::{self, Cached};
use crate::error::refused;
use crate::resource::Resource;

/// Writes objects of one resource, or only says what would be written.
pub(crate) struct Writer<'a> {
    pub(crate) api: &'a Api,
    pub(crate) resource: &'a Resource,
    pub(crate) dry_run: bool,
}

/// Why a write did not happen.
pub(crate) enum Lost {
    /// Another one came before: this is what is there now.
    Raced(Option<Arc<Cached>>),
    Refused(ApiError),
}

impl From<ApiError> for Lost {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl Writer<'_> {
    /// The object as it is now. The cache is asked first; that it has none is taken from the store alone.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn current(&self, namespace: &str, name: &str) -> Result<Arc<Cached>, ApiError> {
        match self.resource.cache.get(&path(namespace, name)) {
            Some(object) => Ok(object),
            None => self.reload(namespace, name).await,
        }
    }

    /// The object as the store has it.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn reload(&self, namespace: &str, name: &str) -> Result<Arc<Cached>, ApiError> {
        let key = self.resource.key(namespace, name);
        let (record, _) = self.api.store.get(&key).await.map_err(refused)?;
        record.map(|record| self.served(&record)).ok_or_else(|| self.not_found(name))
    }

    /// Puts an object where there is none.
    pub(crate) async fn create(&self, object: &AnyObject) -> Result<Arc<Cached>, Lost> {
        let key = self.resource.key(object.namespace(), object.name());
        let value = self.resource.encode(object);
        if self.dry_run {
            let there = self.resource.cache.get(&path(object.namespace(), object.name()));
            return match there {
                Some(object) => Err(Lost::Raced(Some(object))),
                None => Ok(Arc::new(self.unsaved(key, value, 0))),
            };
        }
        let revision = self.write(Write::create(key.clone(), value.clone())).await?;
        Ok(self.committed(key, value, revision).await)
    }

    /// Puts an object in place of `current`. One that is the same is not written, nor one of which nothing has changed
    /// but when its managers last wrote.
    pub(crate) async fn replace(&self, current: &Arc<Cached>, object: &AnyObject) -> Result<Arc<Cached>, Lost> {
        let value = self.resource.encode(object);
        let body = codec::splice(&value, current.revision);
        if !current.is_formed && (body == current.body || ownership::same_but_times(&body, &current.body)) {
            return Ok(current.clone());
        }
        let key = current.key.clone();
        if self.dry_run {
            return Ok(Arc::new(self.unsaved(key, body, current.revision)));
        }
        let revision = self.write(Write::update(key.clone(), Revision(current.revision), value.clone())).await?;
        Ok(self.committed(key, value, revision).await)
    }

    /// Takes `current` out. Returns once the cache has seen it.
    pub(crate) async fn remove(&self, current: &Cached) -> Result<(), Lost> {
        if self.dry_run {
            return Ok(());
        }
        let revision = self.write(Write::delete(current.key.clone(), Revision(current.revision))).await?;
        self.api.cache.reach(revision.0).await;
        Ok(())
    }

    async fn write(&self, write: Write) -> Result<Revision, Lost> {
        if let Change::Put(value) = &write.change {
            codec::fits(value, self.resource.kind.model.schema())?;
        }
        match self.api.store.write(write).await {
            Ok(revision) => Ok(revision),
            Err(StoreError::Conflict { current, .. }) => Err(Lost::Raced(current.map(|record| self.served(&record)))),
            Err(error) => Err(Lost::Refused(refused(error))),
        }
    }

    async fn committed(&self, key: Bytes, value: Bytes, revision: Revision) -> Arc<Cached> {
        match self.api.cache.committed(&self.resource.cache, &key, revision).await {
            Some(object) => object,
            // So much has happened since that the cache has forgotten; the write stands all the same.
            None => Arc::new(self.unsaved(key, codec::splice(&value, revision.0), revision.0)),
        }
    }

    fn served(&self, record: &Record) -> Arc<Cached> {
        Arc::new(cache::serve(&self.resource.cache.layout, record))
    }

    /// An object that is in no cache.
    fn unsaved(&self, key: Bytes, body: Bytes, revision: u64) -> Cached {
        let layout = &self.resource.cache.layout;
        let extracted = layout.extractor.extract(&body);
        Cached::new(key, layout.prefix.len(), revision, body, extracted)
    }

    /// An object that is stored nowhere, and has no revision.
    pub(crate) fn unstored(&self, object: &AnyObject) -> Cached {
        let key = self.resource.key(object.namespace(), object.name());
        self.unsaved(key, self.resource.encode(object), 0)
    }

    /// How `object` looks that was let go while it was `current`: it is stored nowhere.
    pub(crate) fn unsaved_at(&self, current: &Cached, object: &AnyObject) -> Cached {
        let body = codec::splice(&self.resource.encode(object), current.revision);
        self.unsaved(current.key.clone(), body, current.revision)
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        ApiError::NotFound { resource: GroupResource::of(&self.resource.kind), name: name.to_owned() }
    }

    pub(crate) fn already_exists(&self, name: &str) -> ApiError {
        ApiError::AlreadyExists { resource: GroupResource::of(&self.resource.kind), name: name.to_owned() }
    }

    pub(crate) fn modified(&self, name: &str) -> ApiError {
        self.conflict(name, MODIFIED)
    }

    pub(crate) fn conflict(&self, name: &str, message: &str) -> ApiError {
        let resource = GroupResource::of(&self.resource.kind);
        ApiError::Conflict { resource, name: name.to_owned(), message: message.to_owned() }
    }
}

/// `namespace/name`, or `name`.
pub(crate) fn path(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}
