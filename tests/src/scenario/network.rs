//! Services: from their addresses to the pods behind them.

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::{Guests, World};

pub async fn a_service_reaches_its_pods(world: &mut World) -> anyhow::Result<()> {
    let container = json!({
        "name": "main", "image": Guests::sample_image("web")?, "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    });
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}});
    world
        .apply(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }))
        .await?;
    let service = world
        .apply(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": "http"}]},
        }))
        .await?;
    let pods = world.ready_pods("web", 3).await?;
    let slices =
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb";
    world.until(slices, "three ready endpoints", |slices| ready_endpoints(slices) == 3).await?;

    for pod in &pods {
        let url = format!("http://{}:8080/", pod["status"]["podIP"].as_str().unwrap_or_default());
        get(&url).await.with_context(|| format!("the pod's own {url}"))?;
    }
    let cluster_ip = format!("http://{}:8080/", service["spec"]["clusterIP"].as_str().unwrap_or_default());
    let node_port = format!("http://127.0.0.1:{}/", service["spec"]["ports"][0]["nodePort"]);
    for url in [cluster_ip, node_port] {
        let answer = get(&url).await.with_context(|| format!("the service's {url}"))?;
        let names = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
        ensure!(names.into_iter().any(|name| answer.contains(name)), "{url} is answered by a pod: {answer}");
    }
    Ok(())
}

fn ready_endpoints(slices: &[Value]) -> usize {
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
}

/// Asks until the address answers: a proxy learns of endpoints as everybody does, by a watch of its own.
async fn get(url: &str) -> anyhow::Result<String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<&'static [u8]>>();
    let ask = async {
        loop {
            match client.get(url.parse()?).await {
                Ok(answer) if answer.status().is_success() => {
                    return Ok(String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned());
                }
                _ => tokio::task::yield_now().await,
            }
        }
    };
    crate::until_within(crate::DEADLINE, url, ask).await
}
