//! GET of changes as they happen.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use coracle_api::codec;
use coracle_api::status::{self, ApiError};
use futures::Stream;
use http::{HeaderValue, Response};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Call;
use super::list_options::{ListOptions, revision};
use crate::api::Api;
use crate::cache::{Beginning, Cached, Item, Selection, Shown, Start, WatchStream, write_frame};
use crate::error::expired;
use crate::negotiate::{Accept, Format, View};
use crate::query::Query;
use crate::resource::Resource;
use crate::serve::Endless;
use crate::{fields, limits, respond, table};

pub(super) async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    if call.accept.format == Format::Yaml {
        return Err(crate::negotiate::not_streamed());
    }
    let options = WatchOptions::parse(&call.query)?;
    let selection =
        fields::selection(call.resource(), call.target.namespace.as_deref(), call.target.name.as_deref(), &call.query)?;
    let encoder = Encoder::new(call)?;
    let place = Place::take(&call.api)?;
    let beginning = match begin(call, selection, &options).await {
        Ok(beginning) => beginning,
        // Once a watch is understood, it is told in the stream why there is none.
        Err(error) => return Ok(respond::stream(MEDIA_TYPE, Body::from(error_frame(&error)))),
    };
    let after = match options.start {
        Start::After(revision) => revision,
        Start::Now | Start::Present => 0,
    };
    let deadline = Instant::now() + options.duration;
    let cache = call.api.cache.clone();
    let stream = WatchStream::new(cache, beginning, after, options.bookmarks, options.initial_end, deadline);
    let frames =
        Frames { stream, encoder, stopped: Box::pin(call.api.shutdown.clone().cancelled_owned()), _place: place };
    let mut response = respond::stream(MEDIA_TYPE, Body::from_stream(frames));
    response.extensions_mut().insert(Endless);
    Ok(response)
}

/// Begins a watch, when the cache has what it begins with.
async fn begin(call: &Call, selection: Selection, options: &WatchOptions) -> Result<Beginning, ApiError> {
    match options.revision {
        None => call.api.be_fresh().await?,
        Some(revision) if options.start == Start::Present && revision > 0 => call.api.be_at(revision).await?,
        Some(_) => {}
    }
    let beginning = call.resource().cache.watch(Arc::new(selection), options.start, call.api.cache.seen());
    beginning.map_err(|too_old| expired(options.revision.unwrap_or_default(), too_old.oldest))
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
        let options = ListOptions::parse(query)?;
        let revision = revision(&options.resource_version).map_err(ApiError::Unclassified)?;
        let initial = options.send_initial_events;
        let start = match (initial, revision) {
            (Some(true), _) => Start::Present,
            (Some(false), None | Some(0)) => Start::Now,
            (None, None | Some(0)) => Start::Present,
            (Some(false) | None, Some(revision)) => Start::After(revision),
        };
        let bookmarks = options.allow_bookmarks;
        let duration = match options.timeout_seconds {
            None | Some(0) => default_duration(),
            // What is to end before it began ends at once.
            Some(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or_default().min(DURATION_MAX)),
        };
        Ok(Self { revision, start, bookmarks, initial_end: initial == Some(true) && bookmarks, duration })
    }
}

/// Seconds that a watch may last at most: a century. Longer is for ever.
const DURATION_MAX: u64 = 100 * 365 * 24 * 3_600;

/// Between the shortest and its double, so that watches that began together do not end together.
fn default_duration() -> Duration {
    let share = f64::from(u32::try_from(super::random() >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    limits::WATCH_DURATION_MIN.mul_f64(1.0 + share)
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
    accept: Accept,
    include: table::Include,
    /// Whether a table's columns have been told.
    columns_told: bool,
}

impl Encoder {
    fn new(call: &Call) -> Result<Self, ApiError> {
        Ok(Self {
            resource: call.target.resource.clone(),
            accept: call.accept,
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
            Item::Bookmark { revision, initial_events_end } => self.bookmark(revision, initial_events_end, chunk)?,
        }
        Ok(None)
    }

    /// Whether objects are sent just as they are cached.
    fn is_plain(&self) -> bool {
        matches!(self.accept.view, View::Full | View::MetadataList) && !self.resource.is_view
    }

    fn line(&mut self, shown: Shown, object: &Cached, chunk: &mut Vec<u8>) -> Result<(), ApiError> {
        let json = self.shown(object, self.include)?;
        write_frame(chunk, shown.as_str(), &json);
        Ok(())
    }

    /// An object in the form that is wanted. One that has no such form, as a list's, is shown as it is.
    fn shown(&mut self, object: &Cached, include: table::Include) -> Result<Bytes, ApiError> {
        let json = match self.accept.view {
            View::Table => {
                let is_first = !std::mem::replace(&mut self.columns_told, true);
                table::in_watch(&self.resource, object, include, is_first)?
            }
            View::Metadata => codec::partial_metadata(&object.body),
            View::Full | View::MetadataList | View::Discovery => self.resource.body(object)?,
        };
        Ok(respond::dated(json, self.accept))
    }

    /// A bookmark is an object of the kind that has nothing but a revision.
    fn bookmark(&mut self, revision: u64, initial_events_end: bool, chunk: &mut Vec<u8>) -> Result<(), ApiError> {
        let nothing = self.resource.nothing_at(revision, initial_events_end)?;
        // In a table, the end of what was present is told by the metadata, whatever else is wanted.
        let include = match self.include {
            table::Include::Nothing if initial_events_end => table::Include::Metadata,
            include => include,
        };
        let json = self.shown(&nothing, include)?;
        write_frame(chunk, "BOOKMARK", &json);
        Ok(())
    }
}

/// The line that says why a watch ends.
fn error_frame(error: &ApiError) -> Bytes {
    let mut line = Vec::new();
    write_frame(&mut line, "ERROR", &status::encode(&error.status()));
    line.into()
}
