//! The way to other machines past the proxies that the environment names, as curl reads them: `HTTPS_PROXY`, `HTTP_PROXY`,
//! `ALL_PROXY` and `NO_PROXY`, in either case. A proxy is asked for a tunnel (`CONNECT`), whatever goes through it.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connects to hosts, itself or through a proxy. What is on this machine is never looked for behind one.
#[derive(Clone)]
pub struct Connector {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl Connector {
    /// One that connects by `tcp`, to hosts or to the proxies before them.
    pub fn new(tcp: HttpConnector, proxies: Matcher) -> Self {
        Self { tcp, proxies: Arc::new(proxies) }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<TokioIo<TcpStream>, Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let proxy = if is_here(&to) { None } else { self.proxies.intercept(&to) };
        let Some(proxy) = proxy else { return self.tcp.call(to).map(|made| made.map_err(Into::into)).boxed() };
        let at = proxy.uri().clone();
        if at.scheme_str() != Some("http") {
            let why = format!("the proxy {at} is none that is spoken to by http");
            return futures::future::err(why.into()).boxed();
        }
        let mut tunnel = Tunnel::new(at.clone(), self.tcp.clone());
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        tunnel.call(to).map(move |made| made.map_err(|error| format!("the proxy {at}: {error}").into())).boxed()
    }
}

/// Source: Go's `http.ProxyFromEnvironment`.
fn is_here(to: &Uri) -> bool {
    let host = to.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A proxy that takes one connection, answers `answer`, then `hello` to the first byte, and gives what it was asked.
    async fn proxy(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if stream.read_u8().await.is_ok() {
                stream.write_all(b"hello").await.unwrap();
            }
            String::from_utf8(asked).unwrap()
        });
        (address, asked)
    }

    fn connector(proxy: &str) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        Connector::new(tcp, Matcher::builder().all(proxy).no("plain.example").build())
    }

    #[tokio::test]
    async fn what_is_elsewhere_is_reached_through_a_tunnel() {
        let (address, asked) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
        let to = "https://registry.example/v2/".parse().unwrap();
        let stream = connector(&format!("http://me:secret@{address}")).call(to).await.unwrap();
        let (mut stream, mut said) = (stream.into_inner(), String::new());
        stream.write_all(b"?").await.unwrap();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_help_is_named() {
        let (address, _asked) = proxy("HTTP/1.1 403 Forbidden\r\n\r\n").await;
        let to: Uri = "https://registry.example/".parse().unwrap();
        let refused = connector(&format!("http://{address}")).call(to.clone()).await.unwrap_err().to_string();
        assert!(refused.contains(&address), "{refused}");
        let unknown = connector("socks5://127.0.0.1:1").call(to).await.unwrap_err().to_string();
        assert!(unknown.contains("socks5://127.0.0.1:1"), "{unknown}");
    }

    #[tokio::test]
    async fn what_is_here_or_excepted_is_reached_without() {
        for host in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert!(is_here(&format!("http://{host}:5000/").parse().unwrap()), "{host}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        connector("http://127.0.0.1:1").call(to).await.unwrap();
        let connector = connector("http://127.0.0.1:1");
        assert!(connector.proxies.intercept(&"https://plain.example/".parse().unwrap()).is_none());
    }
}
