//! Serves a `wasi:http` guest over HTTP/1.1 and HTTP/2 without TLS.
//!
//! A request waits for one of [`HTTP_REQUESTS_MAX`] places, gets an [instance](instance), and runs as a task of its own, so
//! that the guest can go on after its response has begun. Bodies are streamed in both directions. A guest that fails is
//! answered with 500 and a line on its standard error; one that alone wanted more memory than the container has ends the
//! container, as it would end a process. A client that goes away before the response ends its instance.
//!
//! Stopping closes the listeners, lets connections finish the request that they are in, and ends when the last instance has.

mod instance;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::WasiBody;

use self::instance::{Failure, Instances};
use crate::artifact::Artifact;
use crate::descriptors::Taken;
use crate::exit::{Exit, Interrupted, trap_message};
use crate::limits::{HTTP_BACKLOG, HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIMEOUT, HTTP_REQUESTS_MAX};
use crate::sandbox::Sandbox;

/// Pause after the system refused a connection, for want of descriptors above all.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Listens on `address`, with the sockets driven by the runtime of `handle`.
///
/// # Errors
///
/// What the system says: in use, not an address of this machine, a privileged port.
pub(crate) fn listen(address: SocketAddr, handle: &Handle) -> io::Result<TcpListener> {
    let _context = handle.enter();
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(HTTP_BACKLOG)
}

/// Serves `artifact` on `listeners` until `stop`, and then until it is idle. One instance is made
/// ahead, before `started` is told: it shows that instances can be made, and how much memory each
/// takes.
pub(crate) async fn serve(
    artifact: Arc<Artifact>,
    sandbox: Arc<Sandbox>,
    listeners: Vec<TcpListener>,
    entrance: Option<mpsc::Receiver<DuplexStream>>,
    stop: CancellationToken,
    started: impl FnOnce(),
) -> Exit {
    let instances = Instances::new(artifact, sandbox.clone());
    let rehearsed = sandbox.killed.run_until_cancelled(instances.rehearse()).await;
    let instance_bytes = match rehearsed.unwrap_or_else(|| Err(Interrupted.into())) {
        Ok(bytes) => bytes,
        Err(error) => return Exit::of(Err(error), &sandbox.memory),
    };
    let tasks = Tasks { tracker: TaskTracker::new(), killed: sandbox.killed.clone() };
    let server = Arc::new(Server {
        instances,
        requests: Arc::new(Semaphore::new(requests_max(sandbox.memory.bytes_max(), instance_bytes))),
        sandbox,
        tasks: tasks.clone(),
        connections: Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX)),
        out_of_memory: CancellationToken::new(),
        stop,
    });
    for listener in listeners {
        tasks.execute(server.clone().accept(listener));
    }
    if let Some(entrance) = entrance {
        tasks.execute(server.clone().admit(entrance));
    }
    tasks.tracker.close();
    started();
    let exit = tokio::select! {
        () = tasks.tracker.wait() => Exit::Code(0),
        () = server.out_of_memory.cancelled() => {
            // The instances that remain go with the container.
            server.sandbox.killed.cancel();
            tasks.tracker.wait().await;
            Exit::OutOfMemory
        }
    };
    server.instances.clear();
    exit
}

/// How many instances of `instance_bytes` fit into `memory_bytes_max`, within the general bound.
fn requests_max(memory_bytes_max: u64, instance_bytes: u64) -> usize {
    let fitting = memory_bytes_max / instance_bytes.max(1);
    usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, HTTP_REQUESTS_MAX)
}

/// What the connections and requests of one container share.
struct Server {
    instances: Instances,
    sandbox: Arc<Sandbox>,
    tasks: Tasks,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    out_of_memory: CancellationToken,
    stop: CancellationToken,
}

/// Tasks that end with their container.
#[derive(Clone)]
struct Tasks {
    tracker: TaskTracker,
    killed: CancellationToken,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

impl Tasks {
    fn spawn<F: Future<Output: Send> + Send + 'static>(&self, task: F) -> AbortHandle {
        let killed = self.killed.clone();
        self.tracker.spawn(async move { killed.run_until_cancelled_owned(task).await.is_some() }).abort_handle()
    }
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        while let Some(place) = self.place().await {
            match self.stop.run_until_cancelled(listener.accept()).await {
                // One that cannot be told so has a client that is gone already.
                Some(Ok((stream, _))) if stream.set_nodelay(true).is_err() => {}
                Some(Ok((stream, _))) => {
                    // Where the process has no descriptor to spare for guests, the client is turned away.
                    let Some(taken) = Taken::one(self.sandbox.descriptors.clone()) else { continue };
                    self.tasks.execute(self.clone().connection(stream, (place, taken)));
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
                None => return,
            }
        }
    }

    /// Waits for a place for one more connection; there is none once the server stops.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.stop.run_until_cancelled(self.connections.clone().acquire_owned()).await?.ok()
    }

    /// Serves those who come from within this process.
    async fn admit(self: Arc<Self>, mut entrance: mpsc::Receiver<DuplexStream>) {
        while let Some(Some(stream)) = self.stop.run_until_cancelled(entrance.recv()).await {
            let Some(place) = self.place().await else { return };
            self.tasks.execute(self.clone().connection(stream, place));
        }
    }

    /// Serves one connection; what it `_held` is given back with it.
    async fn connection(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        _held: impl Send + 'static,
    ) {
        let server = self.clone();
        let service = service_fn(move |request| server.clone().handle(request));
        let mut builder = auto::Builder::new(self.tasks.clone());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_HEAD_TIMEOUT)
            .max_buf_size(HTTP_HEAD_BYTES_MAX);
        builder.http2().timer(TokioTimer::new()).max_header_list_size(HTTP_HEAD_BYTES_MAX as u32);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<WasiBody>, Infallible> {
        let Ok(place) = self.requests.clone().acquire_owned().await else {
            return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "stopping\n"));
        };
        let log = Log { server: self.clone(), method: request.method().clone(), uri: request.uri().clone() };
        let answer = self.call(request, place, log).response().await;
        Ok(answer.unwrap_or_else(|| plain(StatusCode::INTERNAL_SERVER_ERROR, "the guest failed to answer\n")))
    }

    /// Has an instance handle `request`.
    fn call(self: Arc<Self>, request: Request<Incoming>, place: OwnedSemaphorePermit, log: Log) -> Answer {
        let (sender, response) = oneshot::channel();
        let tasks = self.tasks.clone();
        let instance = tasks.spawn(async move {
            // Said before the instance is dropped, which is what the waiting client is answered for.
            self.instances.handle(request, sender, |failure| log.failure(failure)).await;
            drop(place);
        });
        Answer { response, instance: AbortOnDrop(Some(instance)) }
    }
}

/// A response to come; it is the host's own where the request is not one for a guest.
struct Answer {
    response: oneshot::Receiver<Response<WasiBody>>,
    instance: AbortOnDrop,
}

impl Answer {
    /// The guest's response, unless it fails or says that it cannot answer.
    async fn response(mut self) -> Option<Response<WasiBody>> {
        let response = self.response.await;
        // From here on the guest may go on, to write the body.
        self.instance.0 = None;
        response.ok()
    }
}

/// Ends an instance that nobody waits for any more.
struct AbortOnDrop(Option<AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(instance) = &self.0 {
            instance.abort();
        }
    }
}

/// Says on the container's standard error how a request failed.
struct Log {
    server: Arc<Server>,
    method: Method,
    uri: Uri,
}

impl Log {
    /// An instance has failed.
    fn failure(&self, failure: &Failure) {
        match failure {
            Failure::Guest { error, .. } if error.is::<Interrupted>() => {}
            Failure::Guest { exceeds: true, .. } => {
                self.line("out of memory");
                self.server.out_of_memory.cancel();
            }
            Failure::Guest { error, .. } => self.line(&trap_message(error)),
            Failure::Unstarted(error) => self.line(&error.to_string()),
        }
    }

    fn line(&self, reason: &str) {
        let line = format!("{} {}: {}\n", self.method, self.uri.path(), reason.replace('\n', "; "));
        self.server.sandbox.stderr().write(line.as_bytes());
    }
}

fn plain(status: StatusCode, text: &str) -> Response<WasiBody> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_requests_as_fit_into_the_memory() {
        for (memory_bytes_max, instance_bytes, requests) in [
            (u64::MAX, 1 << 20, HTTP_REQUESTS_MAX),
            (32 << 20, 1 << 20, 32),
            (32 << 20, 33 << 20, 1),
            (32 << 20, 0, HTTP_REQUESTS_MAX),
        ] {
            assert_eq!(requests_max(memory_bytes_max, instance_bytes), requests);
        }
    }
}
