//! The watch protocol: a body of lines, each an envelope with the type of an event and an object.
//!
//! The envelope is split without reading the object, so that the object is read once, by its kind's own decoder.

use bytes::{Bytes, BytesMut};
use coracle_api::Object;
use futures::Stream;
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use serde::Deserialize;

use crate::client::ResponseBody;
use crate::error::Error;

/// The longest line that is read. A server's objects are limited to a few MB; past this the watch is broken off.
const LINE_BYTES_MAX: usize = 32 << 20;

/// The annotation of the bookmark that ends the initial events of a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent<K> {
    Added(K),
    Modified(K),
    /// With the object as it was last.
    Deleted(K),
    /// Everything up to this revision has been sent.
    Bookmark {
        resource_version: String,
    },
}

/// An event whose object is not read yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Added(Bytes),
    Modified(Bytes),
    Deleted(Bytes),
    Bookmark {
        revision: String,
        ends_initial_events: bool,
    },
    /// The server ends this watch, and says why.
    Failed(Box<Status>),
}

/// The frames of one answer.
pub(crate) struct Frames {
    path: String,
    body: ResponseBody,
    pending: BytesMut,
    /// How much of `pending` is known to hold no end of line.
    scanned: usize,
}

impl Frames {
    pub(crate) fn new(path: String, body: ResponseBody) -> Self {
        Self { path, body, pending: BytesMut::new(), scanned: 0 }
    }

    /// The next frame; `None` when the server has ended the answer.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Result<Frame, Error>> {
        loop {
            if let Some(line) = self.line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Some(parse(&line).map_err(|problem| Error::Event { path: self.path.clone(), problem }));
            }
            if self.pending.len() > LINE_BYTES_MAX {
                return Some(Err(Error::Event { path: self.path.clone(), problem: "a line without end" }));
            }
            // What follows the last end of line was cut off with the connection: it is sent again to the next watch.
            let frame = self.body.frame().await?;
            match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => self.pending.extend_from_slice(&data),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        match self.pending[self.scanned..].iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let line = self.pending.split_to(self.scanned + end + 1).freeze();
                self.scanned = 0;
                Some(line)
            }
            None => {
                self.scanned = self.pending.len();
                None
            }
        }
    }
}

/// The frames as typed events, for a caller that handles the end of the watch itself.
pub(crate) fn events<K: Object>(
    path: String,
    body: ResponseBody,
) -> impl Stream<Item = Result<WatchEvent<K>, Error>> + Send + use<K> {
    futures::stream::unfold(Frames::new(path, body), |mut frames| async move {
        let event = frames.next().await?.and_then(|frame| typed(frame, &frames.path));
        Some((event, frames))
    })
}

fn typed<K: Object>(frame: Frame, path: &str) -> Result<WatchEvent<K>, Error> {
    let decode = |object: &[u8]| {
        K::decode(object).map_err(|source| Error::Answer { request: format!("GET {path} (watch)"), source })
    };
    match frame {
        Frame::Added(object) => decode(&object).map(WatchEvent::Added),
        Frame::Modified(object) => decode(&object).map(WatchEvent::Modified),
        Frame::Deleted(object) => decode(&object).map(WatchEvent::Deleted),
        Frame::Bookmark { revision, .. } => Ok(WatchEvent::Bookmark { resource_version: revision }),
        Frame::Failed(status) => Err(Error::Api { status }),
    }
}

fn parse(line: &Bytes) -> Result<Frame, &'static str> {
    let (kind, object) = split(line).map_or_else(|| split_any(line), Ok)?;
    match kind.as_str() {
        "ADDED" => Ok(Frame::Added(object)),
        "MODIFIED" => Ok(Frame::Modified(object)),
        "DELETED" => Ok(Frame::Deleted(object)),
        "BOOKMARK" => bookmark(&object),
        "ERROR" => serde_json::from_slice(&object).map(Frame::Failed).map_err(|_| "an error without a status"),
        _ => Err("an event of unknown type"),
    }
}

/// The envelope as Kubernetes' encoder always writes it.
fn split(line: &Bytes) -> Option<(String, Bytes)> {
    let rest = line.strip_prefix(br#"{"type":""#)?;
    let kind = &rest[..rest.iter().position(|&byte| byte == b'"')?];
    let object = rest[kind.len()..].strip_prefix(br#"","object":"#)?.trim_ascii_end().strip_suffix(b"}")?;
    Some((String::from_utf8(kind.to_vec()).ok()?, line.slice_ref(object)))
}

/// The envelope with its members in any order.
fn split_any(line: &[u8]) -> Result<(String, Bytes), &'static str> {
    #[derive(Deserialize)]
    struct Envelope {
        r#type: String,
        object: serde_json::Value,
    }
    let envelope: Envelope = serde_json::from_slice(line).map_err(|_| "a line that is no event")?;
    Ok((envelope.r#type, envelope.object.to_string().into()))
}

fn bookmark(object: &[u8]) -> Result<Frame, &'static str> {
    #[derive(Deserialize)]
    struct Bookmark {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "resourceVersion")]
        revision: String,
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    }
    let Bookmark { metadata } = serde_json::from_slice(object).map_err(|_| "a bookmark without a revision")?;
    let ends_initial_events = metadata.annotations.get(INITIAL_EVENTS_END).is_some_and(|end| end == "true");
    Ok(Frame::Bookmark { revision: metadata.revision, ends_initial_events })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body_util::StreamBody;

    use super::*;

    fn frames(chunks: Vec<&'static str>) -> Frames {
        let frames = chunks.into_iter().map(|chunk| Ok::<_, Error>(http_body::Frame::data(Bytes::from(chunk))));
        Frames::new("/api/v1/pods".into(), StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
    }

    async fn all(mut frames: Frames) -> Vec<Result<Frame, String>> {
        let mut seen = Vec::new();
        while let Some(frame) = frames.next().await {
            seen.push(frame.map_err(|error| error.to_string()));
        }
        seen
    }

    #[tokio::test]
    async fn lines_are_found_however_the_chunks_fall() {
        let expected = vec![Ok(Frame::Added(r#"{"a":1}"#.into())), Ok(Frame::Deleted(r#"{"b":{}}"#.into()))];
        let whole = "{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n{\"object\":{\"b\":{}},\"type\":\"DELETED\"}\n";
        for cut in 0..whole.len() {
            assert_eq!(all(frames(vec![&whole[..cut], &whole[cut..]])).await, expected, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_is_no_event() {
        assert_eq!(all(frames(vec![r#"{"type":"ADDED","object":{"a":1"#])).await, vec![]);
    }

    #[tokio::test]
    async fn bookmarks_and_errors_are_read() {
        let seen = all(frames(vec![concat!(
            r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"7","#,
            r#""annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
            "\n",
            r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired"}}"#,
            "\nrubbish\n",
        )]))
        .await;
        assert_eq!(seen[0], Ok(Frame::Bookmark { revision: "7".into(), ends_initial_events: true }));
        assert!(matches!(&seen[1], Ok(Frame::Failed(status)) if status.code == Some(410)));
        assert_eq!(seen[2], Err("a watch of /api/v1/pods sent what is not an event: a line that is no event".into()));
    }

    #[tokio::test]
    async fn a_typed_watch_ends_with_the_answer() {
        use k8s_openapi::api::core::v1::Namespace;
        let body = frames(vec![
            "{\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\"}}}\n",
        ])
        .body;
        let events: Vec<_> = events::<Namespace>("/api/v1/namespaces".into(), body).collect().await;
        assert!(matches!(&events[..], [Ok(WatchEvent::Added(ns))] if ns.metadata.name.as_deref() == Some("a")));
    }
}
