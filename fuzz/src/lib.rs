//! A server to send anything to.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

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
/// How long more of an answer is waited for: a watch says what it says at once, and then nothing for long.
const SILENCE: Duration = Duration::from_millis(1);
/// How often an object is sent whose kind is just being defined.
const TRIES_MAX: usize = 1_000;

/// A server over memory, and the thread that it runs on.
pub struct Server {
    runtime: Runtime,
    client: InProcess,
    _server: ApiServer,
}

/// What the server said.
pub struct Answer {
    pub code: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The version of the object that it is, or nothing.
    pub fn version(&self) -> Option<String> {
        let object: Value = serde_json::from_slice(&self.body).ok()?;
        object["metadata"]["resourceVersion"].as_str().map(str::to_owned)
    }
}

thread_local! {
    static SERVER: OnceCell<Server> = const { OnceCell::new() };
}

/// Sends a request to the one server of this process; `None` when it is no request that HTTP can carry.
///
/// # Panics
/// When the server answers that it is at fault itself, or panics.
pub fn ask(method: &str, uri: &str, media_type: &str, body: &[u8]) -> Option<Answer> {
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
            let made = (0..TRIES_MAX).any(|_| {
                started.runtime.block_on(async { tokio::time::sleep(SILENCE).await });
                started
                    .ask("POST", path, "application/json", object.to_string().as_bytes())
                    .is_some_and(|a| a.code == 201)
            });
            assert!(made, "{object} is taken");
        }
        started
    }

    fn ask(&self, method: &str, uri: &str, media_type: &str, body: &[u8]) -> Option<Answer> {
        let request = Request::builder().method(method).uri(uri).header("content-type", media_type);
        let request = request.body(Body::from(body.to_vec())).ok()?;
        let answer = self.runtime.block_on(async {
            let Ok(response) = self.client.clone().call(request).await;
            let code = response.status().as_u16();
            let mut rest = response.into_body();
            let mut body = Vec::new();
            while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, rest.frame()).await {
                body.extend(frame.data_ref().into_iter().flatten());
                if body.len() > ANSWER_BYTES_MAX {
                    break;
                }
            }
            Answer { code, body }
        });
        // Upstream too answers 500, for no reason, to a configuration that does not fit its type.
        let said = String::from_utf8_lossy(&answer.body);
        let is_at_fault = answer.code == 500 && said.contains(r#""reason":"InternalError""#);
        assert!(!is_at_fault, "{method} {uri} {media_type}: {said}");
        drop(said);
        Some(answer)
    }
}

/// What there is to patch and to list.
fn objects() -> [(&'static str, Value); 5] {
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
                "spec": {"ports": [{"port": 80, "name": "w"}, {"port": 81, "name": "x"}], "selector": {"a": "b"}},
            }),
        ),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition()),
        (
            "/apis/fuzz.test/v1/namespaces/default/fuzzes",
            json!({
                "apiVersion": "fuzz.test/v1", "kind": "Fuzz", "metadata": {"name": "f"},
                "spec": {"size": 1, "list": [{"key": "a", "at": 1}], "set": ["x"], "open": {"a": [1, "2", null]}},
            }),
        ),
    ]
}

/// A kind whose schema says one of everything that a schema can say.
fn definition() -> Value {
    let spec = json!({
        "type": "object", "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 0, "maximum": 100, "default": 3},
            "name": {"type": "string", "pattern": r"^[a-z](-?[a-z0-9]+){0,5}$", "maxLength": 20},
            "at": {"type": "string", "format": "date-time"}, "long": {"type": "string", "format": "duration"},
            "bytes": {"type": "string", "format": "byte"}, "part": {"type": "number", "multipleOf": 0.5},
            "either": {"x-kubernetes-int-or-string": true}, "enum": {"type": "string", "enum": ["a", "b"]},
            "list": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key", "at"],
                "items": {
                    "type": "object", "required": ["key"],
                    "properties": {"key": {"type": "string"}, "at": {"type": "integer", "default": 0}, "v": {"type": "string"}},
                },
            },
            "set": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 10, "items": {"type": "string", "maxLength": 10}},
            "atom": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string", "nullable": true}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "inner": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        },
        "x-kubernetes-validations": [
            {"rule": "self.size <= 50 || has(self.name)", "messageExpression": "'size ' + string(self.size)"},
            {"rule": "!has(self.set) || self.set.all(s, s.matches('^[a-z]+$'))"},
            {"rule": "!has(oldSelf.name) || self.name == oldSelf.name", "fieldPath": ".name"},
        ],
    });
    let schema = json!({
        "type": "object", "properties": {
            "spec": spec,
            "status": {"type": "object", "properties": {"size": {"type": "integer"}, "selector": {"type": "string"}}},
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "fuzzes.fuzz.test"},
        "spec": {
            "group": "fuzz.test", "scope": "Namespaced", "names": {"plural": "fuzzes", "kind": "Fuzz"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}, "scale": {
                    "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector",
                }},
                "selectableFields": [{"jsonPath": ".spec.name"}],
                "additionalPrinterColumns": [
                    {"name": "Key", "type": "string", "jsonPath": ".spec.list[?(@.at > 0)].key"},
                    {"name": "At", "type": "date", "jsonPath": ".spec.at"},
                ],
            }],
        },
    })
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
