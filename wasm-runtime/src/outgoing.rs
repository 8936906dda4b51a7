//! Requests that guests send with `wasi:http`.
//!
//! The host of a request is looked up as the guest would look it up, its egress is asked about the very address that is then
//! connected to, and the connection comes from the guest's own address. One connection a request, HTTP/1.1. Over TLS the
//! certificate must be one for the name, signed by an authority that the web trusts.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Interval, interval, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::limits::HTTP_OUTGOING_TIMEOUT;
use crate::names::ResolveError;
use crate::network::Network;

/// A response, and what remains to be done for its connection.
pub(crate) type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// Sends a guest's HTTP request where its egress allows it; nowhere without a network.
///
/// # Errors
///
/// The `wasi:http` error that the guest is shown.
pub(crate) async fn send(
    network: Option<Network>,
    mut request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Sent {
    let network = network.ok_or(Error::HttpRequestDenied)?;
    let options = options.unwrap_or_default();
    let within = |limit: Option<Duration>| limit.unwrap_or(HTTP_OUTGOING_TIMEOUT);
    let connected = timeout(within(options.connect_timeout), handshake(&network, request.uri())).await;
    let (mut sender, connection) = connected.map_err(|_| Error::ConnectionTimeout)??;
    *request.uri_mut() = path_of(request.uri());
    let response = timeout(within(options.first_byte_timeout), sender.send_request(request));
    let mut connection = Box::pin(connection);
    let (response, connection) = match select(Box::pin(response), &mut connection).await {
        Either::Left((response, _)) => (response, Some(connection)),
        Either::Right((Ok(()), response)) => (response.await, None),
        Either::Right((Err(error), _)) => return Err(error.into()),
    };
    let response = response.map_err(|_| Error::ConnectionReadTimeout)??;
    let pause_max = within(options.between_bytes_timeout);
    let rest = async move {
        match connection {
            Some(connection) => connection.await.map_err(Error::from),
            None => Ok(()),
        }
    };
    Ok((response.map(|body| Timed::new(body, pause_max).boxed_unsync()), Box::new(rest)))
}

type Handshaken = (http1::SendRequest<WasiBody>, http1::Connection<TokioIo<Box<dyn Stream>>, WasiBody>);

/// Connects to the host of `uri`.
async fn handshake(network: &Network, uri: &Uri) -> Result<Handshaken, Error> {
    let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let tcp = connect(network, host, port).await?;
    let stream: Box<dyn Stream> = if is_tls { Box::new(encrypt(host, tcp).await?) } else { Box::new(tcp) };
    Ok(http1::handshake(TokioIo::new(stream)).await?)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the first address of `host` that answers, of those that are allowed.
async fn connect(network: &Network, host: &str, port: u16) -> Result<TcpStream, Error> {
    let addresses = network.resolve(host).await.map_err(|error| match error {
        ResolveError::Invalid => Error::HttpRequestUriInvalid,
        ResolveError::NotFound => Error::DestinationNotFound,
        ResolveError::Temporary => Error::DnsTimeout,
    })?;
    let mut failure = Error::DestinationNotFound;
    for address in addresses {
        let to = network.reached(SocketAddr::new(address, port));
        if !network.egress.allows(to) {
            failure = Error::HttpRequestDenied;
            continue;
        }
        match connect_to(network, to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Error::Connect(error),
        }
    }
    Err(failure)
}

async fn connect_to(network: &Network, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = network.source(to) {
        socket.bind(source)?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn encrypt(host: &str, stream: TcpStream) -> Result<impl Stream + use<>, Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    });
    let name = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(|_| Error::HttpRequestUriInvalid)?;
    TlsConnector::from(config.clone()).connect(name, stream).await.map_err(Error::Tls)
}

/// The target of a request as it stands in HTTP/1.1: the host is in a header.
fn path_of(uri: &Uri) -> Uri {
    Uri::from(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// A body whose frames follow each other within a time.
struct Timed {
    body: Incoming,
    pause: Interval,
}

impl Timed {
    fn new(body: Incoming, pause_max: Duration) -> Self {
        // An interval of nothing is not allowed.
        let mut pause = interval(pause_max.max(Duration::from_nanos(1)));
        pause.reset();
        Self { body, pause }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.pause.reset();
                Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
            }
            Poll::Pending => {
                ready!(self.pause.poll_tick(cx));
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_no_host() {
        for (uri, target) in [("http://web/a?b=c", "/a?b=c"), ("https://web:8443", "/"), ("http://web/", "/")] {
            assert_eq!(path_of(&Uri::from_static(uri)), target);
        }
    }
}
