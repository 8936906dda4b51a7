//! A registry in memory that does what a test wants of it: asks for credentials, breaks off, lies.

#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_kubelet::images::Digest;
use futures::StreamExt;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};

/// The smallest module.
pub const MODULE: &[u8] = b"\0asm\x01\0\0\0";

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const FILES: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Who may come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    #[default]
    Open,
    /// `me:secret`.
    Basic,
    /// A token for `me:secret`.
    Token,
}

#[derive(Default)]
pub struct State {
    pub door: Door,
    pub manifests: HashMap<String, (String, Bytes)>,
    pub blobs: HashMap<String, Bytes>,
    /// Bytes of a blob after which the next answers break off, one after the other.
    pub breaks: Vec<usize>,
    /// Whether parts are given.
    pub has_ranges: bool,
    /// `METHOD path [range]`.
    pub log: Vec<String>,
    address: String,
}

#[derive(Clone)]
pub struct Fake {
    pub state: Arc<Mutex<State>>,
    /// `127.0.0.1:port`.
    pub address: String,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State { has_ranges: true, address: address.clone(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let router = Router::new().fallback(move |request: Request<Body>| {
            let answer = answer(&mut shared.lock().unwrap(), &request);
            async move { answer }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { state, address }
    }

    pub fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// What was asked for that contains `what`.
    pub fn asked(&self, what: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.log.iter().filter(|line| line.contains(what)).cloned().collect()
    }

    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    pub fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.set(|state| drop(state.blobs.insert(digest.to_string(), Bytes::copy_from_slice(bytes))));
        digest
    }

    /// Under its digest, and under this tag.
    pub fn manifest(&self, tag: &str, media_type: &str, manifest: &Value) -> Digest {
        let bytes = Bytes::from(manifest.to_string());
        let digest = Digest::of(&bytes);
        self.set(|state| {
            for name in [tag.to_owned(), digest.to_string()] {
                state.manifests.insert(name, (media_type.to_owned(), bytes.clone()));
            }
        });
        digest
    }

    /// An image of these parts; the first is the configuration.
    pub fn image(&self, tag: &str, parts: &[(&str, &[u8])]) -> Digest {
        let mut written = parts.iter().map(|(media_type, bytes)| {
            json!({"mediaType": media_type, "digest": self.blob(bytes).to_string(), "size": bytes.len()})
        });
        let config = written.next().unwrap();
        let layers: Vec<Value> = written.collect();
        self.manifest(tag, MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": layers}))
    }

    /// A module in the CNCF's layout.
    pub fn module(&self, tag: &str, module: &[u8]) -> Digest {
        let config = br#"{"architecture":"wasm","os":"wasip1"}"#;
        self.image(tag, &[("application/vnd.wasm.config.v0+json", config), ("application/wasm", module)])
    }

    /// A container image with these files.
    pub fn files(&self, tag: &str, config: &Value, layers: &[Vec<u8>]) -> Digest {
        let config = config.to_string();
        let layers = layers.iter().map(|layer| (FILES, &**layer));
        let parts: Vec<(&str, &[u8])> =
            [("application/vnd.oci.image.config.v1+json", config.as_bytes())].into_iter().chain(layers).collect();
        self.image(tag, &parts)
    }
}

/// A layer with these files.
pub fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, bytes) in files {
        let mut head = vec![0; 512];
        head[..path.len()].copy_from_slice(path.as_bytes());
        head[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        head[156] = b'0';
        head[148..156].fill(b' ');
        let sum: u64 = head.iter().map(|byte| u64::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(head);
        archive.extend_from_slice(bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &archive).unwrap();
    encoder.finish().unwrap()
}

fn answer(state: &mut State, request: &Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let header = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let range = header(header::RANGE).map(str::to_owned);
    state
        .log
        .push(format!("{} {path} {}", request.method(), range.as_deref().unwrap_or_default()).trim_end().to_owned());
    let status = |status: StatusCode| Response::builder().status(status);
    let basic = format!("Basic {}", STANDARD.encode("me:secret"));
    if path == "/token" {
        let wanted = "service=fake&scope=repository:app:pull";
        return match header(header::AUTHORIZATION) == Some(&*basic) && request.uri().query() == Some(wanted) {
            true => Response::new(Body::from(r#"{"token":"open sesame","expires_in":60}"#)),
            false => status(StatusCode::UNAUTHORIZED).body(Body::empty()).unwrap(),
        };
    }
    let (challenge, want) = match state.door {
        Door::Open => (String::new(), None),
        Door::Basic => ("Basic realm=\"fake\"".to_owned(), Some(basic)),
        Door::Token => {
            let realm = format!("http://{}/token", state.address);
            (
                format!("Bearer realm=\"{realm}\",service=\"fake\",scope=\"repository:app:pull\""),
                Some("Bearer open sesame".to_owned()),
            )
        }
    };
    if want.is_some_and(|want| header(header::AUTHORIZATION) != Some(&*want)) {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        return status(StatusCode::UNAUTHORIZED).header(header::WWW_AUTHENTICATE, challenge).body(body.into()).unwrap();
    }
    let last = path.rsplit('/').next().unwrap();
    if path.contains("/manifests/") {
        return match state.manifests.get(last) {
            Some((media_type, bytes)) => {
                Response::builder().header(header::CONTENT_TYPE, media_type).body(bytes.clone().into()).unwrap()
            }
            None => status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap(),
        };
    }
    let Some(bytes) = state.blobs.get(last).cloned() else {
        return status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap();
    };
    let start = range.filter(|_| state.has_ranges);
    let start: Option<usize> = start.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let rest = bytes.slice(start.unwrap_or(0)..);
    let mut response = Response::builder().header(header::CONTENT_LENGTH, rest.len());
    if let Some(start) = start {
        let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
        response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
    }
    if state.breaks.is_empty() {
        return response.body(rest.into()).unwrap();
    }
    let given = rest.slice(..state.breaks.remove(0).min(rest.len()));
    // What was given is on its way before the connection ends.
    let end = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        Err(std::io::Error::other("broken"))
    };
    let broken = futures::stream::once(async { Ok(given) }).chain(futures::stream::once(end));
    response.body(Body::from_stream(broken)).unwrap()
}
