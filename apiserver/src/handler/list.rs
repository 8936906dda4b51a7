//! GET of a collection: joined from the bytes that are cached, or read from the store's history.
//!
//! Source: upstream's semantics of `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use coracle_api::codec;
use coracle_api::field::{Errors, Path};
use coracle_api::status::{ApiError, GroupKind};
use coracle_store::{Range, Revision};
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde::{Deserialize, Serialize};

use super::Call;
use crate::cache::{self, Cached, Scope, Selection, Snapshot};
use crate::error::refused;
use crate::negotiate::{Format, View};
use crate::query::Query;
use crate::{fields, respond, table};

/// Records that are read from the store at once when its history is searched for what a selector wants.
const HISTORY_PAGE: usize = 1_000;

pub(super) async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let options = ListOptions::parse(&call.query)?;
    let selection = fields::selection(call.resource(), call.target.namespace.as_deref(), None, &call.query)?;
    let snapshot = read(call, &selection, &options).await?;
    let last = snapshot.objects.last().filter(|_| snapshot.more);
    let meta = ListMeta {
        continue_: last.map(|last| Token::after(snapshot.revision, last.path()).encode()),
        remaining_item_count: snapshot.remaining.and_then(|remaining| i64::try_from(remaining).ok()),
        ..meta_at(snapshot.revision)
    };
    show(call, snapshot.objects, meta)
}

/// The options of a list.
struct ListOptions {
    limit: Option<usize>,
    from: From,
}

/// What a list is of.
enum From {
    /// Everything that had been acknowledged.
    Now,
    /// Not older than this; 0 for whatever is known.
    NotOlder(u64),
    /// Exactly this.
    Exactly(u64),
    /// What comes after an earlier page.
    Continued(Token),
}

impl ListOptions {
    fn parse(query: &Query) -> Result<Self, ApiError> {
        let limit = query.integer("limit")?.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok());
        query.integer("timeoutSeconds")?;
        let revision = revision(query)?;
        check(query)?;
        let from = match (query.get("continue"), revision, query.get("resourceVersionMatch")) {
            (Some(_), Some(revision), _) if revision > 0 => {
                let why = "specifying resource version is not allowed when using continue";
                return Err(ApiError::BadRequest(why.to_owned()));
            }
            (Some(token), ..) => From::Continued(Token::decode(token)?),
            (None, None, _) => From::Now,
            (None, Some(revision), Some("Exact")) => From::Exactly(revision),
            (None, Some(revision), _) => From::NotOlder(revision),
        };
        Ok(Self { limit, from })
    }
}

/// The resource version in a query.
///
/// # Errors
/// When it is none.
pub(super) fn revision(query: &Query) -> Result<Option<u64>, ApiError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| {
            ApiError::BadRequest(format!("resourceVersion: Invalid value: {text:?}: not a resource version"))
        })
    };
    query.get("resourceVersion").map(parse).transpose()
}

/// Which options go together. Source: upstream's `ValidateListOptions`.
fn check(query: &Query) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let path = Path::new("resourceVersionMatch");
    if let Some(how) = query.get("resourceVersionMatch") {
        let version = query.get("resourceVersion");
        if version.is_none() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if query.get("continue").is_some() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
        if how != "Exact" && how != "NotOlderThan" {
            errors.not_supported(&path, how, &["Exact", "NotOlderThan"]);
        }
        if how == "Exact" && version == Some("0") {
            errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if query.optional_flag("sendInitialEvents").is_some() {
        errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
    invalid_options(errors)
}

/// Refuses list options that are wrong.
pub(super) fn invalid_options(errors: Errors) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid { kind: GroupKind::fixed("meta.k8s.io", "ListOptions"), name: String::new(), errors })
}

async fn read(call: &Call, selection: &Selection, options: &ListOptions) -> Result<Snapshot, ApiError> {
    let (cache, limit) = (&call.resource().cache, options.limit);
    let (revision, start) = match &options.from {
        From::Now => {
            call.api.be_fresh().await?;
            return Ok(cache.list(selection, None, limit, call.api.cache.seen()));
        }
        From::NotOlder(revision) => {
            if *revision > 0 {
                call.api.be_at(*revision).await?;
            }
            return Ok(cache.list(selection, None, limit, call.api.cache.seen()));
        }
        From::Exactly(revision) => (*revision, None),
        From::Continued(token) => (token.rv, Some(token.start.as_str())),
    };
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
    let is_wanted = |object: &Cached| match &selection.scope {
        Scope::Object(path) => object.path() == path && selection.wants(object),
        _ => selection.wants(object),
    };
    let mut objects: Vec<Arc<Cached>> = Vec::new();
    let limit = limit.unwrap_or(usize::MAX);
    loop {
        let page =
            call.api.store.range(range.clone(), Some(Revision(revision)), Some(HISTORY_PAGE)).await.map_err(gone)?;
        let last = page.records.last().map(|record| record.key.clone());
        for record in &page.records {
            let object = cache::serve(&cache.layout, record);
            if is_wanted(&object) {
                if objects.len() == limit {
                    return Ok(Snapshot { objects, revision, more: true, remaining: None });
                }
                objects.push(Arc::new(object));
            }
        }
        match last {
            Some(last) if page.more => range = range.after(&last),
            _ => return Ok(Snapshot { objects, revision, more: false, remaining: None }),
        }
    }
}

fn gone(error: coracle_store::Error) -> ApiError {
    match error {
        coracle_store::Error::Compacted { .. } => ApiError::Expired(
            "The provided continue parameter is too old to display a consistent list result. \
             You must start a new list without the continue parameter."
                .to_owned(),
        ),
        other => refused(other),
    }
}

/// Where a list goes on: the form that upstream gives to its tokens.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: u64,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Token {
    fn after(revision: u64, path: &str) -> Self {
        // The first path after `path` itself.
        Self { v: TOKEN_VERSION.to_owned(), rv: revision, start: format!("{path}\0") }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token is two texts and a number"))
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let bad = |why: String| ApiError::BadRequest(format!("continue key is not valid: {why}"));
        let json = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| bad(error.to_string()))?;
        let token: Self = serde_json::from_slice(&json).map_err(|error| bad(error.to_string()))?;
        if token.v != TOKEN_VERSION || token.rv == 0 || token.start.is_empty() {
            return Err(bad("it is not of this version".to_owned()));
        }
        Ok(token)
    }
}

/// The metadata of a list that is whole.
pub(super) fn meta_at(revision: u64) -> ListMeta {
    ListMeta { resource_version: Some(revision.to_string()), ..ListMeta::default() }
}

/// Answers with a list, in the form that is wanted.
pub(super) fn show(call: &Call, objects: Vec<Arc<Cached>>, meta: ListMeta) -> Result<Response<Body>, ApiError> {
    let resource = call.resource();
    let json: Bytes = match call.accept.view {
        View::Table => table::many(resource, &objects, &meta, table::Include::parse(&call.query)?)?,
        View::Metadata => {
            let head = list_head("meta.k8s.io/v1", "PartialObjectMetadataList", &meta);
            join(head, objects.len(), objects.iter().map(|object| Ok(codec::partial_metadata(&object.body))))?
        }
        View::Full | View::Discovery { .. } => {
            let mut meta = meta;
            if resource.kind.model.custom().is_some() {
                // Lists of custom objects always say where they go on.
                meta.continue_.get_or_insert_default();
            }
            let head = list_head(&resource.api_version, &resource.kind.list_kind(), &meta);
            if call.accept.format == Format::Json && !resource.is_view {
                return Ok(respond::document(StatusCode::OK, join_entries(call, head, &objects), Format::Json));
            }
            let entries = objects.iter().map(|object| {
                let body = resource.body(object)?;
                Ok([b"{", resource.list_entry(&body)].concat().into())
            });
            join(head, objects.len(), entries)?
        }
    };
    Ok(respond::document(StatusCode::OK, json, call.accept.format))
}

fn list_head(api_version: &str, kind: &str, meta: &ListMeta) -> String {
    let meta = serde_json::to_string(meta).expect("a list's metadata is text and numbers");
    format!("{{\"apiVersion\":\"{api_version}\",\"kind\":\"{kind}\",\"metadata\":{meta},\"items\":[")
}

/// The list of cached bytes: each is copied once, into a buffer of the right size.
fn join_entries(call: &Call, head: String, objects: &[Arc<Cached>]) -> Bytes {
    let size = head.len() + 2 + objects.iter().map(|object| object.body.len() + 1).sum::<usize>();
    let mut json = Vec::with_capacity(size);
    json.extend_from_slice(head.as_bytes());
    for (index, object) in objects.iter().enumerate() {
        json.extend_from_slice(if index == 0 { b"{" } else { b",{" });
        json.extend_from_slice(call.resource().list_entry(&object.body));
    }
    json.extend_from_slice(b"]}");
    json.into()
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tokens() {
        let token = Token::after(7, "ns/a");
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        for text in ["banana", "", "e30", "====", "eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6ImEifQ"] {
            assert!(Token::decode(text).is_err(), "{text}");
        }
    }
}
