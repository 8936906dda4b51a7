//! Reads a request's body, within its limits.

use std::sync::atomic::AtomicI64;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use coracle_api::status::ApiError;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::limits;
use crate::metrics::Held;

/// The whole body.
///
/// # Errors
/// When it is larger than a body may be, or its sender breaks off.
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    read_while(body, |_| Ok(())).await
}

/// Waits until the whole of a body is there, which may take as long as its sender likes, and counts it until then.
///
/// # Errors
/// As [`read`]; and `full`, when too much has come of all bodies.
pub(crate) async fn receive(
    body: Body,
    gauge: &AtomicI64,
    full: impl FnOnce() -> ApiError + Copy,
) -> Result<Body, ApiError> {
    let mut held = Held::none_of(gauge);
    let count = |bytes| held.grow(bytes, limits::BODIES_BYTES_MAX).then_some(()).ok_or_else(full);
    Ok(Body::from(read_while(body, count).await?))
}

async fn read_while(mut body: Body, mut count: impl FnMut(usize) -> Result<(), ApiError>) -> Result<Bytes, ApiError> {
    let announced = body.size_hint().lower();
    if announced > limits::BODY_BYTES_MAX as u64 {
        return Err(too_large(body).await);
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::BadRequest(format!("the body breaks off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > limits::BODY_BYTES_MAX {
            return Err(too_large(body).await);
        }
        if let Err(error) = count(data.len()) {
            discard(body).await;
            return Err(error);
        }
        // Most bodies come in one piece, which is then not copied.
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    Ok(match first {
        None => Bytes::new(),
        Some(first) if rest.is_empty() => first,
        Some(first) => [first, rest.freeze()].concat().into(),
    })
}

/// Reads a body that nobody wants, and keeps nothing of it: who is still sending may not look for the answer, and loses
/// it when the connection is cut off.
pub(crate) async fn discard(mut body: Body) {
    if body.is_end_stream() {
        return;
    }
    let read = async {
        let mut drained = 0;
        while drained <= limits::DRAINED_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            drained += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Too much, or too slow: the client is cut off.
    let _ = tokio::time::timeout(limits::DRAINED_TIMEOUT, read).await;
}

async fn too_large(body: Body) -> ApiError {
    discard(body).await;
    ApiError::BodyTooLarge { bytes_max: limits::BODY_BYTES_MAX }
}
