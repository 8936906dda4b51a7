//! GET of a collection: joined from the bytes that are cached, or read from the store's history.
//!
//! Source: upstream's semantics of `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use coracle_api::codec;
use coracle_api::status::ApiError;
use coracle_store::{Range, Revision};
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;

use super::Call;
use super::list_options::{From, ListOptions};
use super::page::Token;
use crate::cache::{self, Cached, Scope, Selection, Snapshot};
use crate::error::refused;
use crate::negotiate::{Format, View};
use crate::{fields, respond, table};

/// Records that are read from the store at once when its history is searched for what a selector wants.
const HISTORY_PAGE: usize = 1_000;

pub(super) async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let options = ListOptions::parse(&call.query)?;
    let selection = fields::selection(call.resource(), call.target.namespace.as_deref(), None, &call.query)?;
    let snapshot = read(call, &selection, &options).await?;
    let meta = snapshot.meta(&selection);
    show(call, snapshot.objects, meta)
}

impl Snapshot {
    /// What a list says of itself.
    pub(super) fn meta(&self, selection: &Selection) -> ListMeta {
        let last = self.objects.last().filter(|_| self.more);
        ListMeta {
            resource_version: Some(self.revision.to_string()),
            continue_: last.map(|last| Token::after(self.revision, last.path()).encode(selection)),
            remaining_item_count: self.remaining.and_then(|remaining| i64::try_from(remaining).ok()),
            ..ListMeta::default()
        }
    }
}

/// What a list is asked for.
///
/// # Errors
/// When it cannot be had as it was at the revision that is asked for.
pub(super) async fn read(call: &Call, selection: &Selection, options: &ListOptions) -> Result<Snapshot, ApiError> {
    let (cache, limit) = (&call.resource().cache, options.limit());
    let (revision, start) = match options.from(selection)? {
        From::Now => {
            call.api.be_fresh().await?;
            return Ok(cache.list(selection, None, limit, call.api.cache.seen()));
        }
        From::Continued(Token { revision: None, start }) => {
            call.api.be_fresh().await?;
            return Ok(cache.list(selection, Some(&start), limit, call.api.cache.seen()));
        }
        From::NotOlder(revision) => {
            if revision > 0 {
                call.api.be_at(revision).await?;
            }
            return Ok(cache.list(selection, None, limit, call.api.cache.seen()));
        }
        From::Exactly(revision) => (revision, None),
        From::Continued(Token { revision: Some(revision), start }) => (revision, Some(start)),
    };
    let start = start.as_deref();
    call.api.be_at(revision).await?;
    // What has not changed since is cached as it was.
    if cache.unchanged_since(revision) {
        let snapshot = cache.list(selection, start, limit, revision);
        if cache.unchanged_since(revision) {
            return Ok(Snapshot { revision, ..snapshot });
        }
    }
    history(call, selection, revision, start, limit).await
}

/// What was there at a revision of the past.
async fn history(
    call: &Call,
    selection: &Selection,
    revision: u64,
    start: Option<&str>,
    limit: Option<usize>,
) -> Result<Snapshot, ApiError> {
    let cache = &call.resource().cache;
    let mut range = Range::prefix(match &selection.scope {
        Scope::All => cache.layout.prefix.to_vec(),
        Scope::Namespace(namespace) => cache.key(&format!("{namespace}/")),
        Scope::Object(path) => cache.key(path),
    });
    if let Some(start) = start {
        range.start = range.start.max(cache.key(start).into());
    }
    let limit = limit.unwrap_or(usize::MAX);
    let (mut objects, mut left) = (Vec::<Arc<Cached>>::new(), 0_u64);
    loop {
        let page = call.api.store.range(range.clone(), Some(Revision(revision)), Some(HISTORY_PAGE)).await;
        let page = page.map_err(|error| gone(error, selection, start))?;
        for record in &page.records {
            if objects.len() == limit {
                left += 1;
                continue;
            }
            let object = cache::serve(&cache.layout, record);
            let is_there = !matches!(&selection.scope, Scope::Object(path) if object.path() != path);
            if is_there && selection.wants(&object) {
                objects.push(Arc::new(object));
            }
        }
        // Without a selection the rest is counted, as in what is cached.
        let is_enough = left > 0 && !selection.is_plain();
        match page.records.last() {
            Some(last) if page.more && !is_enough => range = range.after(&last.key),
            _ => break,
        }
    }
    let more = left > 0;
    Ok(Snapshot { objects, revision, more, remaining: (more && selection.is_plain()).then_some(left) })
}

/// What is answered when history is gone: where a list went on, the rest can be had as it is now.
fn gone(error: coracle_store::Error, selection: &Selection, start: Option<&str>) -> ApiError {
    match (error, start) {
        (coracle_store::Error::Compacted { .. }, Some(start)) => {
            ApiError::ContinueExpired { continue_: Token::in_newest(start).encode(selection) }
        }
        (coracle_store::Error::Compacted { .. }, None) => {
            ApiError::Expired("The resourceVersion for the provided list is too old.".to_owned())
        }
        (other, _) => refused(other),
    }
}

/// Answers with a list, in the form that is wanted.
pub(super) fn show(call: &Call, objects: Vec<Arc<Cached>>, meta: ListMeta) -> Result<Response<Body>, ApiError> {
    let resource = call.resource();
    let json: Bytes = match call.accept.view {
        View::Table => table::many(resource, &objects, &meta, table::Include::parse(&call.query)?)?,
        View::Metadata => return Err(call.not_of_form("PartialObjectMetadata", "a list")),
        View::MetadataList => {
            let head = list_head("meta.k8s.io/v1", "PartialObjectMetadataList", &meta);
            join(head, objects.len(), objects.iter().map(|object| Ok(codec::partial_metadata(&object.body))))?
        }
        View::Full | View::Discovery => {
            let mut meta = meta;
            if resource.kind.model.custom().is_some() {
                // Lists of custom objects always say where they go on.
                meta.continue_.get_or_insert_default();
            }
            let head = list_head(&resource.api_version, &resource.kind.list_kind(), &meta);
            if call.accept.format != Format::Yaml && !resource.is_view {
                return Ok(respond::document(StatusCode::OK, join_entries(call, head, &objects), call.accept));
            }
            let entries = objects.iter().map(|object| {
                let body = resource.body(object)?;
                Ok([b"{", resource.list_entry(&body)].concat().into())
            });
            join(head, objects.len(), entries)?
        }
    };
    Ok(respond::document(StatusCode::OK, json, call.accept))
}

fn list_head(api_version: &str, kind: &str, meta: &ListMeta) -> String {
    let meta = serde_json::to_string(meta).expect("a list's metadata is text and numbers");
    format!("{{\"apiVersion\":\"{api_version}\",\"kind\":\"{kind}\",\"metadata\":{meta},\"items\":[")
}

/// The list of cached bytes: each is copied once, into a buffer of the right size.
fn join_entries(call: &Call, head: String, objects: &[Arc<Cached>]) -> Bytes {
    let size = head.len() + END.len() + objects.iter().map(|object| object.body.len() + 1).sum::<usize>();
    let mut json = Vec::with_capacity(size);
    json.extend_from_slice(head.as_bytes());
    for (index, object) in objects.iter().enumerate() {
        json.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        json.extend_from_slice(call.resource().list_entry(&object.body));
    }
    json.extend_from_slice(b"]}");
    json.into()
}

/// What ends a list, with the line.
const END: &[u8] = b"]}\n";

fn join(head: String, count: usize, entries: impl Iterator<Item = Result<Bytes, ApiError>>) -> Result<Bytes, ApiError> {
    let mut json = head.into_bytes();
    json.reserve(count * 512);
    for (index, entry) in entries.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&entry?);
    }
    json.extend_from_slice(b"]}");
    Ok(json.into())
}
