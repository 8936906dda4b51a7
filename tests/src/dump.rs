//! Everything that a cluster holds, for the reader of a failed test.

use coracle::server::Server;
use serde_json::Value;

/// What is dumped, the likeliest causes last.
const COLLECTIONS: &[&str] = &[
    "/api/v1/namespaces",
    "/api/v1/nodes",
    "/apis/coordination.k8s.io/v1/leases",
    "/api/v1/services",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/api/v1/replicationcontrollers",
    "/api/v1/pods",
    "/api/v1/events",
];

/// Prints every object, and every log.
pub async fn all(server: &Server) {
    for collection in COLLECTIONS {
        match server.get(collection).await {
            Ok(list) => objects(server, collection, &list).await,
            Err(error) => eprintln!("{collection}: {error}"),
        }
    }
}

async fn objects(server: &Server, collection: &str, list: &Value) {
    for object in list["items"].as_array().into_iter().flatten() {
        eprintln!("{collection}: {object}");
        if *collection == *"/api/v1/pods" {
            logs(server, object).await;
        }
    }
}

async fn logs(server: &Server, pod: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/log?tailLines=20");
    match server.get(&path).await {
        Ok(log) => eprintln!("log of {namespace}/{name}: {log}"),
        Err(error) => eprintln!("log of {namespace}/{name}: {error}"),
    }
}
