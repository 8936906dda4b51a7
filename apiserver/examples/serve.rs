//! An API server over memory, for a look around with `kubectl` and for replaying recorded exchanges:
//! `cargo run -p coracle-apiserver --example serve -- /tmp/kubeconfig`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use coracle_apiserver::{Config, Identity, InProcess, NoNodes, Pki};
use coracle_store::MemoryStore;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::Service as _;

/// In place of the controller that makes them.
async fn make_service_accounts(mut client: InProcess) {
    let mut made = HashSet::new();
    loop {
        let list = call(&mut client, "GET", "/api/v1/namespaces", Value::Null).await;
        for namespace in list["items"].as_array().into_iter().flatten() {
            let name = namespace["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if made.insert(name.clone()) {
                let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
                call(&mut client, "POST", &format!("/api/v1/namespaces/{name}/serviceaccounts"), account).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn call(client: &mut InProcess, method: &str, path: &str, body: Value) -> Value {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).body(body).expect("a request");
    let Ok(response) = client.call(request).await;
    let bytes = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kubeconfig = std::env::args().nth(1).unwrap_or_else(|| "kubeconfig".to_owned());
    let pki = Arc::new(Pki::in_memory()?);
    let config = Config::new(pki.clone());
    let shutdown = CancellationToken::new();
    let server =
        coracle_apiserver::start(config, Arc::new(MemoryStore::new()), Arc::new(NoNodes), shutdown.clone()).await?;
    if let Some(address) = server.local_addr() {
        let content = pki.client_kubeconfig(&format!("https://{address}"), &Identity::admin())?;
        coracle_apiserver::pki::write_private(kubeconfig.as_ref(), &content)?;
    }
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped?,
        () = make_service_accounts(server.in_process(Identity::controller_manager())) => {}
    }
    shutdown.cancel();
    Ok(server.stopped().await?)
}
