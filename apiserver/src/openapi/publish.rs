//! Which document is asked for, in which form, and what is kept of those that were made.
//!
//! Source: kube-openapi's `handler` and `handler3`.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use coracle_api::kind::Kind;
use coracle_api::status::ApiError;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, LOCATION, VARY,
};
use http::{HeaderMap, Response, StatusCode};
use jiff::ToSpan as _;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha512};

use super::about;
use super::document::{self, Encoding, Served, Subject};
use super::names::group_version_path;
use super::schemas::Version;
use crate::cache::Cached;
use crate::query::Query;
use crate::resource::Catalog;
use crate::route::OpenApi;
use crate::{clock, compress, discovery, respond};

/// Documents that are kept at most: some 30 are built in, and each takes some 30 kB. Others are made again.
const KEPT_MAX: usize = 200;

/// Keeps the documents that were made.
#[derive(Default)]
pub(crate) struct Publisher {
    kept: Mutex<HashMap<(Document, Encoding), Arc<Packed>>>,
    /// One is made at a time: clients ask for the same ones at once.
    making: tokio::sync::Mutex<()>,
}

/// A document: all in the second version, or a part in the third.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Document {
    Everything,
    Part(String),
}

/// A document as it is kept.
struct Packed {
    hash: String,
    gzip: Bytes,
    /// Bytes when unpacked.
    length: u64,
}

/// Answers a request for a document.
///
/// # Errors
/// When one could not be made.
pub(crate) async fn answer(
    publisher: &Publisher,
    wanted: &OpenApi,
    catalog: &Catalog,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    let sources = &Sources::of(catalog);
    let (document, version) = match wanted {
        OpenApi::V3Index => return Ok(respond::tagged(headers, index(sources).to_string())),
        OpenApi::V3 { group_version } => (Document::Part(group_version.clone()), Version::V3),
        OpenApi::V2 => (Document::Everything, Version::V2),
    };
    let Some(hash) = hash(&document, sources) else { return Ok(respond::no_such_page()) };
    let Some((encoding, media_type)) = negotiate(headers, version) else {
        return Ok(empty(StatusCode::NOT_ACCEPTABLE));
    };
    let asked = query.get("hash").filter(|asked| version == Version::V3 && !asked.is_empty());
    if let (Some(asked), Document::Part(path)) = (asked, &document)
        && asked != hash
    {
        let mut response = empty(StatusCode::MOVED_PERMANENTLY);
        response.headers_mut().insert(LOCATION, header(&url(path, &hash)));
        return Ok(response);
    }
    let mut response = if respond::is_known(headers, &hash) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let packed = publisher.get(document, version, encoding, &hash, sources).await?;
        packed.respond(compress::is_accepted(headers))
    };
    let own = response.headers_mut();
    own.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    own.insert(ETAG, respond::etag(&hash));
    own.insert(VARY, HeaderValue::from_static("Accept"));
    own.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    own.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if asked.is_some() {
        own.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        if let Ok(next_year) = clock::now().checked_add((365 * 24).hours()) {
            own.insert(EXPIRES, header(&next_year.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
        }
    }
    Ok(response)
}

impl Publisher {
    async fn get(
        &self,
        document: Document,
        version: Version,
        encoding: Encoding,
        hash: &str,
        sources: &Sources<'_>,
    ) -> Result<Arc<Packed>, ApiError> {
        let key = (document, encoding);
        if let Some(kept) = self.find(&key, hash) {
            return Ok(kept);
        }
        let _turn = self.making.lock().await;
        if let Some(kept) = self.find(&key, hash) {
            return Ok(kept);
        }
        let subject = subject(&key.0, sources);
        let hash = hash.to_owned();
        let made = tokio::task::spawn_blocking(move || Packed::make(subject, version, encoding, hash)).await;
        let failed = |error: &dyn std::fmt::Display| ApiError::Internal(format!("OpenAPI: {error}"));
        let packed = Arc::new(made.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, packed.clone());
        Ok(packed)
    }

    fn find(&self, key: &(Document, Encoding), hash: &str) -> Option<Arc<Packed>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|packed| packed.hash == hash).cloned()
    }
}

impl Packed {
    fn make(subject: Subject, version: Version, encoding: Encoding, hash: String) -> io::Result<Self> {
        let mut out = Counted { inner: GzEncoder::new(Vec::new(), Compression::default()), length: 0 };
        {
            let mut buffered = io::BufWriter::with_capacity(compress::CHUNK_BYTES, &mut out);
            document::write(subject, version, encoding, &mut buffered)?;
            buffered.flush()?;
        }
        let mut gzip = out.inner.finish()?;
        gzip.shrink_to_fit();
        Ok(Self { hash, gzip: gzip.into(), length: out.length })
    }

    /// The document as it is kept, or unpacked on the way.
    fn respond(&self, as_it_is: bool) -> Response<Body> {
        if as_it_is {
            let mut response = Response::new(Body::from(self.gzip.clone()));
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            return response;
        }
        let mut response = Response::new(compress::unpacked(self.gzip.clone()));
        response.headers_mut().insert(CONTENT_LENGTH, self.length.into());
        response
    }
}

/// Counts what goes through.
struct Counted<W> {
    inner: W,
    length: u64,
}

impl<W: io::Write> io::Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What documents are made from, at one time: every kind that is served, a custom one with its definition.
struct Sources<'a> {
    catalog: &'a Catalog,
    kinds: Vec<(&'a Kind, Option<Arc<Cached>>)>,
}

impl<'a> Sources<'a> {
    fn of(catalog: &'a Catalog) -> Self {
        let definitions = catalog.find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
        let definition = |kind: &Kind| {
            kind.model.custom()?;
            definitions?.cache.get(&format!("{}.{}", kind.plural, kind.group))
        };
        let kinds = catalog.all().iter().map(|resource| (&*resource.kind, definition(&resource.kind)));
        Self { catalog, kinds: kinds.collect() }
    }

    fn of_version(&self, group: &str, version: &str) -> impl Iterator<Item = &(&'a Kind, Option<Arc<Cached>>)> {
        self.kinds.iter().filter(move |(kind, _)| kind.group == group && kind.version == version)
    }
}

/// The list of the documents of the third version.
fn index(sources: &Sources<'_>) -> Value {
    let path = |path: String| {
        let hash = hash(&Document::Part(path.clone()), sources).unwrap_or_default();
        (path.clone(), json!({"serverRelativeURL": url(&path, &hash)}))
    };
    let paths: Map<String, Value> = parts(sources).into_iter().map(path).collect();
    json!({"paths": paths})
}

fn url(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

/// What the documents of the third version are about.
fn parts(sources: &Sources<'_>) -> Vec<String> {
    let mut parts: Vec<String> =
        [".well-known/openid-configuration", "api", "api/v1", "apis", "openid/v1/jwks", "version"]
            .map(str::to_owned)
            .into();
    for (group, versions) in sources.catalog.groups() {
        parts.push(format!("apis/{group}"));
        parts.extend(versions.iter().map(|version| group_version_path(group, version)));
    }
    parts
}

/// The hash of a document: of what is known to go into it. `None`: there is no such document.
fn hash(document: &Document, sources: &Sources<'_>) -> Option<String> {
    let mut digest = Sha512::new();
    digest.update(env!("OPENAPI_DIGEST"));
    digest.update(crate::describe::VERSION);
    match document {
        Document::Everything => parts(sources).iter().for_each(|part| fingerprint(part, sources, &mut digest)),
        Document::Part(path) => {
            if !parts(sources).contains(path) {
                return None;
            }
            fingerprint(path, sources, &mut digest);
        }
    }
    Some(digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect())
}

fn fingerprint(path: &str, sources: &Sources<'_>, digest: &mut Sha512) {
    digest.update(path);
    if let Some((group, version)) = group_version(path) {
        digest.update(discovery::described(sources.catalog, group, version).to_string());
        for definition in sources.of_version(group, version).filter_map(|(_, definition)| definition.as_ref()) {
            digest.update(definition.revision.to_be_bytes());
        }
    }
}

/// The group and version of a path that names both.
fn group_version(path: &str) -> Option<(&str, &str)> {
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => Some(("", version)),
        ["apis", group, version] => Some((group, version)),
        _ => None,
    }
}

/// What a document is to tell of.
fn subject(document: &Document, sources: &Sources<'_>) -> Subject {
    let (mut served, mut paths) = (Vec::new(), Vec::new());
    let of = match document {
        Document::Everything => parts(sources),
        Document::Part(path) => vec![path.clone()],
    };
    for path in &of {
        if let Some((group, version)) = group_version(path) {
            served.extend(sources.of_version(group, version).map(|(kind, definition)| {
                let definition = definition.as_ref().map(|definition| definition.body.clone());
                Served { kind: Kind::clone(kind), definition }
            }));
        }
        paths.push(match (path.as_str(), group_version(path)) {
            (_, Some((group, version))) => about::group_version(path, group, version),
            ("api", _) => about::core(),
            ("apis", _) => about::groups(),
            ("version", _) => about::version(),
            (".well-known/openid-configuration", _) => about::issuer(),
            ("openid/v1/jwks", _) => about::issuer_keys(),
            (path, _) => about::group(path.trim_start_matches("apis/")),
        });
    }
    Subject { served, paths }
}

const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const PROTOBUF_V3: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

/// The form that the client prefers among those that there are.
fn negotiate(headers: &HeaderMap, version: Version) -> Option<(Encoding, &'static str)> {
    let (protobuf, old) = match version {
        Version::V2 => (PROTOBUF_V2, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"),
        Version::V3 => (PROTOBUF_V3, "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"),
    };
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accept = accept.join(",");
    if accept.trim().is_empty() {
        return Some((Encoding::Json, "application/json"));
    }
    let mut clauses: Vec<(f32, &str)> = accept.split(',').map(clause).collect();
    clauses.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    clauses.into_iter().filter(|(quality, _)| *quality > 0.0).find_map(|(_, wanted)| match wanted {
        "*/*" | "application/*" | "application/json" => Some((Encoding::Json, "application/json")),
        wanted if wanted == protobuf || wanted == old => Some((Encoding::Protobuf, protobuf)),
        _ => None,
    })
}

/// How much a clause of `Accept` is preferred, and its media type.
fn clause(clause: &str) -> (f32, &str) {
    let mut parts = clause.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok());
    (quality.unwrap_or(1.0), media_type)
}

fn empty(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    response
}

fn header(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_is_preferred() {
        let json = Some((Encoding::Json, "application/json"));
        for (accept, version, expected) in [
            ("", Version::V2, json),
            ("*/*", Version::V3, json),
            ("application/json, */*", Version::V2, json),
            (
                "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
                Version::V2,
                Some((Encoding::Protobuf, PROTOBUF_V2)),
            ),
            (PROTOBUF_V2, Version::V2, Some((Encoding::Protobuf, PROTOBUF_V2))),
            (PROTOBUF_V3, Version::V3, Some((Encoding::Protobuf, PROTOBUF_V3))),
            (PROTOBUF_V3, Version::V2, None),
            ("application/json;q=0.2,application/*;q=0.1", Version::V3, json),
            ("text/html", Version::V3, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, header(accept));
            assert_eq!(negotiate(&headers, version), expected, "{accept}");
        }
    }
}
