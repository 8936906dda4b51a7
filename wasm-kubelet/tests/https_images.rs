//! Images over `https://`, from a real server: what it gives is stored under its digest, and what it must not give is not.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use coracle_kubelet::images::fetch::{FetchError, Fetcher};
use coracle_kubelet::images::http::HttpError;
use coracle_kubelet::images::{Digest, ImageStore, Reference, StoreError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const IMAGE: &[u8] = b"\0asm\x01\0\0\0";

/// A server for `localhost` that gives [`IMAGE`] at `/app.wasm`, sends `/moved` there, and `/plain` to where TLS ends;
/// its address, and who trusts it.
async fn serve() -> (String, Arc<ClientConfig>) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = signed.cert.der().clone();
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            // Who does not trust the server breaks off.
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let head = match request.split(' ').nth(1).unwrap() {
                "/app.wasm" => format!("200 OK\r\nContent-Length: {}", IMAGE.len()),
                "/moved" => "302 Found\r\nLocation: /app.wasm\r\nContent-Length: 0".to_owned(),
                "/plain" => "302 Found\r\nLocation: http://localhost/app.wasm\r\nContent-Length: 0".to_owned(),
                "/vast" => format!("200 OK\r\nContent-Length: {}", 1_u64 << 40),
                _ => "404 Not Found\r\nContent-Length: 0".to_owned(),
            };
            let body = if head.ends_with(&format!(" {}", IMAGE.len())) { IMAGE } else { b"" };
            let answer = [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat();
            stream.write_all(&answer).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (address, Arc::new(client))
}

#[tokio::test]
async fn what_a_server_gives_is_stored_under_its_digest() {
    let (address, trust) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let store = ImageStore::open(folder.path()).unwrap();
    let fetcher = Fetcher::trusting(trust);
    let hex = Digest::of(IMAGE).hex();
    for path in ["app.wasm".to_owned(), "moved".to_owned(), format!("app.wasm#sha256={hex}")] {
        let url = format!("https://{address}/{path}");
        let reference = Reference::parse(&url).unwrap();
        let fetched = fetcher.fetch(&url, &reference, &store).await.unwrap();
        assert_eq!(fetched.hex(), hex, "{path}");
        assert_eq!(store.resolve(&reference).unwrap().map(|record| record.digest.hex()), Some(hex.clone()), "{path}");
        assert_eq!(std::fs::read(store.blob(&fetched)).unwrap(), IMAGE, "{path}");
    }
}

#[tokio::test]
async fn what_it_must_not_give_is_not_stored() {
    let (address, trust) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let store = ImageStore::open(folder.path()).unwrap();
    let fetch = async |fetcher: Fetcher, path: &str| {
        let url = format!("https://{address}/{path}");
        fetcher.fetch(&url, &Reference::parse(&url).unwrap(), &store).await.unwrap_err()
    };
    let trusting = || Fetcher::trusting(trust.clone());
    assert!(matches!(fetch(trusting(), "none").await, FetchError::Status(_, status) if status == 404));
    assert!(matches!(fetch(trusting(), "plain").await, FetchError::Http(HttpError::Address(_))));
    assert!(matches!(fetch(trusting(), "vast").await, FetchError::Store(StoreError::TooLarge)));
    let other = format!("app.wasm#sha256={}", "0".repeat(64));
    assert!(matches!(fetch(trusting(), &other).await, FetchError::Store(_)));
    // The machine's own roots know nothing of this server.
    assert!(matches!(fetch(Fetcher::default(), "app.wasm").await, FetchError::Http(HttpError::Connect { .. })));
    assert!(store.list().unwrap().is_empty());
}
