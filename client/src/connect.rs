//! From a kubeconfig to a transport over TCP and TLS.
//!
//! HTTP/2 where the server offers it, so that a burst of requests shares one connection instead of making one each;
//! every socket has `TCP_NODELAY`, without which small requests wait for the peer's delayed acknowledgement.

use std::path::Path;
use std::time::Duration;

use http::{Request, Response};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client as HyperClient, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

use crate::client::{ResponseBody, boxed};
use crate::error::{BoxError, Error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that answers no ping for this long is dead, even when its peer vanished without a word.
/// Source: client-go's HTTP/2 health check (`ReadIdleTimeout`, `PingTimeout`).
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) async fn config(path: Option<&Path>, context: Option<&str>) -> Result<Config, Error> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    let bad = |source: BoxError| Error::Kubeconfig { source };
    match path {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|e| bad(e.into()))?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(|e| bad(e.into()))
        }
        None if context.is_some() => Config::from_kubeconfig(&options).await.map_err(|e| bad(e.into())),
        None => Config::infer().await.map_err(|e| bad(e.into())),
    }
}

pub(crate) fn transport(
    config: &Config,
) -> Result<BoxCloneSyncService<Request<Body>, Response<ResponseBody>, BoxError>, Error> {
    let tls = |source: kube::Error| Error::Tls { source: source.into() };
    let http = HyperClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build(connector(config)?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(tls)?)
        .layer(config.extra_headers_layer().map_err(tls)?)
        .map_err(BoxError::from)
        .service(http);
    Ok(boxed(service.map_err(BoxError::from)))
}

fn connector(config: &Config) -> Result<HttpsConnector<HttpConnector>, Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(PING_INTERVAL));
    let tls = config.rustls_client_config().map_err(|source| Error::Tls { source: source.into() })?;
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|source| Error::Tls { source: BoxError::from(source) })?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_all_versions().wrap_connector(tcp))
}
