//! Reads a request's body, within its limits of size and time.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use coracle_api::status::ApiError;
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::limits;

/// The whole body.
///
/// # Errors
/// When it is larger than a body may be, or its sender breaks off.
pub(crate) async fn read(mut body: Body) -> Result<Bytes, ApiError> {
    let announced = body.size_hint().lower();
    if announced > limits::BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::BadRequest(format!("the body breaks off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > limits::BODY_BYTES_MAX {
            return Err(too_large());
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

fn too_large() -> ApiError {
    ApiError::BodyTooLarge { bytes_max: limits::BODY_BYTES_MAX }
}
