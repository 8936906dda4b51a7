//! Carries UDP: a session a client, each with a socket of its own towards its endpoint.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::balance::Balancer;
use crate::limits::{PROXY_UDP_IDLE, PROXY_UDP_SESSIONS_MAX};

/// The largest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// Listens on `address` until it is dropped; its sessions end with it.
///
/// # Errors
/// When it cannot listen there.
pub async fn listen(address: SocketAddr, balancer: &Arc<Balancer>) -> io::Result<()> {
    carry(Arc::new(UdpSocket::bind(address).await?), balancer).await
}

async fn carry(front: Arc<UdpSocket>, balancer: &Balancer) -> io::Result<()> {
    let mut sessions: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers: JoinSet<SocketAddr> = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        tokio::select! {
            Some(ended) = answers.join_next(), if !answers.is_empty() => {
                if let Ok(client) = ended {
                    sessions.remove(&client);
                }
            }
            received = front.recv_from(&mut datagram) => {
                // An error here is that of an earlier datagram which a client did not take.
                let Ok((bytes, client)) = received else { continue };
                if !sessions.contains_key(&client) && sessions.len() < PROXY_UDP_SESSIONS_MAX {
                    let Some(socket) = connect(client.ip(), balancer).await else { continue };
                    let socket = Arc::new(socket);
                    answers.spawn(answer(front.clone(), socket.clone(), client));
                    sessions.insert(client, socket);
                }
                if let Some(session) = sessions.get(&client) {
                    // Lost like any datagram that its receiver does not take.
                    let _ = session.send(&datagram[..bytes]).await;
                }
            }
        }
    }
}

async fn connect(client: IpAddr, balancer: &Balancer) -> Option<UdpSocket> {
    let backend = balancer.candidates(client).next()?;
    let any: IpAddr = if backend.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(backend).await.ok()?;
    balancer.took(client, backend);
    Some(socket)
}

/// Brings an endpoint's answers back until it has been silent for [`PROXY_UDP_IDLE`], or is gone.
async fn answer(front: Arc<UdpSocket>, session: Arc<UdpSocket>, client: SocketAddr) -> SocketAddr {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok(Ok(bytes)) = timeout(PROXY_UDP_IDLE, session.recv(&mut datagram)).await {
        if front.send_to(&datagram[..bytes], client).await.is_err() {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn answers_find_their_clients() {
        let endpoint = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let backend = endpoint.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0; 64];
            while let Ok((bytes, from)) = endpoint.recv_from(&mut datagram).await {
                datagram[..bytes].reverse();
                endpoint.send_to(&datagram[..bytes], from).await.unwrap();
            }
        });
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = front.local_addr().unwrap();
        let balancer = Balancer::new(vec![backend], None);
        tokio::spawn(async move { carry(Arc::new(front), &balancer).await });
        for text in ["abc", "xyz"] {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect(address).await.unwrap();
            client.send(text.as_bytes()).await.unwrap();
            let mut answer = [0; 64];
            let bytes = client.recv(&mut answer).await.unwrap();
            assert_eq!(answer[..bytes], text.bytes().rev().collect::<Vec<_>>());
        }
    }
}
