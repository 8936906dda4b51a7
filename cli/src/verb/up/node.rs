//! When the node takes pods.

use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::pin;
use tokio::time::timeout;

use crate::failure::Result;
use crate::server::{Server, media, query};

/// How long is waited for the node. The pods of one that is late have to wait, and their events say so.
const LATE: Duration = Duration::from_secs(2);

/// Waits until the node takes pods: the first that everybody would read of their pods is otherwise that they fit nowhere.
///
/// # Errors
/// When the API does not answer.
pub async fn until_open(server: &Server, name: &str) -> Result {
    let own = format!("metadata.name={name}");
    let path = query("/api/v1/nodes", &[("fieldSelector", Some(&own)), ("watch", Some("1"))]);
    let frames = server.watch(&path, media::JSON).await?;
    pin!(frames);
    let opened = async {
        while let Some(frame) = frames.next().await {
            if is_open(&frame?.object) {
                break;
            }
        }
        Ok(())
    };
    timeout(LATE, opened).await.unwrap_or(Ok(()))
}

/// Whether it is ready, and nothing keeps pods away. What an administrator keeps pods away by is not waited for.
fn is_open(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
    let passing =
        |taint: &Value| taint["key"].as_str().is_some_and(|key| key.starts_with("node.kubernetes.io/not-ready"));
    ready && !node["spec"]["taints"].as_array().into_iter().flatten().any(passing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_open_when_it_is_ready_and_says_nothing_else() {
        // The pods of `up` began with an event that they fit nowhere, as they were there before the node was.
        let node = |ready: &str, taint: Option<&str>| {
            let taints: Vec<Value> = taint.iter().map(|key| json!({"key": key, "effect": "NoSchedule"})).collect();
            json!({"spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
        };
        assert!(!is_open(&json!({})));
        assert!(!is_open(&node("False", None)));
        assert!(!is_open(&node("True", Some("node.kubernetes.io/not-ready"))));
        assert!(is_open(&node("True", Some("maintenance"))));
        assert!(is_open(&node("True", None)));
    }
}
