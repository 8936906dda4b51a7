//! An answer that goes on, on a HTTP/1.1 connection: a watch that waits should cost little, and hyper keeps buffers of
//! 8 kB and more for as long as it speaks.
//!
//! So hyper reads the request and then lets the connection go; the answer is written from here, and afterwards hyper has
//! it back. Nothing is buffered: a chunk of the body is a write.

use std::io;

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::header::{DATE, HeaderValue, TRANSFER_ENCODING};
use http::{Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::lent::Lent;

/// Marks an answer that goes on, and may be written from here.
#[derive(Clone, Copy)]
pub(crate) struct Endless;

/// Whether an answer to this request may be: chunks came with HTTP/1.1, and nothing may come after the request's head.
pub(super) fn may_be(request: &Request<Body>) -> bool {
    request.version() == Version::HTTP_11 && request.body().is_end_stream()
}

/// An answer that goes on, as little of it as is needed.
pub(super) struct Answer {
    head: Vec<u8>,
    body: Body,
}

impl Answer {
    pub(super) fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { head: head(parts), body }
    }
}

/// Writes an answer to its end; what the client sent meanwhile is read afterwards.
///
/// # Errors
/// When the client has gone, or the body breaks off.
pub(super) async fn write<T>(io: &mut Lent<T>, Answer { head, mut body }: Answer) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(&head).await?;
    drop(head);
    io.flush().await?;
    let mut early = Bytes::new();
    loop {
        let mut byte = [0; 1];
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => write_chunk(io, frame.into_data().unwrap_or_default()).await?,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => break,
            },
            // There is nothing to read but the client's end.
            read = io.read(&mut byte), if early.is_empty() => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => early = Bytes::copy_from_slice(&byte),
            },
        }
    }
    io.write_all(b"0\r\n\r\n").await?;
    io.flush().await?;
    io.unread(&early);
    Ok(())
}

async fn write_chunk<T: AsyncWrite + Unpin>(io: &mut Lent<T>, data: Bytes) -> io::Result<()> {
    // A chunk of nothing is the end.
    if data.is_empty() {
        return Ok(());
    }
    let size = format!("{:x}\r\n", data.len());
    io.write_all_buf(&mut Buf::chain(size.as_bytes(), data).chain(&b"\r\n"[..])).await?;
    io.flush().await
}

fn head(mut parts: http::response::Parts) -> Vec<u8> {
    parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    let now = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(now) = HeaderValue::from_str(&now) {
        parts.headers.entry(DATE).or_insert(now);
    }
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str()).into_bytes();
    for (name, value) in &parts.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;

    use super::*;
    use futures::stream;
    use http::header::CONTENT_TYPE;

    fn response(chunks: &'static [&'static str]) -> Response<Body> {
        let body = stream::iter(chunks.iter().map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk.as_bytes()))));
        Response::builder()
            .header(CONTENT_TYPE, "text/plain")
            .header(DATE, "now")
            .body(Body::from_stream(body))
            .unwrap()
    }

    #[tokio::test]
    async fn chunks_are_written_as_they_come() {
        let (near, mut far) = tokio::io::duplex(16);
        let writing = tokio::spawn(async move {
            let mut io = Lent::new(near);
            write(&mut io, Answer::of(response(&["one", "", "0123456789abcdef0"]))).await.unwrap();
            assert!(io.flushed().is_so());
            let mut next = [0; 4];
            io.read_exact(&mut next).await.unwrap();
            next
        });
        // The next request comes early.
        far.write_all(b"GET ").await.unwrap();
        let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: now\r\ntransfer-encoding: chunked\r\n\r\n\
            3\r\none\r\n11\r\n0123456789abcdef0\r\n0\r\n\r\n";
        let mut answer = vec![0; expected.len()];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), expected);
        assert_eq!(&writing.await.unwrap(), b"GET ");
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_it() {
        let (near, far) = tokio::io::duplex(1024);
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let writing = tokio::spawn(async move { write(&mut Lent::new(near), Answer::of(Response::new(body))).await });
        drop(far);
        assert!(writing.await.unwrap().is_err());
    }
}
