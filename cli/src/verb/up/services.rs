//! Where the services are: the URLs that one can open.

use serde_json::Value;

use crate::failure::Result;
use crate::server::Server;
use crate::verb::up::progress::Progress;

/// Says the URL of every service but the API's own.
///
/// # Errors
/// When the API no longer answers.
pub async fn show(server: &Server, progress: &Progress) -> Result {
    let list = server.get("/api/v1/services").await?;
    for service in list["items"].as_array().into_iter().flatten() {
        for line in lines(service) {
            progress.say(&line);
        }
    }
    Ok(())
}

/// A line a port.
fn lines(service: &Value) -> Vec<String> {
    let (metadata, spec) = (&service["metadata"], &service["spec"]);
    let (namespace, name) =
        (metadata["namespace"].as_str().unwrap_or_default(), metadata["name"].as_str().unwrap_or_default());
    let address = spec["clusterIP"].as_str().filter(|address| !address.is_empty() && *address != "None");
    if (namespace, name) == ("default", "kubernetes") {
        return Vec::new();
    }
    let ports = spec["ports"].as_array().into_iter().flatten();
    let place = |port: &Value| {
        let scheme = if port["protocol"].as_str().unwrap_or("TCP") == "TCP" { "http" } else { "udp" };
        let node = port["nodePort"].as_u64().filter(|port| *port > 0).map(|it| format!("{scheme}://127.0.0.1:{it}"));
        let own = address.map(|address| format!("{scheme}://{address}:{}", port["port"]));
        let urls: Vec<String> = [node, own].into_iter().flatten().collect();
        (!urls.is_empty()).then(|| urls.join("  "))
    };
    let label = if namespace == "default" { name.to_owned() } else { format!("{namespace}/{name}") };
    ports.filter_map(place).map(|urls| format!("service     {label}  {urls}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_is_said_by_its_urls() {
        let service = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIP": "127.96.0.7", "ports": [{"port": 8080, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]},
        });
        assert_eq!(
            lines(&service),
            ["service     web  http://127.0.0.1:30080  http://127.96.0.7:8080", "service     web  udp://127.96.0.7:53",]
        );
        let headless = json!({"metadata": {"name": "db", "namespace": "a"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}});
        assert!(lines(&headless).is_empty());
    }
}
