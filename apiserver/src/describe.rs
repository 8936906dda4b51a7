//! What the server says of itself: version, discovery, metrics.

use std::sync::Arc;

use axum::body::Body;
use coracle_api::status::ApiError;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use crate::api::Api;
use crate::negotiate::{Accept, Endpoint as Offer, Format};
use crate::query::Query;
use crate::route::Route;
use crate::{discovery, openapi, openid, respond, usage};

/// The version of Kubernetes' API that is served.
pub(crate) const VERSION: &str = "v1.36.2+coracle";

/// Answers what is neither about a resource nor for everybody.
///
/// # Errors
/// When there is no such document.
pub(crate) async fn answer(
    api: &Arc<Api>,
    route: &Route,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<Body>, ApiError> {
    match route {
        Route::Discovery(document) => {
            let offer = if document.has_aggregated_form() { Offer::Discovery } else { Offer::Plain };
            let accept = Accept::negotiate(headers, query, offer)?;
            let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
            let (value, media_type) = discovery::answer(document, accept.view, &api.resources.current(), host)?;
            Ok(match media_type.as_str() {
                "application/json" => respond::document(StatusCode::OK, value.to_string(), accept),
                media_type => respond::discovery(media_type, headers, value.to_string(), accept),
            })
        }
        Route::Metrics => Ok(respond::metrics(metrics(api).await)),
        Route::Root => {
            let pretty = Accept::plain(Format::Pretty);
            Ok(respond::document(StatusCode::OK, paths(api).to_string(), pretty))
        }
        Route::OpenId(document) => Ok(openid::answer(*document, &api.account_tokens, &api.external)),
        Route::Version => Ok(version()),
        Route::OpenApi(document) => {
            openapi::answer(&api.publisher, document, &api.resources.current(), headers, query).await
        }
        Route::Usage(asked) => usage::answer(api, asked, headers, query).await,
        Route::Resource(_) | Route::Health(_) => Err(ApiError::NoSuchPath),
    }
}

/// `/version`
pub(crate) fn version() -> Response<Body> {
    let version = [
        ("major", "1"),
        ("minor", "36"),
        ("emulationMajor", "1"),
        ("emulationMinor", "36"),
        ("minCompatibilityMajor", "1"),
        ("minCompatibilityMinor", "35"),
        ("gitVersion", VERSION),
        ("gitCommit", ""),
        ("gitTreeState", "clean"),
        ("buildDate", "1970-01-01T00:00:00Z"),
        ("goVersion", ""),
        ("compiler", "rustc"),
        ("platform", &format!("{}/{}", std::env::consts::OS, architecture())),
    ];
    // In the order that people are used to.
    let fields: Vec<String> = version.iter().map(|(name, value)| format!("{name:?}:{value:?}")).collect();
    respond::document(StatusCode::OK, format!("{{{}}}", fields.join(",")), Accept::plain(Format::Pretty))
}

/// The machine as Kubernetes calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/`: the paths that there are.
fn paths(api: &Api) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned(), "/apis/".to_owned()];
    for (group, versions) in api.resources.current().groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    let others = [
        openid::CONFIGURATION,
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        openid::KEYS,
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    paths.sort();
    json!({"paths": paths})
}

/// `/metrics`
async fn metrics(api: &Api) -> String {
    let (mut objects, mut events, mut watchers) = (Vec::new(), Vec::new(), Vec::new());
    for resource in api.resources.current().all().iter().filter(|resource| !resource.is_view) {
        let (count, recent, watching) = resource.cache.sizes();
        let labels = format!("group=\"{}\",resource=\"{}\"", resource.group, resource.plural);
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        objects.push((labels.clone(), number(count)));
        events.push((labels.clone(), number(recent)));
        watchers.push((labels, number(watching)));
    }
    let usage = api.store.usage().await.unwrap_or_default();
    let alone = |value: u64| vec![(String::new(), value)];
    api.metrics.render(&[
        ("apiserver_resource_objects", "Objects that there are.", objects),
        ("apiserver_watch_cache_events", "Events that can be replayed to a watch.", events),
        ("apiserver_registered_watchers", "Watches in progress.", watchers),
        ("apiserver_storage_size_bytes", "Bytes that the store takes on disk.", alone(usage.disk_bytes)),
        ("coracle_store_history_events", "Events that the store can replay.", alone(usage.history_events)),
        ("coracle_store_revision", "The newest revision.", alone(usage.newest.0)),
        ("coracle_watch_cache_revision", "The revision that the watch cache has seen.", alone(api.cache.seen())),
    ])
}
