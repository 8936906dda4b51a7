//! Reads a kind from a server for ever: a list, then a watch from its revision, again and again. Knows no types; who
//! decodes what it reads tells it how far that went ([`Reflector::reached`], [`Reflector::paged`]).
//!
//! The list comes as a watch that begins with everything (`sendInitialEvents`) where the server can do that, otherwise
//! in pages. A watch that ends is resumed at the last revision seen; one whose revision is no longer kept begins anew.
//! Failures are waited out with growing delays and never given up.
//!
//! Source: client-go's `Reflector`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use tokio::time::{Instant, sleep, timeout};

use super::Selection;
use crate::backoff::{Backoff, jittered};
use crate::objects::request;
use crate::watch::{Frame, Frames};
use crate::{Client, Error, path};

const JSON: &str = "application/json";

/// Of a list and of a watch alike.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// How many objects a page of a list holds. Source: client-go's pager.
const PAGE_OBJECTS: &str = "500";

/// How long the server keeps a watch open at most. Between one and two times this is used, so that the watches of many
/// clients do not end together. Source: client-go's `minWatchTimeout`.
const WATCH_TIMEOUT: Duration = Duration::from_secs(300);

/// How much later than that a watch that is still silent counts as dead.
const WATCH_GRACE: Duration = Duration::from_secs(5);

/// A watch that ends without an event before this counts as a failure, or a server that ends watches at once would be
/// asked without pause.
const WATCH_SHORT: Duration = Duration::from_secs(1);

/// What was read. A list is `Restarted`, then any of `Page`, `Listed`, `Unlisted`, then `ListEnd`.
pub(super) enum Reading {
    /// A list begins; what an unfinished one held is void.
    Restarted,
    /// A page of the list; [`Reflector::paged`] or [`Reflector::failed`] must follow.
    Page(Bytes),
    /// An object of the list.
    Listed(Bytes),
    /// An object that went while the list was sent.
    Unlisted(Bytes),
    /// The list is complete: what it does not hold does not exist.
    ListEnd,
    /// An object is new or changed; [`Reflector::reached`] must follow.
    Applied(Bytes),
    /// An object is gone; [`Reflector::reached`] must follow.
    Deleted(Bytes),
}

enum State {
    /// Nothing is known, or what is known is too old.
    Unlisted,
    /// A list is read in pages, of which this one is next (`None`: the first).
    Paging { next: Option<String> },
    /// All pages are read.
    Paged,
    /// A list is read as a watch.
    Streaming(Stream),
    /// Everything up to the revision is known.
    Listed,
    /// The watch from there on.
    Watching(Stream),
}

struct Stream {
    frames: Frames,
    opened: Instant,
    silence_max: Duration,
    /// Whether it has sent anything.
    useful: bool,
}

pub(super) struct Reflector {
    client: Client,
    path: String,
    /// The media types that are asked for, in order.
    accept: HeaderValue,
    selection: Selection,
    state: State,
    revision: String,
    /// Whether the server is believed to be able to stream a list.
    streams_lists: bool,
    /// Failures since the last good answer.
    failures: u32,
}

impl Reflector {
    pub(super) fn new(client: Client, path: String, selection: &Selection) -> Self {
        Self {
            client,
            path,
            accept: HeaderValue::from_static(JSON),
            selection: selection.clone(),
            state: State::Unlisted,
            revision: String::new(),
            streams_lists: true,
            failures: 0,
        }
    }

    /// Asks for the metadata of objects alone, which a server that cannot do that answers with whole objects.
    pub(super) fn of_metadata(client: Client, path: String, selection: &Selection) -> Self {
        Self { accept: HeaderValue::from_static(METADATA), ..Self::new(client, path, selection) }
    }

    /// What there is to know next. Waits as long as it takes.
    pub(super) async fn next(&mut self) -> Reading {
        loop {
            let step = match &mut self.state {
                State::Unlisted => self.begin().await,
                State::Paging { next } => {
                    let next = next.clone();
                    self.page(next).await
                }
                State::Paged => {
                    self.state = State::Listed;
                    return Reading::ListEnd;
                }
                State::Listed => self.resume().await,
                State::Streaming(stream) => {
                    let frame = stream.next().await;
                    self.streamed(frame)
                }
                State::Watching(stream) => {
                    let frame = stream.next().await;
                    self.watched(frame)
                }
            };
            match step {
                Ok(Some(reading)) => return reading,
                Ok(None) => {}
                Err(error) => self.recover(&error),
            }
        }
    }

    /// An event with this metadata has been taken: a resumed watch begins after it.
    pub(super) fn reached(&mut self, meta: &ObjectMeta) {
        if let Some(revision) = &meta.resource_version {
            self.revision.clone_from(revision);
        }
    }

    /// A page with this metadata has been taken.
    pub(super) fn paged(&mut self, meta: ListMeta) {
        self.revision = meta.resource_version.unwrap_or_default();
        self.state = match meta.continue_.filter(|token| !token.is_empty()) {
            Some(token) => State::Paging { next: Some(token) },
            None => State::Paged,
        };
    }

    /// The page could not be read.
    pub(super) fn failed(&mut self, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(path = self.path, error, "cannot read a list");
        self.failures += 1;
        self.state = State::Unlisted;
    }

    async fn begin(&mut self) -> Result<Option<Reading>, Error> {
        self.pause().await;
        if !self.streams_lists {
            self.state = State::Paging { next: None };
            return Ok(Some(Reading::Restarted));
        }
        let initial = [("sendInitialEvents", Some("true")), ("resourceVersionMatch", Some("NotOlderThan"))];
        match self.open(&initial).await {
            Ok(stream) => {
                self.state = State::Streaming(stream);
                Ok(Some(Reading::Restarted))
            }
            // What a server says that knows no such watches, or is told to have none.
            Err(error) if error.is_invalid() || error.is_bad_request() => {
                self.streams_lists = false;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn page(&mut self, next: Option<String>) -> Result<Option<Reading>, Error> {
        let pairs = [("limit", Some(PAGE_OBJECTS)), ("continue", next.as_deref()), self.labels(), self.fields()];
        let request = request(Method::GET, path::query(self.path.clone(), &pairs), None, Bytes::new())?;
        Ok(Some(Reading::Page(self.client.raw(self.accepting(request)).await?.into_body())))
    }

    async fn resume(&mut self) -> Result<Option<Reading>, Error> {
        self.pause().await;
        let revision = self.revision.clone();
        let stream = self.open(&[("resourceVersion", Some(&revision))]).await?;
        self.state = State::Watching(stream);
        Ok(None)
    }

    async fn open(&mut self, pairs: &[(&str, Option<&str>)]) -> Result<Stream, Error> {
        let limit = jittered(jittered(WATCH_TIMEOUT));
        let seconds = limit.as_secs().to_string();
        let always = [
            ("watch", Some("true")),
            ("allowWatchBookmarks", Some("true")),
            ("timeoutSeconds", Some(seconds.as_str())),
            self.labels(),
            self.fields(),
        ];
        let target = path::query(self.path.clone(), &[pairs, &always].concat());
        let request = self.accepting(request(Method::GET, target, None, Bytes::new())?);
        let answer = self.client.stream(request).await?;
        Ok(Stream {
            frames: Frames::new(self.path.clone(), answer.into_body()),
            opened: Instant::now(),
            silence_max: limit + WATCH_GRACE,
            useful: false,
        })
    }

    fn streamed(&mut self, frame: Option<Result<Frame, Error>>) -> Result<Option<Reading>, Error> {
        match frame {
            Some(Ok(Frame::Added(object) | Frame::Modified(object))) => Ok(Some(Reading::Listed(object))),
            Some(Ok(Frame::Deleted(object))) => Ok(Some(Reading::Unlisted(object))),
            Some(Ok(Frame::Bookmark { ends_initial_events: false, .. })) => Ok(None),
            Some(Ok(Frame::Bookmark { revision, ends_initial_events: true })) => {
                self.failures = 0;
                self.revision = revision;
                if let State::Streaming(stream) = std::mem::replace(&mut self.state, State::Listed) {
                    self.state = State::Watching(stream);
                }
                Ok(Some(Reading::ListEnd))
            }
            Some(Ok(Frame::Failed(status))) => Err(Error::Api { status }),
            Some(Err(error)) => Err(error),
            // Cut off in the middle of the list.
            None => {
                self.failures += 1;
                self.state = State::Unlisted;
                Ok(None)
            }
        }
    }

    fn watched(&mut self, frame: Option<Result<Frame, Error>>) -> Result<Option<Reading>, Error> {
        let frame = match frame {
            Some(frame) => frame?,
            None => {
                self.ended();
                return Ok(None);
            }
        };
        self.failures = 0;
        match frame {
            Frame::Added(object) | Frame::Modified(object) => Ok(Some(Reading::Applied(object))),
            Frame::Deleted(object) => Ok(Some(Reading::Deleted(object))),
            Frame::Bookmark { revision, .. } => {
                self.revision = revision;
                Ok(None)
            }
            Frame::Failed(status) => Err(Error::Api { status }),
        }
    }

    /// The server has ended a watch, as it does every few minutes: go on where it stopped.
    fn ended(&mut self) {
        if let State::Watching(stream) = std::mem::replace(&mut self.state, State::Listed)
            && !stream.useful
            && stream.opened.elapsed() < WATCH_SHORT
        {
            self.failures += 1;
        }
    }

    fn recover(&mut self, error: &Error) {
        self.state = match self.state {
            State::Listed | State::Watching(_) if !error.is_gone() => State::Listed,
            _ => State::Unlisted,
        };
        // That a revision expires is part of the protocol, and that a server restarts is life: both pass in silence.
        let told = error as &dyn std::error::Error;
        match self.failures {
            0..3 => tracing::debug!(path = self.path, error = told, "a watch failed"),
            failures => tracing::warn!(path = self.path, failures, error = told, "a watch keeps failing"),
        }
        self.failures += 1;
    }

    async fn pause(&mut self) {
        if self.failures > 0 {
            sleep(jittered(Backoff::RECONNECT.delay(self.failures - 1))).await;
        }
    }

    fn accepting(&self, mut request: Request<Bytes>) -> Request<Bytes> {
        request.headers_mut().insert(header::ACCEPT, self.accept.clone());
        request
    }

    fn labels(&self) -> (&'static str, Option<&str>) {
        ("labelSelector", self.selection.label_selector.as_deref())
    }

    fn fields(&self) -> (&'static str, Option<&str>) {
        ("fieldSelector", self.selection.field_selector.as_deref())
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Result<Frame, Error>> {
        let frame = timeout(self.silence_max, self.frames.next()).await.unwrap_or(None);
        self.useful |= frame.is_some();
        frame
    }
}
