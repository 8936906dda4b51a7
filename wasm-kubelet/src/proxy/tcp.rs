//! Carries TCP connections: accepted here, connected to an endpoint, copied both ways.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep, timeout};

use super::Carrier;
use super::balance::Balancer;
use crate::limits::{PROXY_ATTEMPTS_MAX, PROXY_CONNECT_MAX};

/// Pause after an `accept` that failed for want of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Listens on `address` until it is dropped.
///
/// # Errors
/// When it cannot listen there.
pub async fn listen(address: SocketAddr, balancer: &Arc<Balancer>, carrier: &Carrier) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    accept(listener, balancer, carrier).await
}

/// Carries what `listener` accepts.
async fn accept(listener: TcpListener, balancer: &Arc<Balancer>, carrier: &Carrier) -> io::Result<()> {
    loop {
        let Ok((stream, client)) = listener.accept().await else {
            sleep(ACCEPT_RETRY).await;
            continue;
        };
        // Without room the connection is closed at once: better than a queue that nobody serves.
        let Ok(room) = carrier.room.clone().try_acquire_owned() else { continue };
        let balancer = balancer.clone();
        let carried = async move {
            if let Err(error) = carry(stream, client, &balancer).await {
                tracing::trace!(%client, %error, "a proxied connection broke");
            }
            drop(room);
        };
        carrier.tasks.spawn(carrier.shutdown.clone().run_until_cancelled_owned(carried));
    }
}

async fn carry(mut stream: TcpStream, client: SocketAddr, balancer: &Balancer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut endpoint = connect(client, balancer).await?;
    copy_bidirectional(&mut stream, &mut endpoint).await.map(drop)
}

/// Connects to the endpoint whose turn it is, or to the next one that takes the connection.
async fn connect(client: SocketAddr, balancer: &Balancer) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    for backend in balancer.candidates(client.ip()).take(PROXY_ATTEMPTS_MAX) {
        match timeout(PROXY_CONNECT_MAX, TcpStream::connect(backend)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                balancer.took(client.ip(), backend);
                return Ok(stream);
            }
            Ok(Err(error)) => refused = error,
            Err(elapsed) => refused = elapsed.into(),
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use coracle_client::Recorder;
    use coracle_client::testing::FakeServer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    /// An endpoint that answers every connection with its name, and ends when the client does.
    async fn endpoint(name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    stream.read_to_end(&mut request).await.unwrap();
                    stream.write_all(name.as_bytes()).await.unwrap();
                    stream.write_all(&request).await.unwrap();
                });
            }
        });
        address
    }

    fn carrier(room: usize) -> Carrier {
        let shutdown = CancellationToken::new();
        Carrier {
            recorder: Recorder::start(FakeServer::new().client(), "test", None, shutdown.clone()),
            room: Arc::new(Semaphore::new(room)),
            tasks: TaskTracker::new(),
            shutdown,
        }
    }

    async fn front(backends: Vec<SocketAddr>, room: usize) -> (SocketAddr, Arc<Balancer>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let balancer = Arc::new(Balancer::new(backends, None));
        let (own, carrier) = (balancer.clone(), carrier(room));
        tokio::spawn(async move { accept(listener, &own, &carrier).await });
        (address, balancer)
    }

    async fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"!").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn connections_go_round_past_dead_endpoints() {
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead_address = dead.local_addr().unwrap();
        drop(dead);
        let (a, b) = (endpoint("a").await, endpoint("b").await);
        let (address, balancer) = front(vec![a, b], 8).await;
        assert_eq!([ask(address).await, ask(address).await, ask(address).await], ["a!", "b!", "a!"]);
        balancer.set(vec![dead_address, b], None);
        for _ in 0..4 {
            assert_eq!(ask(address).await, "b!");
        }
    }

    #[tokio::test]
    async fn without_room_or_endpoints_a_connection_is_closed() {
        let (address, _) = front(vec![endpoint("a").await], 0).await;
        assert_eq!(ask(address).await, "");
        let (address, _) = front(Vec::new(), 8).await;
        assert_eq!(ask(address).await, "");
    }
}
