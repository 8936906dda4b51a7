//! The socket: accepts connections, learns who they are, and hands their requests to [`Api::handle`].
//!
//! A connection's task is tracked and ends with the server; a connection that does nothing, or does not take what it is
//! sent, is dropped after a time from [`crate::limits`].

mod in_process;
mod stall;
mod tls;

pub use in_process::InProcess;
pub(crate) use in_process::Inside;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Api;
use crate::auth::{Identity, identity_of_certificate};
use crate::error::Error;
use crate::limits;
use crate::pki::Pki;
use stall::StallGuard;

/// A bound socket with what is needed to serve it.
pub(crate) struct Socket {
    listener: TcpListener,
    acceptor: TlsAcceptor,
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
        Ok(Self { listener, acceptor: tls::acceptor(pki, serving)?, local_addr })
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
            let (acceptor, api, shutdown) = (self.acceptor.clone(), api.clone(), shutdown.clone());
            connections.spawn(async move {
                serve(stream, acceptor, api, shutdown).await;
                drop(place);
            });
        }
        connections.close();
        if timeout(limits::DRAIN_TIMEOUT, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "left connections that did not finish");
        }
    }
}

/// One connection, from its handshake to its end.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, api: Arc<Api>, shutdown: CancellationToken) {
    // Without it small answers wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let guarded = StallGuard::new(stream, limits::WRITE_STALL_TIMEOUT);
    // What is boxed here goes when it is done: an idle connection is to be small.
    let tls = match timeout(limits::HANDSHAKE_TIMEOUT, Box::pin(acceptor.accept(guarded))).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let identity = tls.get_ref().1.peer_certificates().and_then(|chain| identity_of_certificate(chain.first()?));
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = has_asked.clone();
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        let (api, identity) = (api.clone(), identity.clone());
        Box::pin(async move { Ok::<_, Infallible>(api.handle(admit(request, identity)).await) })
    });
    let server = http_server();
    let connection = server.serve_connection_with_upgrades(TokioIo::new(tls), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = never_asks(&has_asked) => return tracing::debug!("a connection was opened for nothing"),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Returns when a connection has not begun a request in the time that it has for that; never when it has.
async fn never_asks(has_asked: &AtomicBool) {
    tokio::time::sleep(limits::HEADER_READ_TIMEOUT).await;
    if has_asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Puts who the connection belongs to beside the request.
fn admit(request: http::Request<Incoming>, identity: Option<Identity>) -> http::Request<Body> {
    let mut request = request.map(Body::new);
    if let Some(identity) = identity {
        request.extensions_mut().insert(identity);
    }
    request
}

fn http_server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ_TIMEOUT)
        .max_buf_size(limits::HEADER_BYTES_MAX);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIMEOUT)
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(limits::HEADER_BYTES_MAX as u32);
    server
}
