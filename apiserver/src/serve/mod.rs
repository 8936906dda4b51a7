//! The socket: accepts connections, learns who they are, and hands their requests to [`Api::handle`].
//!
//! A connection's task is tracked and ends with the server; a connection that does nothing, or does not take what it is
//! sent, is dropped after a time from [`crate::limits`].

mod endless;
mod in_process;
mod lent;
mod secured;
mod stall;
mod tls;

pub(crate) use endless::Endless;
pub use in_process::InProcess;
pub(crate) use in_process::Inside;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Api;
use crate::auth::{Identity, identity_of_certificate};
use crate::error::Error;
use crate::limits;
use crate::pki::Pki;
use lent::Lent;
use secured::Secured;
use stall::StallGuard;

/// A connection whose handshake is done. It is passed about, and every task that it passes through would have room for it.
type Tls = Box<Secured<StallGuard<TcpStream>>>;

/// A bound socket with what is needed to serve it.
pub(crate) struct Socket {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    local_addr: SocketAddr,
}

impl Socket {
    /// Binds `listen` (port 0 chooses one) and signs a certificate for it.
    ///
    /// # Errors
    /// When the address cannot be bound, or no certificate can be made.
    pub(crate) async fn bind(listen: SocketAddr, pki: &Pki, names: &[String]) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let serving = pki.serving_certificate(names, &[local_addr.ip()])?;
        Ok(Self { listener, tls: tls::config(pki, serving)?, local_addr })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts connections until `shutdown`, then lets them finish what they are at.
    pub(crate) async fn run(self, api: Arc<Api>, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        loop {
            let accepted = async {
                let place = room.clone().acquire_owned().await;
                self.listener.accept().await.map(|(stream, _peer)| (stream, place))
            };
            let (stream, place) = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = accepted => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(limits::ACCEPT_BACKOFF).await;
                        continue;
                    }
                },
            };
            let (tls, api, shutdown) = (self.tls.clone(), api.clone(), shutdown.clone());
            connections.spawn(async move {
                serve(stream, tls, api, shutdown).await;
                drop(place);
            });
        }
        connections.close();
        if timeout(limits::DRAIN_TIMEOUT, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "left connections that did not finish");
        }
    }
}

/// One connection, from its handshake to its end. What is boxed here is gone when it is done: an idle connection is to be
/// small.
async fn serve(stream: TcpStream, tls: Arc<ServerConfig>, api: Arc<Api>, shutdown: CancellationToken) {
    let Some(tls) = Box::pin(handshake(stream, tls)).await else { return };
    let is_http2 = tls.alpn_protocol() == Some(b"h2");
    let ended = match is_http2 {
        true => Box::pin(http2(tls, api, shutdown)).await,
        false => http1(Lent::new(tls), api, shutdown).await,
    };
    match ended {
        Ok(()) => {}
        Err(Ended::Http(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(Ended::Endless(error)) => tracing::debug!(%error, "who watched has gone"),
        Err(Ended::Silent) => tracing::debug!("a connection was opened for nothing"),
    }
}

/// A connection's secrets; without them it is dropped.
async fn handshake(stream: TcpStream, tls: Arc<ServerConfig>) -> Option<Tls> {
    // Without it small answers wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let guarded = StallGuard::new(stream, limits::WRITE_STALL_TIMEOUT);
    match timeout(limits::HANDSHAKE_TIMEOUT, Secured::accept(guarded, tls)).await {
        Ok(Ok(tls)) => return Some(Box::new(tls)),
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    None
}

/// Why a connection did not end as connections should.
enum Ended {
    Http(hyper::Error),
    Endless(std::io::Error),
    Silent,
}

/// Who is at the other end.
#[derive(Clone)]
struct Client {
    api: Arc<Api>,
    identity: Option<Identity>,
    has_asked: Arc<AtomicBool>,
}

impl Client {
    /// Whoever the handshake has verified.
    fn of(tls: &Tls, api: Arc<Api>) -> Self {
        let certificates = tls.peer_certificates();
        let identity = certificates.and_then(|chain| identity_of_certificate(chain.first()?));
        Self { api, identity, has_asked: Arc::default() }
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        self.api.handle(request).await
    }

    /// Puts who the connection belongs to beside the request.
    fn admit(&self, request: Request<Incoming>) -> Request<Body> {
        self.has_asked.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        if let Some(identity) = &self.identity {
            request.extensions_mut().insert(identity.clone());
        }
        request
    }
}

async fn http2(tls: Tls, api: Arc<Api>, shutdown: CancellationToken) -> Result<(), Ended> {
    let client = Client::of(&tls, api);
    let has_asked = client.has_asked.clone();
    let service = service_fn(move |request| {
        let (client, request) = (client.clone(), client.admit(request));
        Box::pin(async move { Ok::<_, Infallible>(client.answer(request).await) })
    });
    let connection = http2_server().serve_connection(TokioIo::new(tls), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = never_asks(&has_asked) => return Err(Ended::Silent),
    }
    .map_err(Ended::Http)
}

/// Lets hyper speak on a connection, but while an answer goes on.
async fn http1(mut io: Lent<Tls>, api: Arc<Api>, shutdown: CancellationToken) -> Result<(), Ended> {
    loop {
        // What is boxed is gone while the answer goes on, and so is what is known of the client.
        let turn = Box::pin(http1_turn(io, api.clone(), &shutdown)).await?;
        let Some((lent, answer)) = turn else { return Ok(()) };
        io = lent;
        Box::pin(endless::write(&mut io, answer)).await.map_err(Ended::Endless)?;
        if shutdown.is_cancelled() {
            return io.shutdown().await.map_err(Ended::Endless);
        }
    }
}

/// Answers requests until one has an answer that goes on, which is given back with the connection.
async fn http1_turn(
    io: Lent<Tls>,
    api: Arc<Api>,
    shutdown: &CancellationToken,
) -> Result<Option<(Lent<Tls>, endless::Answer)>, Ended> {
    let client = Client::of(io.get_ref(), api);
    let (flushed, has_asked) = (io.flushed(), client.has_asked.clone());
    let endless: Arc<Mutex<Option<endless::Answer>>> = Arc::default();
    let found = endless.clone();
    let service = service_fn(move |request| {
        let (client, request, endless) = (client.clone(), client.admit(request), endless.clone());
        let may_be_endless = flushed.is_so() && endless::may_be(&request);
        Box::pin(async move {
            let response = client.answer(request).await;
            if may_be_endless && response.extensions().get::<Endless>().is_some() {
                *endless.lock().expect(UNHARMED) = Some(endless::Answer::of(response));
                return std::future::pending().await;
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1_server().serve_connection(TokioIo::new(io), service).with_upgrades();
    let mut told = false;
    let ended = loop {
        let take = || found.lock().expect(UNHARMED).take();
        let progress = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Err(ended)),
            Poll::Pending => take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer))),
        });
        tokio::select! {
            ended = progress => break ended,
            () = shutdown.cancelled(), if !told => told = true,
            () = never_asks(&has_asked), if !told => return Err(Ended::Silent),
        }
        Pin::new(&mut connection).graceful_shutdown();
    };
    let answer = match ended {
        Ok(answer) => answer,
        Err(ended) => return ended.map(|()| None).map_err(Ended::Http),
    };
    Ok(connection.into_parts().map(|parts| {
        let mut io = parts.io.into_inner();
        io.unread(&parts.read_buf);
        (io, answer)
    }))
}

const UNHARMED: &str = "nothing panics while it holds an answer";

/// Returns when a connection has not begun a request in the time that it has for that; never when it has.
async fn never_asks(has_asked: &AtomicBool) {
    tokio::time::sleep(limits::HEADER_READ_TIMEOUT).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

fn http1_server() -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ_TIMEOUT)
        .max_buf_size(limits::HEADER_BYTES_MAX);
    server
}

fn http2_server() -> http2::Builder<TokioExecutor> {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT)
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(limits::HEADER_BYTES_MAX as u32);
    server
}
