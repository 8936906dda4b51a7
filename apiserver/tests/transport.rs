//! The server over TLS: who gets in, and who does not.

#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use coracle_apiserver::{Config, Identity, NoNodes, Pki, limits};
use coracle_store::{Error as StoreError, Fault, FaultStore, MemoryStore};
use futures::stream::{self, FuturesUnordered, StreamExt as _};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use support::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

async fn connect(
    server: &Server,
    identity: Option<(&Pki, &Identity)>,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.pki.authority_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((pki, identity)) => {
            let signed = pki.client_certificate(identity).unwrap();
            config.with_client_auth_cert(vec![signed.certificate], signed.key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let address: SocketAddr = server.server.local_addr().unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

async fn get(stream: TlsStream<TcpStream>, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut request = Request::builder().uri(format!("https://localhost{path}")).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).unwrap();
    let response = if is_h2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let code = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn who_gets_in() {
    let server = Server::start_with(|_| {}).await;
    let admin = Identity::admin();
    let token = tokens(&server);
    for alpn in [&b"h2"[..], b"http/1.1"] {
        for (identity, token, path, expected) in [
            (None, None, "/healthz", 200),
            (None, None, "/readyz", 200),
            (None, None, "/version", 200),
            (None, None, "/api", 401),
            (None, None, "/metrics", 401),
            (None, None, "/nothing", 401),
            (None, None, "/api/v1/namespaces", 401),
            (None, Some("wrong"), "/api/v1/namespaces", 401),
            (None, Some(token.as_str()), "/api/v1/namespaces", 200),
            (Some(&admin), None, "/api/v1/namespaces", 200),
            (Some(&admin), None, "/nothing", 404),
            // What is offered must be right, whatever else is.
            (Some(&admin), Some("wrong"), "/api/v1/namespaces", 401),
        ] {
            let stream = connect(&server, identity.map(|identity| (&*server.pki, identity)), alpn).await.unwrap();
            let (code, body) = get(stream, path, token).await;
            assert_eq!(code, expected, "{path} {identity:?}: {body}");
        }
    }
}

/// The admin's token, as it stands in the file.
fn tokens(server: &Server) -> String {
    server.pki.token_of("kubernetes-admin").unwrap().to_owned()
}

#[tokio::test]
async fn a_certificate_of_somebody_else_does_not_get_in() {
    let server = Server::start_with(|_| {}).await;
    let other = Pki::in_memory().unwrap();
    let refused = match connect(&server, Some((&other, &Identity::admin())), b"http/1.1").await {
        Err(_) => true,
        // In TLS 1.3 the client learns of it with the first read.
        Ok(mut stream) => {
            let _ = stream.write_all(b"GET /api HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            stream.read(&mut [0; 1]).await.is_err()
        }
    };
    assert!(refused);
}

/// Clients that were slow to send their bodies used to take the places of all others, who were answered 429.
#[tokio::test]
async fn slow_bodies_keep_nobody_out() {
    let server = Server::start_with(|_| {}).await;
    let admin = Identity::admin();
    let stream = connect(&server, Some((&*server.pki, &admin)), b"h2").await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let post = |body| {
        let request = Request::builder().method("POST").uri("https://localhost/api/v1/namespaces/default/configmaps");
        sender.clone().send_request(request.body(body).unwrap())
    };
    let begun = || Body::from_stream(stream::once(async { Ok::<_, Infallible>("{") }).chain(stream::pending()));
    // As many as may write at the same time, and more.
    let mut slow: FuturesUnordered<_> = (0..500).map(|_| post(begun())).collect();
    let quick = post(Body::from(r#"{"metadata":{"name":"quick"}}"#));
    let answer = tokio::select! {
        answer = quick => answer.unwrap(),
        _ = slow.next() => panic!("an answer to what has not been asked in full"),
    };
    assert_eq!(answer.status(), StatusCode::CREATED);
}

/// A server used to write what is there already when it started, and so did not start on a full disk.
/// What an answer on a connection begins with, to a request whose whole body is sent before anything is read.
async fn answer_to_much(server: &Server, token: &str, path: &str, bytes: usize) -> String {
    let mut stream = connect(server, None, b"http/1.1").await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; 64 * 1024];
    for _ in 0..bytes / piece.len() {
        stream.write_all(&piece).await.expect("the server reads on");
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("the server answers");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The connection was reset before the client, which was still sending, had seen why.
#[tokio::test]
async fn who_sends_too_much_sees_the_answer() {
    let server = Server::start_with(|_| {}).await;
    let token = tokens(&server);
    let (small, large) = (limits::BODY_BYTES_MAX - limits::BODY_BYTES_MAX % 65_536, 32 * 1024 * 1024);
    let maps = "/api/v1/namespaces/default/configmaps";
    for (token, path, bytes, expected) in [
        (token.as_str(), maps, large, "HTTP/1.1 413"),
        ("wrong", maps, small, "HTTP/1.1 401"),
        ("wrong", maps, large, "HTTP/1.1 401"),
        (token.as_str(), "/api/v1/nothing", large, "HTTP/1.1 404"),
        (token.as_str(), "/healthz", large, "HTTP/1.1 405"),
    ] {
        assert_eq!(answer_to_much(&server, token, path, bytes).await, expected, "{path}");
    }
}

#[tokio::test]
async fn it_starts_on_a_full_disk_to_be_read() {
    let store = Arc::new(FaultStore::new(MemoryStore::new()));
    let start = |port| {
        let mut config = Config::new(Arc::new(Pki::in_memory().unwrap()));
        config.listen = Some(SocketAddr::from(([127, 0, 0, 1], port)));
        coracle_apiserver::start(config, store.clone(), Arc::new(NoNodes), CancellationToken::new())
    };
    drop(start(0).await.unwrap());
    for _ in 0..100 {
        store.fail_write(Fault::Refuse(StoreError::Full));
    }
    // It listens on another port, which it can tell nobody.
    let server = start(0).await.unwrap();
    let client = support::Client(server.in_process(Identity::admin()));
    client.call("GET", "/api/v1/namespaces/default", "", Body::empty()).await.is(200);
    client.call("POST", "/api/v1/namespaces", "application/json", r#"{"metadata":{"name":"a"}}"#).await.is(507);
}

#[tokio::test]
async fn it_stops_when_it_is_told_to() {
    let server = Server::start_with(|_| {}).await;
    let stream = connect(&server, Some((&*server.pki, &Identity::admin())), b"http/1.1").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("/api/v1/pods?watch=1").header("host", "localhost").body(Body::empty());
    let watch = sender.send_request(request.unwrap()).await.unwrap();
    server.shutdown.cancel();
    server.server.stopped().await.unwrap();
    let _ = watch.into_body().collect().await;
}

/// A user who asks for more than can be answered waits for itself: others take turns with it, and those who keep the
/// cluster running do not wait at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_much_waits_for_itself() {
    let server = Server::start_with(|_| {}).await;
    let open = async |identity: &Identity| {
        let stream = connect(&server, Some((&*server.pki, identity)), b"h2").await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    };
    let get = |path: &str| Request::builder().uri(format!("https://localhost{path}")).body(Body::empty()).unwrap();
    // Each waits for what is not there yet, and holds its place as long.
    let slow = "/api/v1/namespaces/default/configmaps?resourceVersion=99999999";
    let greedy = [open(&Identity::new("greedy", &[])).await, open(&Identity::new("greedy", &[])).await];
    let all = limits::READS_IN_FLIGHT_MAX + limits::WAITING_PER_USER_MAX + 50;
    let mut asked: FuturesUnordered<_> = (0..all).map(|i| greedy[i % 2].clone().send_request(get(slow))).collect();
    let refused = asked.next().await.unwrap().unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let status: serde_json::Value =
        serde_json::from_slice(&refused.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&status["reason"], &status["details"]["retryAfterSeconds"]), (&"TooManyRequests".into(), &1.into()));

    let started = std::time::Instant::now();
    let quick = |path: &'static str, identity: Identity| async move {
        let mut sender = open(&identity).await;
        sender.send_request(get(path)).await.unwrap().status()
    };
    // Neither those who own the cluster wait, nor watches.
    for (path, identity) in [
        ("/api/v1/namespaces", Identity::admin()),
        ("/api/v1/pods?watch=1", Identity::new("greedy", &[])),
        ("/readyz", Identity::new("greedy", &[])),
    ] {
        assert_eq!(quick(path, identity).await, StatusCode::OK, "{path}");
    }
    assert!(started.elapsed() < limits::FRESHNESS_TIMEOUT, "{:?}", started.elapsed());
    // Others have the next turn, while most of what was asked before them still waits.
    let others = [Identity::node("n"), Identity::new("bob", &[]), Identity::new("ann", &[])];
    let codes = futures::future::join_all(others.map(|identity| quick("/api/v1/pods", identity))).await;
    assert!(codes.iter().all(|code| *code == StatusCode::OK), "{codes:?}");
    let answered = std::iter::from_fn(|| futures::FutureExt::now_or_never(asked.next()).flatten()).count();
    assert!(answered < all / 2, "{answered} of {all}");
}
