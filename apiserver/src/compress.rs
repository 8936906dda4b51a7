//! Answers that are sent compressed.
//!
//! Source: upstream's `responsewriters.SerializeObject`: gzip, beyond 128 KiB, for those who accept it.

use std::io::{self, Read as _, Write as _};

use axum::body::Body;
use bytes::{Buf as _, Bytes};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::stream;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use http::{HeaderMap, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;

/// A body of up to this many bytes is sent as it is.
const PLAIN_BYTES_MAX: u64 = 128 * 1024;

/// Bytes that are worked on at once.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// Whether a client takes gzip.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
        is_gzip && quality.is_none_or(|quality| quality > 0.0)
    })
}

/// Compresses an answer that is large, is there as a whole, and goes to somebody who takes it so.
pub(crate) async fn large(is_accepted: bool, response: Response<Body>) -> Response<Body> {
    let is_large = response.body().size_hint().exact().is_some_and(|bytes| bytes > PLAIN_BYTES_MAX);
    if !is_accepted || !is_large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        // A body that is there as a whole does not fail.
        return Response::from_parts(parts, Body::empty());
    };
    // It takes a thousandth of a second or more: other requests would wait on this thread.
    let plain = body.clone();
    let packed = tokio::task::spawn_blocking(move || pack(&plain)).await;
    let body = match packed {
        Ok(Ok(packed)) => {
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
            parts.headers.remove(CONTENT_LENGTH);
            packed.into()
        }
        _ => body,
    };
    Response::from_parts(parts, Body::from(body))
}

/// As upstream: the fastest, since most clients are near.
fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    out.write_all(bytes)?;
    out.finish()
}

/// A body that is unpacked while it is sent.
pub(crate) fn unpacked(gzip: Bytes) -> Body {
    let chunks = stream::iter(Unpacked { inner: GzDecoder::new(gzip.reader()) });
    Body::from_stream(chunks)
}

struct Unpacked {
    inner: GzDecoder<bytes::buf::Reader<Bytes>>,
}

impl Iterator for Unpacked {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = vec![0; CHUNK_BYTES];
        match self.inner.read(&mut chunk) {
            Ok(0) => None,
            Ok(read) => {
                chunk.truncate(read);
                Some(Ok(chunk.into()))
            }
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_gzip() {
        for (value, expected) in
            [("gzip", true), ("deflate, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(is_accepted(&headers), expected, "{value}");
        }
    }

    #[tokio::test]
    async fn only_large_answers_are_compressed() {
        for (bytes, is_accepted, expected) in [(1_000, true, false), (200_000, true, true), (200_000, false, false)] {
            let plain = "coracle ".repeat(bytes / 8);
            let response = large(is_accepted, Response::new(Body::from(plain.clone()))).await;
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), expected, "{bytes}");
            let body = response.into_body().collect().await.expect("it is there").to_bytes();
            let body = match expected {
                true => unpacked(body).collect().await.expect("it was packed").to_bytes(),
                false => body,
            };
            assert_eq!(body, plain);
        }
    }
}
