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

/// Which versions of HTTP a connection may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    All,
    /// The only one whose connections can go on as something else.
    One,
}

pub(crate) fn transport(
    config: &Config,
    versions: Versions,
) -> Result<BoxCloneSyncService<Request<Body>, Response<ResponseBody>, BoxError>, Error> {
    let tls = |source: kube::Error| Error::Tls { source: source.into() };
    let http = HyperClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .build(connector(config, versions)?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(tls)?)
        .layer(config.extra_headers_layer().map_err(tls)?)
        .map_err(BoxError::from)
        .service(http);
    Ok(boxed(service.map_err(BoxError::from)))
}

fn connector(config: &Config, versions: Versions) -> Result<HttpsConnector<HttpConnector>, Error> {
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
    Ok(match versions {
        Versions::All => builder.enable_all_versions().wrap_connector(tcp),
        Versions::One => builder.enable_http1().wrap_connector(tcp),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::Client;

    fn kubeconfig(server: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            r#"{{
                "apiVersion": "v1", "kind": "Config", "current-context": "here",
                "clusters": [{{ "name": "c", "cluster": {{ "server": "{server}" }} }}],
                "users": [{{ "name": "u", "user": {{ "token": "secret" }} }}],
                "contexts": [{{ "name": "here", "context": {{ "cluster": "c", "user": "u", "namespace": "team" }} }}]
            }}"#
        );
        file.write_all(text.as_bytes()).expect("room for it");
        file
    }

    #[tokio::test]
    async fn a_kubeconfig_says_where_and_as_whom() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await?;
            let mut request = vec![0; 4096];
            let length = socket.read(&mut request).await?;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&request[..length]).to_lowercase())
        });
        let file = kubeconfig(&format!("http://{address}/base"));
        let client = Client::from_kubeconfig(Some(file.path()), None).await.expect("a client").named("tester");
        assert_eq!(client.default_namespace(), "team");
        let request = Request::get("/healthz").body(Bytes::new()).expect("a request");
        assert_eq!(client.raw(request).await.expect("an answer").body(), "ok");
        let seen = server.await.expect("no panic").expect("a request");
        assert!(seen.starts_with("get /base/healthz http/1.1"), "{seen}");
        assert!(seen.contains("authorization: bearer secret") && seen.contains("user-agent: tester/"), "{seen}");
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let Err(error) = Client::from_kubeconfig(Some(Path::new("/nowhere/kubeconfig")), None).await else {
            panic!("there is none")
        };
        assert_eq!(error.to_string(), "cannot use the kubeconfig");
        assert!(std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("/nowhere")));
    }
}
