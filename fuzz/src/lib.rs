//! A server to send anything to.

use std::cell::OnceCell;
use std::sync::Arc;

use axum::body::Body;
use coracle_apiserver::{ApiServer, Config, Identity, InProcess, NoNodes, Pki};
use coracle_store::MemoryStore;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// Bytes of an answer that are read of a watch, which does not end.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A server over memory, and the thread that it runs on.
pub struct Server {
    runtime: Runtime,
    client: InProcess,
    _server: ApiServer,
}

thread_local! {
    static SERVER: OnceCell<Server> = const { OnceCell::new() };
}

/// Sends a request to the one server of this process; the code of its answer.
///
/// # Panics
/// When the server answers that it is at fault itself, or panics.
pub fn ask(method: &str, uri: &str, media_type: &str, body: &[u8]) -> Option<u16> {
    SERVER.with(|server| server.get_or_init(Server::start).ask(method, uri, media_type, body))
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = runtime.block_on(async {
            let mut config = Config::new(Arc::new(Pki::in_memory().expect("certificates")));
            config.require_service_accounts = false;
            config.listen = None;
            let store = Arc::new(MemoryStore::new());
            coracle_apiserver::start(config, store, Arc::new(NoNodes), CancellationToken::new()).await
        });
        let server = server.expect("it starts");
        let started = Self { runtime, client: server.in_process(Identity::admin()), _server: server };
        for (path, object) in objects() {
            assert_eq!(started.ask("POST", path, "application/json", object.to_string().as_bytes()), Some(201));
        }
        started
    }

    /// `None` when it is no request that HTTP can carry.
    fn ask(&self, method: &str, uri: &str, media_type: &str, body: &[u8]) -> Option<u16> {
        let request = Request::builder().method(method).uri(uri).header("content-type", media_type);
        let request = request.body(Body::from(body.to_vec())).ok()?;
        let code = self.runtime.block_on(async {
            let Ok(response) = self.client.clone().call(request).await;
            let code = response.status().as_u16();
            let mut body = response.into_body();
            let mut read = 0;
            // A watch says nothing for long; what it says at once is read.
            let rest = async {
                while let Some(Ok(frame)) = body.frame().await {
                    read += frame.data_ref().map_or(0, |data| data.len());
                    if read > ANSWER_BYTES_MAX {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(std::time::Duration::from_millis(1), rest).await;
            code
        });
        assert!(code != 500, "{method} {uri} {media_type} was answered 500");
        Some(code)
    }
}

/// What there is to patch and to list.
fn objects() -> [(&'static str, Value); 3] {
    let template = json!({
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [
            {"name": "c", "image": "i", "env": [{"name": "E", "value": "1"}], "ports": [{"containerPort": 80}]},
            {"name": "d", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        ], "volumes": [{"name": "v", "emptyDir": {}}]},
    });
    [
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
            }),
        ),
        (
            "/api/v1/namespaces/default/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}),
        ),
        (
            "/api/v1/namespaces/default/services",
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
                "spec": {"ports": [{"port": 80}, {"port": 81, "name": "x"}], "selector": {"a": "b"}},
            }),
        ),
    ]
}

/// Takes the first byte of the input for a choice among `choices`.
pub fn choose<'d, T: Copy>(data: &'d [u8], choices: &[T]) -> Option<(T, &'d [u8])> {
    let (first, rest) = data.split_first()?;
    Some((choices[usize::from(*first) % choices.len()], rest))
}

/// A text as the value of a query's parameter.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}
