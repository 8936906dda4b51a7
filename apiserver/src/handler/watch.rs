//! GET of changes as they happen.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use coracle_api::codec;
use coracle_api::field::{Errors, Path};
use coracle_api::status::{self, ApiError};
use futures::Stream;
use http::{HeaderValue, Response};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Call, list};
use crate::api::Api;
use crate::cache::{Cached, Item, Shown, Start, WatchStream, write_frame};
use crate::error::expired;
use crate::negotiate::{Format, View};
use crate::query::Query;
use crate::resource::Resource;
use crate::{fields, limits, respond, table};

pub(super) async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    if call.accept.format == Format::Yaml {
        return Err(crate::negotiate::not_acceptable());
    }
    let options = WatchOptions::parse(&call.query)?;
    let selection =
        fields::selection(call.resource(), call.target.namespace.as_deref(), call.target.name.as_deref(), &call.query)?;
    let place = Place::take(&call.api)?;
    match options.revision {
        None => call.api.be_fresh().await?,
        Some(revision) if options.start == Start::Present && revision > 0 => call.api.be_at(revision).await?,
        Some(_) => {}
    }
    let beginning = call.resource().cache.watch(Arc::new(selection), options.start, call.api.cache.seen());
    let beginning = match beginning {
        Ok(beginning) => beginning,
        Err(too_old) => {
            let asked = options.revision.unwrap_or_default();
            return Ok(respond::stream(MEDIA_TYPE, Body::from(error_frame(&expired(asked, too_old.oldest)))));
        }
    };
    let after = match options.start {
        Start::After(revision) => revision,
        Start::Now | Start::Present => 0,
    };
    let deadline = Instant::now() + options.duration;
    let cache = call.api.cache.clone();
    let stream = WatchStream::new(cache, beginning, after, options.bookmarks, options.initial_end, deadline);
    let frames = Frames {
        stream,
        encoder: Encoder::new(call)?,
        stopped: Box::pin(call.api.shutdown.clone().cancelled_owned()),
        _place: place,
    };
    Ok(respond::stream(MEDIA_TYPE, Body::from_stream(frames)))
}

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/json");

/// The options of a watch.
struct WatchOptions {
    revision: Option<u64>,
    start: Start,
    bookmarks: bool,
    /// Whether the end of what was present is marked.
    initial_end: bool,
    duration: Duration,
}

impl WatchOptions {
    fn parse(query: &Query) -> Result<Self, ApiError> {
        check(query)?;
        let revision = list::revision(query)?;
        let initial = query.optional_flag("sendInitialEvents");
        let start = match (initial, revision) {
            (Some(true), _) => Start::Present,
            (Some(false), None | Some(0)) => Start::Now,
            (None, None | Some(0)) => Start::Present,
            (Some(false) | None, Some(revision)) => Start::After(revision),
        };
        let bookmarks = query.flag("allowWatchBookmarks");
        let duration = match query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()) {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
            _ => default_duration(),
        };
        Ok(Self { revision, start, bookmarks, initial_end: initial == Some(true) && bookmarks, duration })
    }
}

/// Between the shortest and its double, so that watches that began together do not end together.
fn default_duration() -> Duration {
    let share = f64::from(u32::try_from(super::random() >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    limits::WATCH_DURATION_MIN.mul_f64(1.0 + share)
}

/// Which options go together. Source: upstream's `validateWatchOptions`.
fn check(query: &Query) -> Result<(), ApiError> {
    let mut errors = Errors::new();
    let path = Path::new("resourceVersionMatch");
    let initial = query.optional_flag("sendInitialEvents").is_some();
    match query.get("resourceVersionMatch") {
        Some("NotOlderThan") if initial => {}
        None if initial => {
            errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        Some(how) if how != "NotOlderThan" => errors.not_supported(&path, how, &["NotOlderThan"]),
        Some(_) => {
            errors.forbidden(&path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        }
        None => {}
    }
    list::invalid_options(errors)
}

/// One of the watches and logs that may be in progress.
pub(super) struct Place(Arc<Api>);

impl Place {
    /// # Errors
    /// When there are too many.
    pub(super) fn take(api: &Arc<Api>) -> Result<Self, ApiError> {
        let before = api.metrics.streams.fetch_add(1, Ordering::Relaxed);
        let place = Self(api.clone());
        if usize::try_from(before).unwrap_or_default() >= limits::STREAMS_MAX {
            return Err(api.too_many());
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.metrics.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A watch as the lines of a body.
struct Frames {
    stream: WatchStream,
    encoder: Encoder,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl Stream for Frames {
    type Item = Result<Bytes, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let mut chunk = Vec::new();
        loop {
            let item = match Pin::new(&mut this.stream).poll_next(cx) {
                Poll::Ready(Some(item)) => item,
                Poll::Ready(None) if chunk.is_empty() => return Poll::Ready(None),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                // The stream will say the same again when it is asked next.
                Poll::Ready(None) | Poll::Pending => return Poll::Ready(Some(Ok(chunk.into()))),
            };
            match this.encoder.encode(item, &mut chunk) {
                // A frame that others are sent too is passed on as it is.
                Ok(Some(shared)) => return Poll::Ready(Some(Ok(shared))),
                Ok(None) if chunk.len() >= limits::WATCH_CHUNK_BYTES => return Poll::Ready(Some(Ok(chunk.into()))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Ok(error_frame(&error)))),
            }
        }
    }
}

/// Makes lines of what a watcher is told.
struct Encoder {
    resource: Arc<Resource>,
    view: View,
    include: table::Include,
    /// Whether a table's columns have been told.
    columns_told: bool,
}

impl Encoder {
    fn new(call: &Call) -> Result<Self, ApiError> {
        Ok(Self {
            resource: call.target.resource.clone(),
            view: call.accept.view,
            include: table::Include::parse(&call.query)?,
            columns_told: false,
        })
    }

    /// Appends a line to `chunk`; or gives the line that is shared with others, when `chunk` is empty.
    fn encode(&mut self, item: Item, chunk: &mut Vec<u8>) -> Result<Option<Bytes>, ApiError> {
        match item {
            Item::Present(object) => self.line(Shown::Added, &object, chunk)?,
            Item::Changed(event, shown) if self.is_plain() => {
                let frame = event.frame(shown);
                if chunk.is_empty() {
                    return Ok(Some(frame));
                }
                chunk.extend_from_slice(&frame);
            }
            Item::Changed(event, shown) => self.line(shown, &event.shown_object(shown), chunk)?,
            Item::Bookmark { revision, initial_events_end } => self.bookmark(revision, initial_events_end, chunk),
        }
        Ok(None)
    }

    /// Whether objects are sent just as they are cached.
    fn is_plain(&self) -> bool {
        self.view == View::Full && !self.resource.is_view
    }

    fn line(&mut self, shown: Shown, object: &Cached, chunk: &mut Vec<u8>) -> Result<(), ApiError> {
        match self.view {
            View::Table => {
                let is_first = !std::mem::replace(&mut self.columns_told, true);
                let table = table::in_watch(&self.resource, object, self.include, is_first)?;
                write_frame(chunk, shown.as_str(), &table);
            }
            View::Metadata => write_frame(chunk, shown.as_str(), &codec::partial_metadata(&object.body)),
            View::Full | View::Discovery { .. } => {
                write_frame(chunk, shown.as_str(), &self.resource.body(object)?);
            }
        }
        Ok(())
    }

    fn bookmark(&self, revision: u64, initial_events_end: bool, chunk: &mut Vec<u8>) {
        let annotations =
            if initial_events_end { ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}" } else { "" };
        let (api_version, kind) = match self.view {
            View::Metadata => ("meta.k8s.io/v1", "PartialObjectMetadata"),
            View::Table => ("meta.k8s.io/v1", "Table"),
            View::Full | View::Discovery { .. } => (self.resource.api_version.as_str(), &*self.resource.kind.kind),
        };
        let rest = if self.view == View::Table { ",\"columnDefinitions\":null,\"rows\":[]" } else { "" };
        let object = format!(
            "{{\"apiVersion\":\"{api_version}\",\"kind\":\"{kind}\",\"metadata\":{{\"resourceVersion\":\"{revision}\"{annotations}}}{rest}}}"
        );
        write_frame(chunk, "BOOKMARK", object.as_bytes());
    }
}

/// The line that says why a watch ends.
fn error_frame(error: &ApiError) -> Bytes {
    let mut line = Vec::new();
    write_frame(&mut line, "ERROR", &status::encode(&error.status()));
    line.into()
}
